"""What is wrong with a model, and what does it rely on: measurements of its mistakes, and of two models side by side."""
