"""Text-to-video retrieval: how far up a caption finds the video it was written for."""

import numpy as np
import numpy.typing as npt

from pipeline.common.errors import SpectrumError


def score_retrieval(similarity: npt.NDArray[np.floating],
                    targets: npt.NDArray[np.integer]) -> dict[str, float]:
    """Recall at 1, 5 and 10 (`r1`, `r5`, `r10`, shares) and `median_rank` (from 1) of every text's own video.

    similarity: `[n_text, n_video]`; targets: `[n_text]`, the column of every text's video. A tie counts
    against the text: its video ranks behind all that are as similar, so that equal embeddings win nothing.
    Raises SpectrumError for shapes that do not fit, a target outside the columns or a similarity that is no
    number.
    """
    if similarity.ndim != 2 or targets.shape != similarity.shape[:1] or not targets.size:
        raise SpectrumError(f"retrieval: expected similarities [texts, videos] and one target a text; they are "
                            f"{similarity.shape} and {targets.shape}")
    if targets.min() < 0 or targets.max() >= similarity.shape[1]:
        raise SpectrumError(f"retrieval: targets run from {targets.min()} to {targets.max()}, but there are "
                            f"{similarity.shape[1]} videos")
    if not np.isfinite(similarity).all():
        raise SpectrumError("retrieval: a similarity is not a finite number; look at the embeddings")
    own = np.take_along_axis(similarity, targets[:, None], axis=1)  # [n_text, 1]
    ranks = (similarity >= own).sum(axis=1)                         # [n_text], its own column included
    return {**{f"r{k}": float((ranks <= k).mean()) for k in (1, 5, 10)},
            "median_rank": float(np.median(ranks))}
