"""The distinct sentences of a corpus, each with everybody it belongs to."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from pipeline.common.text import words
from pipeline.datasets.manifest import Caption


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence as it was first written, and its owners: the videos that it was written for, each once."""

    text: str
    owners: tuple[str, ...]


def sentence_key(text: str) -> str:
    """Two captions are the same sentence when their keys are equal: case and punctuation do not count."""
    return " ".join(words(text))


def distinct_sentences(corpus: Sequence[Caption]) -> list[Sentence]:
    """Every distinct sentence of the corpus, in its order. Captions without a word are none."""
    texts: dict[str, str] = {}
    owners: dict[str, tuple[str, ...]] = {}
    for caption in corpus:
        key = sentence_key(caption.text)
        if key:
            texts.setdefault(key, caption.text)
            known = owners.get(key, ())
            if caption.video_id not in known:
                owners[key] = (*known, caption.video_id)
    return [Sentence(text, owners[key]) for key, text in texts.items()]


def corpus_digest(sentences: Sequence[Sentence]) -> str:
    """Stands for the corpus that an index was made from: its sentences and their owners."""
    digest = sha256()       # of their JSON, a sentence at a time
    for sentence in sentences:
        digest.update(json.dumps([sentence.text, *sentence.owners]).encode())
    return digest.hexdigest()[:16]
