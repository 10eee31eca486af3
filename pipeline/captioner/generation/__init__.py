"""Generating captions: generator, beam search, sampling, rerankers."""
