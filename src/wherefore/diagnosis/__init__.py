"""What is wrong with a model, and what it relies on."""
