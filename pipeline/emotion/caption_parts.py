"""Emotions of many captions of the index in parts, by one process or the workers of a cluster (pipeline/workers).

What the estimators learn from the whole corpus one worker learns, and saves it as a part: so all others say the same.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from pipeline.common.files import fingerprint
from pipeline.common.hdf5 import Layout, read_arrays
from pipeline.emotion.estimators import Estimators, Learned, emotion_recipe_id
from pipeline.emotion.probabilities import Floats, derive_categories, measure_evidence
from pipeline.emotion.taxonomy import Taxonomy
from pipeline.emotion.word_choice import WordChoice
from pipeline.encoders import text_encoder
from pipeline.encoders.text_encoder import TextEncoder
from pipeline.params import AppearanceEncoder, Emotion
from pipeline.retrieval.index import CaptionIndex, open_index
from pipeline.workers.engine import Engine
from pipeline.workers.saved_parts import Arrays, Layouts, SavedTask

_CAPTIONS = 1 << 13     # a part. Another number changes the last bits of a classifier's

_LEARNED = {"word_counts": Layout("int64", rank=1), "centre": Layout("float32", rank=1),
            "word_vectors": Layout("float32", rank=2), "choice": Layout("float64", rank=1)}


@dataclass(frozen=True)
class _Part:
    """Captions of the index, by row. `words`: the probabilities of their words, as `weights` join the estimators;
    `evidence`: that for their categories, by estimator. Both by what is `learned`, which `learn` makes, of no rows."""

    what: Literal["learn", "evidence", "words"]
    rows: NDArray[np.int64]
    learned: Path
    weights: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class EmotionWork:
    """Makes a worker that estimates the emotions of captions; `device` is as `machine.device` has it."""

    section: Emotion
    appearance: AppearanceEncoder
    encoder: Path
    index: Path
    recipe_id: str          # of the index
    device: str

    def __call__(self) -> "EmotionWorker":
        from pipeline.common.device import torch_device

        return EmotionWorker(self, torch_device(self.device).type)


class EmotionWorker:
    def __init__(self, work: EmotionWork, device: str) -> None:
        self._corpus = open_index(work.index, work.recipe_id)
        self._work, self._device, self._read_from = work, device, Path()
        self._estimators = Estimators(work.section, self._corpus, self._encode, device)
        text = self._encoder.recipe if "clip" in work.section.estimators else None
        self.facts: dict[str, Any] = {"device": device, "index": self._corpus.digest, "text": text,
                                      "classifier": self._estimators.classifier_recipe}

    @cached_property
    def _encoder(self) -> TextEncoder:
        return text_encoder.text_encoder(self._work.appearance, self._work.encoder, self._device)

    def _encode(self, texts: Sequence[str]) -> Floats:
        return self._encoder.encode_texts(texts)

    def do(self, part: _Part) -> Arrays:
        if part.what == "learn":
            return _to_arrays(self._estimators.learned)
        if self._read_from != part.learned:
            self._estimators.learned = _from_arrays(read_arrays(part.learned, _LEARNED, [])[0])
            self._read_from = part.learned
        texts, embeddings = [self._corpus.texts[row] for row in part.rows], self._corpus.embeddings[part.rows]
        if part.what == "words":
            return {"words": self._estimators.predict(texts, embeddings, dict(part.weights))}
        taxonomy = self._estimators.taxonomy
        return {name: measure_evidence(derive_categories(words, taxonomy))
                for name, words in self._estimators.predict_each(texts, embeddings).items()}


class CaptionEmotions:
    """Emotions of captions of the index, which is that of `work`, opened; parts lie in `folder`."""

    def __init__(self, engine: Engine, work: EmotionWork, folder: Path, corpus: CaptionIndex) -> None:
        self.corpus, self.taxonomy = corpus, Taxonomy.load(work.section.words)
        self._section, self._learned = work.section, folder / "learned.h5"
        self._task = SavedTask(engine, work, folder)
        self._key = fingerprint(work.section.model_dump(mode="json"))
        corpus.check_seen(self._task.facts["index"], work.index)

    @cached_property
    def word_counts(self) -> NDArray[np.int64]:
        """[W]: in how many captions of the corpus each emotion word stands."""
        part = _Part("learn", np.empty(0, np.int64), self._learned)
        (arrays,) = self._task.run({self._learned.stem: part}, _LEARNED, self._key)
        counts: NDArray[np.int64] = arrays["word_counts"]
        return counts

    def measure_evidence(self, rows: NDArray[np.int64]) -> dict[str, Floats]:
        """[n, C] by estimator: the evidence of captions for the categories."""
        names = self._section.estimators
        made = self._run("evidence", rows, dict.fromkeys(names, Layout("float32", rank=2)), ())
        return {name: np.concatenate([arrays[name] for arrays in made]) for name in names}

    def predict(self, rows: NDArray[np.int64], weights: Mapping[str, float]) -> Floats:
        """p(word | caption) [n, W] by all estimators, with their weights."""
        made = self._run("words", rows, {"words": Layout("float32", rank=2)}, tuple(weights.items()))
        return np.concatenate([arrays["words"] for arrays in made])

    def recipe_id(self, prior_digest: str) -> str:
        """As that of the estimators."""
        return emotion_recipe_id(self._section, self._task.facts["classifier"], self.corpus.recipe_id, prior_digest)

    def _run(self, what: Literal["evidence", "words"], rows: NDArray[np.int64], layouts: Layouts,
             weights: tuple[tuple[str, float], ...]) -> list[Arrays]:
        assert self.word_counts.size        # learned before anything is estimated
        parts = {f"{what}-{first:09}": _Part(what, rows[first:first + _CAPTIONS], self._learned, weights)
                 for first in range(0, max(1, len(rows)), _CAPTIONS)}
        key = fingerprint([self._key, _CAPTIONS, sha256(rows.tobytes()).hexdigest(), weights])
        return list(self._task.run(parts, layouts, key))


def _to_arrays(learned: Learned) -> Arrays:
    return {"word_counts": learned.word_counts, "centre": learned.centre, "word_vectors": learned.word_vectors,
            "choice": np.array([learned.choice.temperature, learned.choice.neutral])}


def _from_arrays(arrays: Arrays) -> Learned:
    temperature, neutral = arrays["choice"].tolist()
    return Learned(arrays["word_counts"], arrays["centre"], arrays["word_vectors"], WordChoice(temperature, neutral))
