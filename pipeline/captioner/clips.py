"""Captions of video files that are in no store: the graph's way from file to tensors, for one clip at a time."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from pipeline.captioner.cached_dataset import candidate_rows
from pipeline.captioner.checkpoint import Checkpoint, refuse_other_recipes
from pipeline.captioner.generation import beam_search as beam
from pipeline.captioner.generation.consensus import Consensus
from pipeline.captioner.inputs import Inputs, Modality
from pipeline.common.files import fingerprint
from pipeline.emotion import probabilities
from pipeline.emotion.backends import Backends
from pipeline.emotion.prior import prior
from pipeline.encoders.appearance import OpenClipEncoder
from pipeline.encoders.base import Encoder
from pipeline.extraction.run import encode_one, recipe
from pipeline.params import Params
from pipeline.retrieval.index import CaptionIndex


@dataclass(frozen=True)
class OwnClips:
    """All that turns a file into a caption. Refuses encoders of other recipes than the captioner was trained on."""

    checkpoint: Checkpoint
    appearance: OpenClipEncoder
    audio: Encoder
    motion: Encoder
    captions: CaptionIndex
    emotions: Backends
    params: Params

    def __post_init__(self) -> None:
        stores = {name: fingerprint(recipe(encoder, self.params.extraction))
                  for name, encoder in self._encoders.items()}
        refuse_other_recipes(self.checkpoint, stores | {
            "candidates": self.captions.recipe_id, "emotion": self.emotions.recipe_id(self.params.retrieval.used)})

    @property
    def _encoders(self) -> dict[str, Encoder]:
        return {"appearance": self.appearance, "audio": self.audio, "motion": self.motion}

    @cached_property
    def _consensus(self) -> Consensus:
        return Consensus.of(self.captions)

    def caption(self, path: Path) -> tuple[beam.Caption, list[tuple[str, float]]]:
        """The caption of a file, and its candidates with their similarities. Raises SpectrumError naming the file."""
        read = self.checkpoint.model.shape.dims
        rows_of = {name: encode_one(path, encoder, self.params.extraction, self.params.machine)[0]     # [T, D]
                   for name, encoder in self._encoders.items() if name in read}
        query = rows_of["appearance"].astype(np.float32).mean(0, keepdims=True)
        stored, used = (min(count, len(self.captions.texts))
                        for count in (self.params.retrieval.stored, self.params.retrieval.used))
        rows, scores = self.captions.search(query, [set()], stored)                # [1, K]
        agreeing = [self.captions.texts[row] for row in rows[0]]
        rows, scores, texts = rows[:, :used], scores[:, :used], agreeing[:used]
        words = self.emotions.words(texts, self.captions.embeddings[rows[0]])
        temperature = self.params.emotion.retrieval_temperature
        parts = {name: _modality(own) for name, own in rows_of.items()} | {"text": candidate_rows(self.captions, rows)}
        inputs = Inputs(
            (str(path),), {name: parts[name] for name in read},
            torch.from_numpy(prior(probabilities.categories(words, self.emotions.taxonomy)[None], scores, temperature)),
            torch.from_numpy(prior(words[None], scores, temperature)))
        found = beam.caption(self.checkpoint.model, self.checkpoint.vocabulary, self.checkpoint.attributes, inputs,
                             self.params.generation)
        if self.params.generation.consensus and "text" in read:
            found = self._consensus.rerank(found, [agreeing], self.params.generation.consensus)
        return found[0], list(zip(texts, scores[0].tolist(), strict=True))


def _modality(rows: np.ndarray) -> Modality:
    return Modality(torch.from_numpy(rows.astype(np.float32))[None], torch.ones(1, len(rows), dtype=torch.bool))
