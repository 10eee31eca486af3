"""The captioners that a studio has, and what they make of a clip, ready to be shown."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.captioner.clips import ClipCaptioner
from pipeline.emotion.taxonomy import Taxonomy
from pipeline.extraction.run import encode_one
from pipeline.media.decoder import VideoDecoder
from pipeline.report.film_strips import StripSize, make_strip
from pipeline.report.gallery import EmotionWords, make_card, picture_entries

STRIP = StripSize(8, 128)
_SHOWN = 5              # emotions whose course is shown


@dataclass(frozen=True)
class Model:
    name: str
    captioner: ClipCaptioner

    def describe(self) -> dict[str, Any]:
        checkpoint = self.captioner.checkpoint
        return {"name": self.name, "dataset": checkpoint.dataset,
                "untrained": bool(self.captioner.encoders["appearance"].recipe["untrained"])}


class Session:
    """Captions one clip at a time, whatever the number of browsers. The models are those of `models`, in order."""

    def __init__(self, models: Sequence[Model], timeout: float) -> None:
        self.models = tuple(models)
        self._lock = threading.Lock()
        self._decoder = VideoDecoder(timeout)

    def close(self) -> None:
        self._decoder.close()

    def caption(self, path: Path, name: str, chosen: Sequence[int]) -> dict[str, Any]:
        """What the chosen models make of the clip at `path`, which is shown as `name`. Raises SpectrumError."""
        with self._lock:
            cards = [_caption(self.models[number], path, name) for number in chosen]
            frames = make_strip(self._decoder, path, STRIP)
        return {"name": name, "frames": picture_entries(frames), "models": cards}

    def film_strip(self, path: Path) -> list[tuple[float, str]]:
        """The frames of a clip, as cards have them; none where it cannot be read."""
        with self._lock:
            return picture_entries(make_strip(self._decoder, path, STRIP))


def _caption(model: Model, path: Path, name: str) -> dict[str, Any]:
    captioner = model.captioner
    caption, candidates = captioner.caption(path)
    row = {**caption.as_json(candidates), "video_id": name}
    card = make_card(row, (), (), EmotionWords(Taxonomy.load(captioner.checkpoint.taxonomy)))
    shown = [category for category, _ in caption.emotions[:_SHOWN]]
    times, probabilities = emotions_over_time(captioner, path)
    categories = captioner.emotions.estimators.taxonomy.categories
    course = [(category, [round(float(p), 4) for p in probabilities[:, categories.index(category)]])
              for category in shown]
    return {**model.describe(), "times": [round(time, 2) for time in times], "course": course,
            "card": {**card, "outcome": "", "frames": None, "split": "", "clip": ""}}


def emotions_over_time(captioner: ClipCaptioner, path: Path) -> tuple[list[float], np.ndarray]:
    """The prior at each frame: seconds [T], and p(category) [T, C].

    Of every frame with the sound and motion nearest in time, as if the clip had nothing else.
    """
    params = captioner.params
    known = {name: encode_one(path, encoder, params.extraction, params.machine)
             for name, encoder in captioner.encoders.items() if name in captioner.checkpoint.model.shape.dims}
    rows, times = known["appearance"]
    stored = min(params.retrieval.stored, len(captioner.index.texts))
    hits, scores = captioner.index.search(rows.astype(np.float32), [()] * len(rows), stored)
    course = []
    for number, time in enumerate(times):
        nearby = {name: own[[np.abs(own_times - time).argmin()]] if len(own) else own
                  for name, (own, own_times) in known.items()}
        texts = [captioner.index.texts[hit] for hit in hits[number]]
        categories, _ = captioner.emotions.estimate(
            texts, captioner.index.embeddings[hits[number]], scores[[number]], nearby | {"appearance": rows[[number]]})
        course.append(categories[0])
    return times.tolist(), np.stack(course)
