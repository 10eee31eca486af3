"""Captions of video files that are in no store: the graph's way from file to tensors, for one clip at a time."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pipeline.captioner import beam
from pipeline.captioner.checkpoint import Checkpoint, refuse_other_recipes
from pipeline.captioner.inputs import Inputs, Modality
from pipeline.captioner.sources import candidate_rows
from pipeline.emotion import probabilities
from pipeline.emotion.prior import prior
from pipeline.emotion.taxonomy import Taxonomy
from pipeline.encoders.appearance import Appearance
from pipeline.encoders.base import Encoder
from pipeline.extraction import encode_one
from pipeline.files import fingerprint
from pipeline.index import CaptionIndex
from pipeline.params import Params


@dataclass(frozen=True)
class OwnClips:
    """All that turns a file into a caption. Refuses encoders of other recipes than the captioner was trained on."""

    checkpoint: Checkpoint
    appearance: Appearance
    audio: Encoder
    captions: CaptionIndex
    params: Params

    def __post_init__(self) -> None:
        emotion = probabilities.recipe_id(self.params.emotion, self.params.retrieval.used, self.captions.recipe_id)
        refuse_other_recipes(self.checkpoint, {
            "appearance": fingerprint(self.appearance.recipe), "audio": fingerprint(self.audio.recipe),
            "candidates": self.captions.recipe_id, "emotion": emotion})

    def caption(self, path: Path) -> tuple[beam.Caption, list[tuple[str, float]]]:
        """The caption of a file, and its candidates with their similarities. Raises SpectrumError naming the file."""
        frames, _ = encode_one(path, self.appearance, self.params.extraction)      # [T, D]
        sound, _ = encode_one(path, self.audio, self.params.extraction)            # [T', D']; T' = 0 without sound
        query = frames.astype(np.float32).mean(0, keepdims=True)
        used = min(self.params.retrieval.used, len(self.captions.texts))
        rows, scores = self.captions.search(query, [set()], used)                  # [1, K]
        texts = [self.captions.texts[row] for row in rows[0]]
        taxonomy = Taxonomy.load(self.params.emotion.words)
        words = probabilities.mixture(
            probabilities.backends(texts, self.captions.embeddings[rows[0]], self.captions.embeddings,
                                   self.params.emotion, taxonomy, self.appearance.encode_texts),
            self.params.emotion)
        temperature = self.params.emotion.retrieval_temperature
        parts = {"appearance": _modality(frames), "audio": _modality(sound),
                 "text": candidate_rows(self.captions, rows)}
        inputs = Inputs(
            (str(path),), {name: parts[name] for name in self.checkpoint.model.shape.dims},
            torch.from_numpy(prior(probabilities.categories(words, taxonomy)[None], scores, temperature)),
            torch.from_numpy(prior(words[None], scores, temperature)))
        found = beam.caption(self.checkpoint.model, self.checkpoint.vocabulary, self.checkpoint.attributes, inputs,
                             self.params.decoding)
        return found[0], list(zip(texts, scores[0].tolist(), strict=True))


def _modality(rows: np.ndarray) -> Modality:
    return Modality(torch.from_numpy(rows.astype(np.float32))[None], torch.ones(1, len(rows), dtype=torch.bool))
