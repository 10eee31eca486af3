"""The leak guard: a training video never retrieves a caption of its own, nor the same sentence of another video."""

from collections.abc import Mapping, Sequence

from pipeline.retrieval.index import sentence_key


def barred_sentences(ids: Sequence[str], captions_of: Mapping[str, Sequence[str]]) -> list[set[str]]:
    """For each video the keys of its own captions: what the leak guard keeps from it."""
    return [{sentence_key(text) for text in captions_of.get(video, ())} for video in ids]
