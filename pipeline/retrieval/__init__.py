"""The caption index, the leak guard, and the candidate captions of every video."""
