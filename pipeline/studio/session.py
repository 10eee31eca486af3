"""The captioners that a studio has, and what they make of a clip, ready to be shown."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.captioning.clips import ClipCaptioner, Encoded, EncodedClip
from pipeline.media.decoder import VideoDecoder
from pipeline.report.caption_page import FAR
from pipeline.report.film_strips import StripSize, make_strip
from pipeline.report.gallery import EmotionWords, make_card, picture_entries

STRIP = StripSize(8, 128)
_SHOWN = 5              # emotions whose course is shown


@dataclass(frozen=True)
class Model:
    name: str
    captioner: ClipCaptioner

    def describe(self) -> dict[str, Any]:
        return {"name": self.name, "trained_on": str(self.captioner.trained_on),
                "untrained": self.captioner.is_untrained}


class Session:
    """Captions one clip at a time, whatever the number of browsers; the models are to be closed with it."""

    def __init__(self, models: Sequence[Model]) -> None:
        self.models = tuple(models)
        self._lock = threading.Lock()

    def close(self) -> None:
        for model in self.models:
            model.captioner.close()

    def caption(self, path: Path, name: str, chosen: Sequence[int]) -> dict[str, Any]:
        """What the chosen models make of the clip at `path`, which is shown as `name`. Raises SpectrumError."""
        with self._lock:
            known: dict[str, Encoded] = {}
            cards = [_caption(self.models[number], path, name, known) for number in chosen]
            frames = make_strip(self._decoder, path, STRIP)
        return {"name": name, "frames": picture_entries(frames), "models": cards}

    def film_strip(self, path: Path) -> list[tuple[float, str]]:
        """The frames of a clip, as cards have them; none where it cannot be read."""
        with self._lock:
            return picture_entries(make_strip(self._decoder, path, STRIP))

    @property
    def _decoder(self) -> VideoDecoder:
        return self.models[0].captioner.decoder


def _caption(model: Model, path: Path, name: str, known: dict[str, Encoded]) -> dict[str, Any]:
    captioner, taxonomy = model.captioner, model.captioner.emotions.estimators.taxonomy
    encoded = captioner.encode(path, None, known)
    clip = captioner.caption_encoded(encoded, with_attention=True)
    card = make_card(clip.as_json(), (), (), EmotionWords(taxonomy))
    times, probabilities = emotions_over_time(captioner, encoded)
    course = [(category, [round(float(p), 4) for p in probabilities[:, taxonomy.categories.index(category)]])
              for category, _ in clip.caption.emotions[:_SHOWN]]
    return {**model.describe(), "times": [round(time, 2) for time in times], "course": course,
            "card": {**card, "id": name, "frames": None, "split": "", "clip": "", "note": FAR if clip.is_far else ""}}


def emotions_over_time(captioner: ClipCaptioner, clip: EncodedClip) -> tuple[list[float], np.ndarray]:
    """The prior at each frame: seconds [T], and p(category) [T, C].

    Of every frame with the sound and motion nearest in time, as if the clip had nothing else.
    """
    params = captioner.params
    rows, times = clip.rows["appearance"], clip.times["appearance"]
    stored = min(params.retrieval.stored, len(captioner.index.texts))
    hits, scores = captioner.index.search(rows.astype(np.float32), [()] * len(rows), stored)
    course = []
    for number, time in enumerate(times):
        nearby = {name: own[[np.abs(clip.times[name] - time).argmin()]] if len(own) else own
                  for name, own in clip.rows.items()}
        texts = [captioner.index.texts[hit] for hit in hits[number]]
        categories, _ = captioner.emotions.estimate(
            texts, captioner.index.embeddings[hits[number]], scores[[number]], nearby | {"appearance": rows[[number]]})
        course.append(categories[0])
    return times.tolist(), np.stack(course)
