"""What is wrong with a model, and what does it rely on: its mistakes measured, and two models side by side."""
