"""Scores: of captions, of the emotions in them, of the retrieval, and of reference lines beside a model."""
