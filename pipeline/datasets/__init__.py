"""Data sets: what brings videos, splits and captions into one manifest."""
