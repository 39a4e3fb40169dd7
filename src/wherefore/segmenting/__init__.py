"""Weakly supervised segmentation: which pixel shows what, learned from the names of what is in each picture alone."""
