"""Emotions: the words that carry them, their probabilities in captions, and the prior that candidates give a video."""
