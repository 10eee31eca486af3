"""Where the stages put things: the one place that knows the layout of the project's folders."""

from dataclasses import dataclass, fields
from pathlib import Path

from pipeline.params import Params


@dataclass(frozen=True)
class Paths:
    data: Path          # manifest: videos.jsonl, captions.jsonl, corpus.jsonl
    encoder: Path       # the appearance encoder: weights or a pointer to them
    appearance: Path    # feature store
    audio: Path         # feature store
    motion: Path        # feature store
    emotion: Path       # emotion.h5
    index: Path         # captions.npy, captions.h5, index.json
    candidates: Path    # candidates.h5
    retrieval: Path     # retrieval.json: text-to-video scores
    captioner: Path     # the checkpoint
    baseline: Path      # the checkpoint of the same model without VTAI and HCOT
    state: Path         # of trainings under way; no out of the graph, so that what was killed can go on
    parts: Path         # of the work of index, retrieve and emotion; the same
    reports: Path       # metrics, predictions, page

    def outs(self) -> list[Path]:
        """What the stages make for this data set, files and folders."""
        return [getattr(self, field.name) for field in fields(self)]

    def summary(self, stage: str) -> Path:
        """What a stage did in its last run: counts, seconds, versions. No out of the graph."""
        return self.reports / "stages" / f"{stage}.json"

    @classmethod
    def of(cls, params: Params) -> "Paths":
        dataset = params.dataset
        appearance = params.encoders.appearance.name
        return cls(
            data=Path("data", dataset),
            encoder=Path("models", dataset, "encoder"),
            appearance=Path("features", dataset, appearance),
            audio=Path("features", dataset, params.encoders.audio.name),
            motion=Path("features", dataset, params.encoders.motion.name),
            emotion=Path("features", dataset, "emotion.h5"),
            index=Path("indexes", dataset, appearance),
            candidates=Path("indexes", dataset, "candidates.h5"),
            retrieval=Path("indexes", dataset, "retrieval.json"),
            captioner=Path("models", dataset, "captioner"),
            baseline=Path("models", dataset, "baseline"),
            state=Path("models", dataset, ".state"),
            parts=Path("indexes", dataset, ".parts"),
            reports=Path("reports", dataset),
        )
