"""Captions of video files that are in no store: the graph's way from file to tensors, for one clip at a time."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from pipeline.captioner.cached_dataset import candidate_rows
from pipeline.captioner.checkpoint import Checkpoint, refuse_other_recipes
from pipeline.captioner.generation.captions import Caption
from pipeline.captioner.generation.consensus import Consensus
from pipeline.captioner.generation.generator import CaptionGenerator
from pipeline.captioner.inputs import Inputs, Modality
from pipeline.emotion.clip_prior import ClipPrior
from pipeline.encoders.base import Encoder
from pipeline.extraction.run import clip_recipe_id, encode_one
from pipeline.params import Params
from pipeline.retrieval.index import CaptionIndex


@dataclass(frozen=True)
class ClipCaptioner:
    """All that turns a file into a caption. encoders: by modality.

    Raises SpectrumError for encoders of other recipes than the captioner was trained on.
    """

    checkpoint: Checkpoint
    encoders: dict[str, Encoder]
    index: CaptionIndex
    emotions: ClipPrior
    params: Params

    def __post_init__(self) -> None:
        known = self.checkpoint.recipes
        stores = {name: clip_recipe_id(encoder, self.params.extraction, known.get(name, ""))
                  for name, encoder in self.encoders.items()}
        refuse_other_recipes(self.checkpoint, stores | {
            "index": self.index.digest, "candidates": self.index.recipe_id,
            "emotion": self.emotions.recipe_id})

    @cached_property
    def _generator(self) -> CaptionGenerator:
        trained = self.checkpoint
        return CaptionGenerator(trained.model, trained.vocabulary, trained.attributes, self.params.generation,
                                lambda: Consensus.of(self.index))

    def caption(self, path: Path) -> tuple[Caption, list[tuple[str, float]]]:
        """The caption of a file, and its candidates with their similarities. Raises SpectrumError naming the file."""
        modalities = self.checkpoint.model.shape.dims
        rows_of = {name: encode_one(path, encoder, self.params.extraction, self.params.machine)[0]      # [T, D]
                   for name, encoder in self.encoders.items() if name in modalities}
        query = rows_of["appearance"].astype(np.float32).mean(0, keepdims=True)
        stored, used = (min(count, len(self.index.texts))
                        for count in (self.params.retrieval.stored, self.params.retrieval.used))
        rows, scores = self.index.search(query, [()], stored)                   # [1, K]
        candidates = [self.index.texts[row] for row in rows[0]]
        categories, words = self.emotions.estimate(candidates, self.index.embeddings[rows[0]], scores, rows_of)
        rows, scores, texts = rows[:, :used], scores[:, :used], candidates[:used]
        parts = {name: _modality(own) for name, own in rows_of.items()}
        parts["text"] = candidate_rows(self.index, rows, scores)
        inputs = Inputs((str(path),), {name: parts[name] for name in modalities},
                        torch.from_numpy(categories), torch.from_numpy(words))
        caption, = self._generator.generate(inputs, [candidates])
        return caption, list(zip(texts, scores[0].tolist(), strict=True))


def _modality(rows: np.ndarray) -> Modality:
    """One video's rows [T, D]; T is 0 without sound."""
    return Modality(torch.from_numpy(rows.astype(np.float32))[None], torch.ones(1, len(rows), dtype=torch.bool))
