"""The captions to retrieve from: the training captions, or those of another file without what would leak."""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from pipeline.datasets.captions_file import read_captions
from pipeline.datasets.manifest import Caption, Split
from pipeline.params import Data

Positioned = tuple[str, Caption]        # file and line, caption


def select_corpus(section: Data, captions: Iterable[Positioned], split_of: Mapping[str, Split],
                  find_id: Callable[[str], str | None] = lambda name: name) -> tuple[list[Positioned], int]:
    """The corpus of `data.corpus`, and how many of its captions were left out.

    Where it is the file or folder of the captions (whatever it is called: links and absolute paths count), it is the
    training captions. Of another file, captions of videos of validation, test and predict are left out: they would
    be retrieved for the very videos that they describe. find_id: the id behind a name in that file, None of a video
    that the data set does not have.
    """
    if _is_same(Path(section.corpus), Path(section.captions)):
        return [(position, caption) for position, caption in captions if split_of.get(caption.video_id) == "train"], 0
    rows = [(row.position, Caption(find_id(row.video) or row.video, row.caption))
            for row in read_captions(Path(section.corpus))]
    kept = [row for row in rows if split_of.get(row[1].video_id, "train") == "train"]
    return kept, len(rows) - len(kept)


def _is_same(corpus: Path, captions: Path) -> bool:
    return corpus == captions or (corpus.exists() and captions.exists() and corpus.samefile(captions))
