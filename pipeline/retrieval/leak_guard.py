"""The leak guard: a video never retrieves a caption that only its own people wrote.

It goes by owner. A sentence that somebody also wrote for another video stays, for a test video would retrieve it too:
barring it would make the candidates of training videos worse than those of test videos, and the captioner would learn
to distrust what it will be given.
"""

from collections import defaultdict
from collections.abc import Sequence

from pipeline.retrieval.index import CaptionIndex


def barred_rows(ids: Sequence[str], index: CaptionIndex) -> list[list[int]]:
    """For each video the rows of `index` that it alone owns."""
    alone: dict[str, list[int]] = defaultdict(list)
    for row, owners in enumerate(index.owners):
        if len(owners) == 1:
            alone[owners[0]].append(row)
    return [alone.get(video, []) for video in ids]
