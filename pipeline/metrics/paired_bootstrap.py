"""Is one system better than another? The paired bootstrap, over clips and over trainings.

    compare(ours, theirs, seed=0)["cfs"]    # {"difference": 0.021, "low": 0.008, "high": 0.035, "tie": False}

Both systems captioned the same videos. Many times the videos, and the seeds of the trainings, are drawn with
replacement, and the two are scored on what was drawn; the middle 95 % of the differences are the interval. Where it
holds 0, the two are tied (Koehn, EMNLP 2004; Efron and Tibshirani, 1993).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.common.errors import SpectrumError
from pipeline.metrics.emotions import ACC_C_SOFTENING, Comparison

RESAMPLES = 2000
_MIDDLE = (2.5, 97.5)       # per cent

Reals = NDArray[np.float64]


@dataclass(frozen=True)
class VideoScores:
    """What the scores of any choice of N videos are made of: one training's captions, or a reference line's."""

    cider: Mapping[str, Reals]      # protocol → [N]; a protocol that is absent is not there
    right: Reals                    # [N] categories that the caption names and the references have
    wrong: Reals                    # [N] categories that only the caption has

    @classmethod
    def of(cls, cider: Mapping[str, Sequence[float]], comparisons: Sequence[Comparison]) -> "VideoScores":
        return cls({protocol: np.asarray(values, np.float64) for protocol, values in cider.items()},
                   np.array([each.right for each in comparisons], np.float64),
                   np.array([each.wrong for each in comparisons], np.float64))

    @classmethod
    def of_lines(cls, lines: Sequence[Mapping[str, float | None]]) -> "VideoScores":
        """Of the `scores` of lines of predictions.jsonl, which `by_video` made."""
        def column(name: str) -> list[float | None]:
            return [line.get(name) for line in lines]

        cider = {protocol: column(f"CIDEr ({protocol})") for protocol in ("coco", "evc")}
        right, wrong = (np.array([count or 0 for count in column(f"{kind}_emotions")], np.float64)
                        for kind in ("right", "wrong"))
        return cls({protocol: np.array(values, np.float64) for protocol, values in cider.items()
                    if None not in values}, right, wrong)

    def by_video(self, ids: Sequence[str]) -> dict[str, dict[str, Any]]:
        """What a line of predictions.jsonl says of its scores; `ids`: the videos in their order here."""
        return {video: {"scores": {**{f"CIDEr ({protocol})": round(float(values[i]), 4)
                                      for protocol, values in self.cider.items()},
                                   "right_emotions": int(self.right[i]), "wrong_emotions": int(self.wrong[i])}}
                for i, video in enumerate(ids)}

    def scores(self, counts: Reals) -> dict[str, Reals]:
        """CIDEr and CFS of B choices of videos; counts [B, N]: how often each is in it."""
        videos = counts.sum(1)
        found = {protocol: counts @ values / videos for protocol, values in self.cider.items()}
        scores = {"cider": found["coco"]} if "coco" in found else {}
        if "evc" not in found:
            return scores
        named = self.right + self.wrong
        acc_sw = counts @ self.right / (counts @ (named + (named == 0)))
        right, mixed = counts @ (self.right > 0), counts @ ((self.right > 0) & (self.wrong > 0))
        pure = mixed < right        # as published, Acc_c overflows where there are none; its limit is 0
        exponent = np.where(pure, mixed / np.where(pure, mixed - right + ACC_C_SOFTENING, 1.0), 0.0)
        acc_c = np.where(pure, np.exp(exponent) * right / videos, 0.0)
        return {**scores, "cfs": 0.8 * found["evc"] + 0.1 * (acc_sw + acc_c)}


def compare(ours: Sequence[VideoScores], theirs: Sequence[VideoScores], seed: int) -> dict[str, dict[str, Any]]:
    """How far `ours` is ahead in every score that both have, with its interval; an entry of each is a training.

    Where both have as many trainings they are paired by their place (the same seeds). The same `seed` gives the same
    interval. Raises SpectrumError where the two are not of the same videos.
    """
    videos = {len(each.right) for each in (*ours, *theirs)}
    if len(videos) != 1:
        raise SpectrumError(f"two systems can only be compared on the same videos; these have {sorted(videos)} videos")
    rng = np.random.default_rng(seed)
    size = videos.pop()
    counts = rng.multinomial(size, np.full(size, 1 / size), RESAMPLES).astype(np.float64)      # [B, N]
    drawn = rng.integers(len(ours), size=(RESAMPLES, len(ours)))
    drawn_theirs = drawn if len(theirs) == len(ours) else rng.integers(len(theirs), size=(RESAMPLES, len(theirs)))
    once = np.ones((1, size))
    resampled = [_averaged([each.scores(counts) for each in side], chosen)
                 for side, chosen in ((ours, drawn), (theirs, drawn_theirs))]
    whole = [_averaged([each.scores(once) for each in side], np.arange(len(side))[None]) for side in (ours, theirs)]
    return {score: _interval(float(whole[0][score][0] - whole[1][score][0]), resampled[0][score] - resampled[1][score])
            for score in whole[0] if score in whole[1]}


def _averaged(trainings: Sequence[Mapping[str, Reals]], drawn: NDArray[np.int64]) -> dict[str, Reals]:
    """The mean over the trainings `drawn` [B, S] of every score that all of them have → [B]."""
    shared = [score for score in trainings[0] if all(score in training for training in trainings)]
    stacked = {score: np.stack([training[score] for training in trainings], 1) for score in shared}     # [B, S]
    return {score: np.take_along_axis(values, drawn, 1).mean(1) for score, values in stacked.items()}


def _interval(difference: float, resampled: Reals) -> dict[str, Any]:
    low, high = (float(bound) for bound in np.percentile(resampled, _MIDDLE))
    return {"difference": difference, "low": low, "high": high, "tie": low <= 0 <= high}


def describe(interval: Mapping[str, Any]) -> str:
    """`+2.1 (+0.8 to +3.5)`, times 100, with "tie" where it is one."""
    numbers = [f"{100 * interval[key]:+.1f}" for key in ("difference", "low", "high")]
    return f"{numbers[0]} ({numbers[1]} to {numbers[2]})" + (", tie" if interval["tie"] else "")
