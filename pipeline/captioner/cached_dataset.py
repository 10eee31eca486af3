"""The cached tensors of a data set that the captioner reads, opened together so that they belong together."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from pipeline.captioner.generation.consensus import Consensus
from pipeline.captioner.inputs import Modality, word_keys
from pipeline.captioner.splits import Split
from pipeline.captioner.stored_inputs import CandidateRows, StoredInputs, StoredModality, StoredRows
from pipeline.common.commands import rerun
from pipeline.common.errors import SpectrumError
from pipeline.datasets.manifest import Manifest
from pipeline.emotion.emotion_file import Emotions
from pipeline.params import Machine
from pipeline.params.paths import Paths
from pipeline.retrieval.candidates import Candidates
from pipeline.retrieval.index import CaptionIndex, model_id, open_index
from pipeline.store.feature_store import FeatureStore
from pipeline.store.store_file import STORE_FILE

# What a video lacks when its rows of a modality are missing, as `left_out` names it.
_LACKS = {"audio": "sound", "motion": "motion"}


@dataclass(frozen=True)
class CachedDataset:
    """Feature stores, candidates and emotions of one data set; `motion` is None where it was never extracted.

    `missing` names what was asked for and is not there, by reason: videos whose frames failed (they cannot be
    captioned) and videos without sound or motion (masked).
    """

    appearance: FeatureStore
    audio: FeatureStore
    motion: FeatureStore | None
    index: CaptionIndex
    candidates: Candidates
    emotions: Emotions
    missing: dict[str, set[str]] = field(default_factory=lambda: {what: set() for what in ("frames", *_LACKS.values())})
    budget: "Budget" = field(default_factory=lambda: Budget(Machine().resident_megabytes))

    @classmethod
    def open(cls, paths: Paths, resident_megabytes: int = Machine().resident_megabytes) -> "CachedDataset":
        appearance = FeatureStore.open(paths.appearance)
        motion = FeatureStore.open(paths.motion) if (paths.motion / STORE_FILE).is_file() else None
        index = open_index(paths.index, model_id(appearance.recipe))
        candidates = Candidates.read(paths.candidates)
        candidates.check_index(index)
        emotions = Emotions.read(paths.emotion)
        if emotions.candidates_digest != candidates.digest:
            raise SpectrumError(f"{paths.emotion}: estimated from other candidates than {paths.candidates}; "
                                f"{rerun('emotion')}")
        audio = FeatureStore.open(paths.audio)
        stores = {"appearance": appearance, "audio": audio, "motion": motion}
        for name, recipe_id in emotions.row_recipes.items():
            store = stores.get(name)
            if store is None or store.recipe_id != recipe_id:
                raise SpectrumError(f"{paths.emotion}: estimated from other {name} features than those that are there; "
                                    f"{rerun('emotion')}")
        return cls(appearance, audio, motion, index, candidates, emotions, budget=Budget(resident_megabytes))

    @property
    def recipes(self) -> dict[str, str]:
        """The recipe id of everything that was read: a checkpoint keeps them and refuses others."""
        motion = {} if self.motion is None else {"motion": self.motion.recipe_id}
        return {"appearance": self.appearance.recipe_id, "audio": self.audio.recipe_id, **motion,
                "index": self.index.digest, "candidates": self.candidates.recipe_id, "emotion": self.emotions.recipe_id}

    @property
    def left_out(self) -> dict[str, int]:
        """How many videos lack what, for a stage's summary."""
        return {f"without_{what}": len(videos) for what, videos in self.missing.items()}

    def present(self, ids: Iterable[str]) -> list[str]:
        """`ids` without the videos whose frames are known to have failed: those go to `missing`."""
        ids = list(ids)
        self.missing["frames"].update(video for video in ids if video in self.appearance.failures)
        return [video for video in ids if video not in self.missing["frames"]]

    @cached_property
    def consensus(self) -> Consensus:
        return Consensus.of(self.index)

    def candidate_texts(self, ids: Sequence[str]) -> list[list[str]]:
        """All stored candidates of every video, nearest first."""
        return [[self.index.texts[row] for row in rows] for rows in self.candidates.select(ids).rows]

    def reference_captions(self, ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """Captions that need no captioner, by the name of their reference line: of every video the candidate that is
        nearest to it, and the one that agrees most with all of them."""
        texts = self.candidate_texts(ids)
        return {"nearest_caption": {video: own[0] for video, own in zip(ids, texts, strict=True)},
                "consensus_caption": dict(zip(ids, self.consensus.choose(texts), strict=True))}

    def split(self, manifest: Manifest, name: Literal["train", "validation"], modalities: Sequence[str],
              used: int) -> Split:
        """The videos of a split whose frames are there, with their captions and candidates, for a training."""
        ids = self.present(manifest.ids(name))
        candidates = self.candidate_texts(ids) if name == "validation" else ()
        return Split.of(name, self.inputs(ids, modalities, used), manifest.captions_of, candidates)

    def inputs(self, ids: Sequence[str], modalities: Sequence[str], used: int) -> StoredInputs:
        """Inputs of `ids` with the `used` best candidates; an id that a source lacks is an error.

        Modalities become resident as long as the budget lasts, in the order of `modalities`.
        """
        opened = {name: self._modality(name, ids, used) for name in modalities}
        return StoredInputs(tuple(ids), {name: part for name, part in opened.items() if part is not None},
                            *self.priors(ids, modalities))

    def row_times(self, video: str) -> dict[str, list[float]]:
        """The seconds that the rows of a video stand for, of every modality that has some."""
        stores = {"appearance": self.appearance, "audio": self.audio, "motion": self.motion}
        return {name: times.tolist() for name, store in stores.items()
                if store is not None and video in store and len(times := store.times(video))}

    def priors(self, ids: Sequence[str], modalities: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        """Emotional priors of `ids` as a captioner that reads `modalities` may know them: categories, words."""
        categories, words = self.emotions.select(ids, modalities)
        return torch.from_numpy(categories), torch.from_numpy(words)

    def _modality(self, name: str, ids: Sequence[str], used: int) -> StoredModality | None:
        if name == "text":
            chosen = self.candidates.select(ids)
            rows = chosen.rows[:, :used]
            return CandidateRows.of(self.index, rows, chosen.scores[:, :used],
                                    self.budget.take(len(np.unique(rows)) * self.index.embeddings.shape[1] * 4))
        if name != "appearance":
            return self._optional(name, self.audio if name == "audio" else self.motion, ids)
        return self._rows(self.appearance, ids, self.appearance.count_rows(ids))

    def _optional(self, name: str, store: FeatureStore | None, ids: Sequence[str]) -> StoredModality | None:
        """None where the data set has none of it at all; a video whose rows failed is masked like one without."""
        if store is None or store.recipe["kind"] == "none":
            return None
        known = [video for video in ids if video not in store.failures]
        counts = dict(zip(known, store.count_rows(known).tolist(), strict=True))
        lengths = np.array([counts.get(video, 0) for video in ids], np.int64)
        self.missing[_LACKS[name]].update(video for video, length in zip(ids, lengths, strict=True) if not length)
        return self._rows(store, ids, lengths)

    def _rows(self, store: FeatureStore, ids: Sequence[str], lengths: NDArray[np.int64]) -> StoredRows:
        resident = self.budget.take(int(lengths.sum()) * store.dim * store.dtype.itemsize)
        return StoredRows.of(store, ids, lengths, resident)


class Budget:
    """Megabytes of rows that may be resident, and what is taken of them."""

    def __init__(self, megabytes: int) -> None:
        self.left = megabytes << 20
        self.resident = self.streamed = 0       # bytes

    def take(self, size: int) -> bool:
        """Whether so many bytes fit beside what was taken before."""
        fits = size <= self.left
        if fits:
            self.left -= size
            self.resident += size
        else:
            self.streamed += size
        return fits

    def summary(self) -> dict[str, int]:
        """Megabytes, for a stage's summary."""
        return {"resident": self.resident >> 20, "streamed": self.streamed >> 20}


def candidate_rows(index: CaptionIndex, rows: np.ndarray, scores: np.ndarray) -> Modality:
    """The candidates at `rows` [V, K] of the index: embeddings [V, K, D], words, similarities `scores` [V, K]."""
    embeddings = torch.from_numpy(index.embeddings[rows])  # [V, K, D]
    texts = [[index.texts[row] for row in video] for video in rows]
    return Modality(embeddings, torch.ones(rows.shape, dtype=torch.bool), word_keys(texts), torch.from_numpy(scores))
