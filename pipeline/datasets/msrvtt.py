"""MSR-VTT 10K: 10,000 clips of 20 categories, 20 captions each, with the official splits 6513 / 497 / 2990.

Read from the official files, in their zip archives or out of them: `train_val_videodatainfo.json` (in
`train_val_annotation.zip`) and `test_videodatainfo.json` (in `test_videodatainfo.json.zip`); videos `videoN.mp4`.
"""

import json
import re
import zipfile
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

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
    read,
)
from pipeline.datasets.video_files import files_below
from pipeline.params import Data

_FILES = {"train_val_videodatainfo.json": "train_val_annotation.zip",
          "test_videodatainfo.json": "test_videodatainfo.json.zip"}
_SPLITS: dict[str, Split] = {"train": "train", "validate": "validation", "test": "test"}
_IDS: dict[Split, range] = {"train": range(6513), "validation": range(6513, 7010), "test": range(7010, 10000)}
_CAPTIONS_A_VIDEO = 20


def prepare(section: Data) -> tuple[Manifest, Findings]:
    """The manifest of the files in `section.captions` (a folder) and the videos below `section.videos`."""
    annotations, checklist = Annotations("MSR-VTT"), Checklist("MSR-VTT", section, sum(map(len, _IDS.values())))
    files = files_below(Path(section.captions))
    paths = {name: checklist.file(files, [name, archive], "videos and captions", f"data.captions ({section.captions})")
             for name, archive in _FILES.items()}
    checklist.enforce_annotations()
    for name, path in paths.items():
        if path is not None:
            _read(str(path), _load(path, name), annotations)
    differences = [line for split, ids in _IDS.items()
                   for line in difference(split, "videos", annotations.of(split), [f"video{n}" for n in ids])]
    check_published(section, annotations, differences or _caption_differences(annotations))
    return build(section, annotations, checklist)


def _caption_differences(annotations: Annotations) -> list[str]:
    per_video = Counter(caption.video_id for _, caption in annotations.captions)
    uneven = [video for video in annotations.videos if per_video[video] != _CAPTIONS_A_VIDEO]
    if uneven:
        return [f"{len(uneven)} videos have not {_CAPTIONS_A_VIDEO} captions, such as {uneven[0]}: "
                f"{per_video[uneven[0]]}"]
    return caption_differences(annotations, {split: _CAPTIONS_A_VIDEO * len(ids) for split, ids in _IDS.items()})


def _load(path: Path, name: str) -> Any:
    data = read(path)
    try:
        return json.loads(data if path.name == name else _unpacked(path, data, name))
    except (ValueError, RecursionError) as error:       # no JSON, no UTF-8, nested or numbers without end
        raise SpectrumError(f"{path}: {name} is not readable as JSON ({error}); get it again") from None


def _unpacked(path: Path, data: bytes, name: str) -> bytes:
    """The file `name` out of an archive, in whichever folder of it."""
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            inside = next((inside for inside in archive.namelist() if Path(inside).name == name), None)
            if inside is not None:
                return archive.read(inside)
    except Exception as error:      # each kind of compression has errors of its own
        raise SpectrumError(f"{path}: not readable as a zip archive ({error}); get it again") from None
    raise SpectrumError(f"{path}: no {name} inside; get the archive again from its owners")


def _read(position: str, tree: Any, annotations: Annotations) -> None:
    for number, row in enumerate(_rows(position, tree, "videos")):
        here = f"{position}, videos[{number}]"
        video, split = _strings(here, row, "video_id", "split")
        if split not in _SPLITS or not re.fullmatch(r"video\d+", video):
            raise SpectrumError(f"{here}: expected video<number> of split {', '.join(_SPLITS)}, found {row!r:.200}")
        if video in annotations.videos:
            raise SpectrumError(f"{here}: video {video!r} is there twice (first in {annotations.videos[video][0]})")
        annotations.add_video(here, video, _SPLITS[split])
    for number, row in enumerate(_rows(position, tree, "sentences")):
        here = f"{position}, sentences[{number}]"
        video, caption = _strings(here, row, "video_id", "caption")
        if video not in annotations.videos:
            raise SpectrumError(f"{here}: caption of the unknown video {video!r}")
        annotations.add_caption(here, video, caption)


def _rows(position: str, tree: Any, key: str) -> list[Any]:
    if not isinstance(tree, dict) or not isinstance(tree.get(key), list):
        raise SpectrumError(f"{position}: expected an object with the lists `videos` and `sentences`")
    return list(tree[key])


def _strings(position: str, row: Any, *keys: str) -> list[str]:
    if not isinstance(row, dict) or not all(isinstance(row.get(key), str) for key in keys):
        raise SpectrumError(f"{position}: expected the strings {' and '.join(keys)}, found {row!r:.200}")
    return [row[key] for key in keys]
