"""Encoders: what turns frames, sound and texts into rows of a feature store. base.py defines the protocol."""
