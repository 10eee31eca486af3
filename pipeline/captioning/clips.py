"""Captions of video files that are in no store: the graph's way from file to tensors, for one clip at a time."""

from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.captioner.cached_dataset import candidate_rows
from pipeline.captioner.checkpoint import Checkpoint, refuse_other_recipes
from pipeline.captioner.generation.attention import read_attention
from pipeline.captioner.generation.captions import Caption
from pipeline.captioner.generation.consensus import Consensus
from pipeline.captioner.generation.generator import CaptionGenerator
from pipeline.captioner.inputs import Inputs, Modality
from pipeline.captioner.training_domain import TrainedOn, TrainingDomain
from pipeline.captioning.windows import Window
from pipeline.emotion.clip_prior import ClipPrior
from pipeline.encoders.base import Encoder
from pipeline.extraction.run import clip_recipe_id, encode_one
from pipeline.media.decoder import VideoDecoder
from pipeline.params import Params
from pipeline.retrieval.index import CaptionIndex

Encoded = tuple[NDArray[np.floating], NDArray[np.float64]]       # rows [T, D], and the seconds [T] that they show


@dataclass(frozen=True)
class EncodedClip:
    """What the encoders made of a file, or of a window of it, by modality."""

    path: Path
    window: Window | None
    rows: dict[str, NDArray[np.floating]]
    times: dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class CaptionedClip:
    """The caption of a file, or of a window of it, and what led to it.

    candidates: retrieved captions with their similarities, nearest first; prior: p(emotion) before the captioner sees
    the clip; distance from the training clips, and the limit of usual distances; attention: as of predictions.jsonl,
    where it was asked for.
    """

    path: Path
    window: Window | None
    caption: Caption
    candidates: tuple[tuple[str, float], ...]
    prior: dict[str, float]
    distance: float
    limit: float
    trained_on: TrainedOn
    attention: dict[str, Any] | None = None

    @property
    def text(self) -> str:
        return self.caption.text

    @property
    def is_far(self) -> bool:
        """Whether the clip is unlike the training clips, so that its caption is not to be trusted."""
        return self.distance > self.limit

    def as_json(self) -> dict[str, Any]:
        """As a line of predictions.jsonl, with what only own clips have."""
        window = {"start": round(self.window.start, 3), "end": round(self.window.end, 3)} if self.window else {}
        attention = {"attention": self.attention} if self.attention else {}
        return {**self.caption.as_json(self.candidates), **window, **attention,
                "prior": {name: round(p, 4) for name, p in self.prior.items()},
                "unlike_training": self.is_far, "distance": round(self.distance, 2),
                "usual_distance": round(self.limit, 2), "trained_on": self.trained_on.as_json()}


@dataclass(frozen=True)
class ClipCaptioner:
    """All that turns a file into a caption. encoders: by modality. Not for two threads at a time.

    Raises SpectrumError for encoders of other recipes than the captioner was trained on.
    """

    checkpoint: Checkpoint
    domain: TrainingDomain
    encoders: dict[str, Encoder]
    index: CaptionIndex
    emotions: ClipPrior
    params: Params
    decoder: VideoDecoder

    def __post_init__(self) -> None:
        known = self.checkpoint.recipes
        stores = {name: clip_recipe_id(encoder, self.params.extraction, known.get(name, ""))
                  for name, encoder in self.encoders.items()}
        refuse_other_recipes(self.checkpoint, stores | {
            "index": self.index.digest, "candidates": self.index.recipe_id,
            "emotion": self.emotions.recipe_id})

    def __enter__(self) -> "ClipCaptioner":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self.decoder.close()

    @property
    def trained_on(self) -> TrainedOn:
        return self.domain.trained_on

    @property
    def is_untrained(self) -> bool:
        """Whether the picture encoder has random weights: captions then mean nothing."""
        return bool(self.encoders["appearance"].recipe["untrained"])

    def caption(self, path: Path, window: Window | None = None) -> CaptionedClip:
        """Of a file or a window of it. Raises SpectrumError naming the file."""
        return self.caption_encoded(self.encode(path, window, {}))

    def encode(self, path: Path, window: Window | None, known: dict[str, Encoded]) -> EncodedClip:
        """known: what was made of this clip already, by the id of its recipe; it gets what is made now. So several
        captioners encode a clip once."""
        reading = self.decoder.reading_part(window.start, window.end) if window else nullcontext()
        found = {}
        with reading:
            for name, encoder in self.encoders.items():
                if name not in self.checkpoint.model.shape.dims:
                    continue
                recipe_id = clip_recipe_id(encoder, self.params.extraction, self.checkpoint.recipes.get(name, ""))
                if recipe_id not in known:
                    known[recipe_id] = encode_one(path, encoder, self.params.extraction, self.decoder)
                found[name] = known[recipe_id]
        return EncodedClip(path, window, {name: rows for name, (rows, _) in found.items()},
                           {name: times for name, (_, times) in found.items()})

    def caption_encoded(self, clip: EncodedClip, with_attention: bool = False) -> CaptionedClip:
        rows_of, modalities = clip.rows, self.checkpoint.model.shape.dims
        query = rows_of["appearance"].astype(np.float32).mean(0, keepdims=True)
        stored, used = (min(count, len(self.index.texts))
                        for count in (self.params.retrieval.stored, self.params.retrieval.used))
        rows, scores = self.index.search(query, [()], stored)                   # [1, K]
        candidates = [self.index.texts[row] for row in rows[0]]
        categories, words = self.emotions.estimate(candidates, self.index.embeddings[rows[0]], scores, rows_of)
        rows, scores, texts = rows[:, :used], scores[:, :used], candidates[:used]
        parts = {name: _modality(own) for name, own in rows_of.items()}
        parts["text"] = candidate_rows(self.index, rows, scores)
        inputs = Inputs((str(clip.path),), {name: parts[name] for name in modalities},
                        torch.from_numpy(categories), torch.from_numpy(words))
        caption, = self._generator.generate(inputs, [candidates])
        attention = self._read_attention(inputs, caption, clip) if with_attention else None
        names = self.emotions.estimators.taxonomy.categories
        return CaptionedClip(clip.path, clip.window, caption, tuple(zip(texts, scores[0].tolist(), strict=True)),
                             dict(zip(names, categories[0].tolist(), strict=True)),
                             self.domain.distance(rows_of["appearance"]), self.domain.limit, self.trained_on, attention)

    def _read_attention(self, inputs: Inputs, caption: Caption, clip: EncodedClip) -> dict[str, Any]:
        trained = self.checkpoint
        attention, = read_attention(trained.model, trained.vocabulary, inputs, [caption.text], 1)
        return attention.as_json({name: times.tolist() for name, times in clip.times.items()})

    @cached_property
    def _generator(self) -> CaptionGenerator:
        trained = self.checkpoint
        return CaptionGenerator(trained.model, trained.vocabulary, trained.attributes, self.params.generation,
                                lambda: self._consensus)

    @cached_property
    def _consensus(self) -> Consensus:
        return Consensus.of(self.index)


def _modality(rows: np.ndarray) -> Modality:
    """One video's rows [T, D]; T is 0 without sound."""
    return Modality(torch.from_numpy(rows.astype(np.float32))[None], torch.ones(1, len(rows), dtype=torch.bool))
