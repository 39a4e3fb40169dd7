"""Studies: experiments whose measuring instrument is people (section 5 of the paper; protocols: section G).

`wherefore study init` makes the pictures and the plan (`stimuli`), `serve` asks people in their browsers (`app`) and
keeps what they answer in a database (`store`), `analyze` says what it shows (`report`). Nothing that serves imports
torch, and nothing that analyses needs the app.
"""
