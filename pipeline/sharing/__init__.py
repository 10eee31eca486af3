"""What leaves a project: a model as one folder, on a hub or on disk; captions, predictions and features as tables."""
