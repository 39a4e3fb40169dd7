"""The service: the demo page and REST over networks that were named at the start (`wherefore serve`).

A request comes in at the `door` (token, limits, a place), its picture is checked before it is decoded (`uploads`), and
one thread that owns the networks explains it, together with others of its kind (`worker`, `networks`). `app` puts this
together, `running` starts and ends it.
"""
