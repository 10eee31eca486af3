"""The captions that a graph's captioner gave a data set, to be looked through."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from pipeline.datasets.manifest import Manifest
from pipeline.emotion.taxonomy import Taxonomy
from pipeline.params import Params
from pipeline.params.paths import Paths
from pipeline.report.gallery import CIDER, EmotionWords, judge_caption, make_card
from pipeline.report.reading import read_predictions


@dataclass(frozen=True)
class Predictions:
    dataset: str
    manifest: Manifest
    rows: dict[str, dict[str, Any]]     # of predictions.jsonl, by video
    taxonomy: Taxonomy

    @classmethod
    def read(cls, params: Params, paths: Paths) -> "Predictions | None":
        """None where the graph has captioned nothing yet. Raises SpectrumError for what is damaged."""
        path = paths.reports / "predictions.jsonl"
        if not path.is_file():
            return None
        manifest = Manifest.load(paths.data)
        rows = {row["video_id"]: row for row in read_predictions(path, manifest)}
        return cls(params.dataset, manifest, rows, Taxonomy.load(params.emotion.words))

    @cached_property
    def overview(self) -> list[dict[str, Any]]:
        """A line a video: what a list of them shows."""
        references = self.manifest.captions_of
        return [{"id": video, "caption": row["caption"], "split": self.manifest.split_of[video],
                 "outcome": judge_caption(row["caption"], references.get(video, ()), self.taxonomy),
                 "cider": next((own[name] for name in CIDER if (own := row.get("scores") or {}).get(name) is not None),
                               None)}
                for video, row in self.rows.items()]

    def card(self, video: str) -> dict[str, Any] | None:
        """Everything about a video but its frames."""
        if video not in self.rows:
            return None
        references = self.manifest.captions_of.get(video, ())
        card = make_card(self.rows[video], references, (), EmotionWords(self.taxonomy))
        return {**card, "split": self.manifest.split_of[video], "clip": ""}

    def file(self, video: str) -> Path | None:
        """The clip of a video that was captioned."""
        path = next((own.path for own in self.manifest.videos if own.id == video), "")
        return Path(path) if path and video in self.rows else None
