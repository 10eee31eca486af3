"""MSVD (Microsoft Video Description): 1,970 clips of YouTube videos, about 41 captions each.

Read from the files that the field shares: `sents_{train,val,test}_lc_nopunc.txt` (`vid1<TAB>caption`), the map
`youtube_mapping.txt` (`youtubeid_start_end vid1`, CRLF), and the videos `youtubeid_start_end.avi`.
"""

import re
from collections.abc import Iterable
from pathlib import Path

from pipeline.common.errors import SpectrumError
from pipeline.datasets.manifest import Manifest, Split
from pipeline.datasets.published import (
    Annotations,
    Checklist,
    Findings,
    build,
    caption_differences,
    check_published,
    difference,
    lines,
)
from pipeline.datasets.video_files import files_below
from pipeline.params import Data

MAP = "youtube_mapping.txt"

_FILES: dict[Split, str] = {"train": "sents_train*.txt", "validation": "sents_val*.txt", "test": "sents_test*.txt"}
_IDS: dict[Split, range] = {"train": range(1, 1201), "validation": range(1201, 1301), "test": range(1301, 1971)}
_CAPTIONS: dict[Split, int] = {"train": 48774, "validation": 4290, "test": 27763}


def prepare(section: Data) -> tuple[Manifest, Findings]:
    """The manifest of the files in `section.captions` (a folder) and the videos below `section.videos`."""
    annotations, checklist = Annotations("MSVD"), Checklist("MSVD", section, sum(map(len, _IDS.values())))
    files = files_below(Path(section.captions))
    paths = {split: checklist.file(files, [name], f"captions of {split}", f"data.captions ({section.captions})")
             for split, name in _FILES.items()}
    of_map = find_map(checklist, section, files)
    checklist.enforce_annotations()
    for split, path in paths.items():
        if path is not None:
            _read(path, split, annotations)
    name(annotations, list(annotations.videos), of_map)
    differences = [line for split, ids in _IDS.items()
                   for line in difference(split, "videos", annotations.of(split), [f"vid{n}" for n in ids])]
    check_published(section, annotations, differences or caption_differences(annotations, _CAPTIONS))
    return build(section, annotations, checklist)


def find_map(checklist: Checklist, section: Data, files: list[Path]) -> Path | None:
    """The map among `files`, else below `data.videos`; used, but not needed, where videos without files are kept."""
    below = files if any(path.name == MAP for path in files) else files_below(Path(section.videos))
    return checklist.file(below, [MAP], "which file is which video",
                          f"data.captions ({section.captions}) or data.videos ({section.videos})",
                          needed=section.missing_videos != "keep")


def name(annotations: Annotations, videos: list[str], of_map: Path | None) -> None:
    """Gives videos of MSVD their other names: the map's, and the key that features of CARE and its relatives have.

    Those count from video0, in the same order. It is no name of a video file: MSR-VTT's files are called so.
    """
    if of_map is not None:
        annotations.names |= read_map(of_map, videos)
    annotations.keys |= {video: f"video{int(video.removeprefix('vid')) - 1}" for video in videos}


def read_map(path: Path, videos: Iterable[str]) -> dict[str, str]:
    """`youtubeid_start_end` of every one of `videos`. Raises SpectrumError for a line that is no such pair, an id or
    a name that is there twice, a video that is not there."""
    name_of: dict[str, str] = {}
    for position, line in lines(path, Findings()):
        parts = line.split()
        if len(parts) != 2 or not re.fullmatch(r".+_\d+_\d+", parts[0]) or not re.fullmatch(r"vid\d+", parts[1]):
            raise SpectrumError(f"{position}: expected `youtubeid_start_end vid1`, found {line!r:.100}")
        if name_of.setdefault(parts[1], parts[0]) != parts[0]:
            raise SpectrumError(f"{position}: {parts[1]} is called {name_of[parts[1]]} and {parts[0]}; get the map "
                                "again")
    for video in videos:
        if video not in name_of:
            raise SpectrumError(f"{path}: no line for {video}, which has captions; get the whole map")
    return {video: name_of[video] for video in videos}


def _read(path: Path, split: Split, annotations: Annotations) -> None:
    for position, line in lines(path, annotations.findings):
        video, tab, caption = line.partition("\t")
        if not tab or "\t" in caption or not re.fullmatch(r"vid\d+", video):
            raise SpectrumError(f"{position}: expected vid<number><TAB>caption, found {line!r:.100}")
        annotations.add_video(position, video, split)
        annotations.add_caption(position, video, caption)
