"""EmVidCap: emotional captions. S: 374 clips of MSVD with rewritten captions; L: VideoEmotion-8 clips with long ones.

Both parts are published as two files of the same names, `EmVideo_trainval_captions.csv` and
`EmVideo_test_captions.csv`, header `VideoID,EmCaptions`: those of S comma-separated with CRLF, those of L
TAB-separated with LF. Which part a folder holds follows from its ids: MSVD's `vid1` to `vid1970`, or
`vid<class><number>` of five digits and more. There is no validation split: a share of trainval is held out by
video. A clip that L has in trainval and test is dropped from training.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from pipeline.common.errors import SpectrumError
from pipeline.datasets import msvd
from pipeline.datasets.manifest import Manifest
from pipeline.datasets.published import (
    Annotations,
    Checklist,
    Findings,
    build,
    check_published,
    difference,
    lines,
    read,
)
from pipeline.datasets.video_files import files_below
from pipeline.params import Data

Part = Literal["s", "l"]
PARTS: dict[str, tuple[Part, ...]] = {"emvidcap-s": ("s",), "emvidcap-l": ("l",), "emvidcap": ("s", "l")}

_TRAINVAL, _TEST = "EmVideo_trainval_captions.csv", "EmVideo_test_captions.csv"
_IDS: dict[Part, str] = {"s": r"vid\d{1,4}", "l": r"vid\d{5,}"}
_VIDEOS: dict[Part, int] = {"s": 240 + 134, "l": 1134 + 382}
_IN_BOTH: dict[Part, list[str]] = {"s": [], "l": ["vid80703"]}

Rows = list[tuple[str, str, str]]     # position, video, caption


@dataclass(frozen=True)
class _Files:
    """What one part's files hold, in their order."""

    trainval: Rows
    test: Rows


def prepare(section: Data, seed: int) -> tuple[Manifest, Findings]:
    """The manifest of the parts that `section.kind` names; of both, S comes first.

    The same videos are held out for validation whether a part is used alone or with the other.
    """
    parts = PARTS[section.kind]
    annotations = Annotations("EmVidCap" if len(parts) > 1 else f"EmVidCap-{parts[0].upper()}")
    checklist = Checklist(annotations.title, section, sum(_VIDEOS[part] for part in parts))
    files = files_below(Path(section.captions))
    folder_of = _folders(files)
    paths = {(part, name): checklist.file(
        [path for path in files if path.parent in folder_of.get(part, [])], [name], f"of EmVidCap-{part.upper()}",
        f"data.captions ({section.captions}), in a folder of its own")
        for part in parts for name in (_TRAINVAL, _TEST)}
    of_map = msvd.find_map(checklist, section, files) if "s" in parts else None
    checklist.enforce_annotations()
    differences: list[str] = []
    for part in parts:
        trainval, test = (_read(path, part, annotations.findings) if (path := paths[part, name]) else []
                          for name in (_TRAINVAL, _TEST))
        differences += _differences(part, _Files(trainval, test))
        _add(annotations, _Files(trainval, test), section.validation, seed)
    msvd.name(annotations, [video for video in annotations.videos if re.fullmatch(_IDS["s"], video)], of_map)
    check_published(section, annotations, differences)
    return build(section, annotations, checklist)


def _folders(files: Iterable[Path]) -> dict[Part, list[Path]]:
    """The folders that hold files of each part, by the first id in them; one without such an id is of neither."""
    folders: dict[Part, list[Path]] = {}
    for path in files:
        if path.name in (_TRAINVAL, _TEST):
            first = re.search(rb"^\W*(vid\d+)\W", read(path)[:4096], re.MULTILINE)
            for part in PARTS["emvidcap"]:
                if first and re.fullmatch(_IDS[part], first[1].decode()) \
                        and path.parent not in folders.setdefault(part, []):
                    folders[part].append(path.parent)
    return folders


def _read(path: Path, part: Part, findings: Findings) -> Rows:
    rows = lines(path, findings)
    position, header = next(rows, (f"{path}, line 1", ""))
    columns = re.fullmatch(r'"?VideoID"?([,\t])"?EmCaptions"?\s*', header, re.IGNORECASE)
    if columns is None:
        raise SpectrumError(f"{position}: expected the header VideoID,EmCaptions (or a TAB between), found "
                            f"{header!r:.100}")
    return [_row(position, line, columns[1], part) for position, line in rows]


def _row(position: str, line: str, separator: str, part: Part) -> tuple[str, str, str]:
    video, separated, caption = line.partition(separator)
    video = _unquoted(video)
    if not separated or not re.fullmatch(_IDS[part], video):
        raise SpectrumError(f"{position}: expected vid<number>{separator!r}caption of EmVidCap-{part.upper()}, found "
                            f"{line!r:.100}")
    return position, video, _unquoted(caption)


def _unquoted(text: str) -> str:
    """A field as CSV quotes it; a quotation mark inside a caption stays, as does a comma, quoted or not."""
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == '"' and '"' not in text[1:-1].replace('""', ""):
        return text[1:-1].replace('""', '"')
    return text


def _differences(part: Part, files: _Files) -> list[str]:
    name = f"EmVidCap-{part.upper()}"
    trainval, test = _videos(files.trainval), _videos(files.test)
    both = sorted(set(trainval) & set(test))
    differences = difference(name, "videos in trainval and test both", both, _IN_BOTH[part])
    if part == "s":
        return (differences + difference(f"{name} trainval", "videos", trainval, [f"vid{n}" for n in range(1, 241)])
                + difference(f"{name} test", "videos", test, [f"vid{n}" for n in range(1301, 1435)]))
    # 1134 counts the trainval videos with or without the one that is also in test: both readings are taken.
    if len(trainval) not in {1134, 1135}:
        differences.append(f"{name} trainval: {len(trainval)} videos, published 1134")
    if len(test) != 382:
        differences.append(f"{name} test: {len(test)} videos, published 382")
    return differences


def _add(annotations: Annotations, files: _Files, validation: float, seed: int) -> None:
    test = set(_videos(files.test))
    learnt = [video for video in _videos(files.trainval) if video not in test]
    held_out = set(_order_by_hash(learnt, seed)[:max(round(validation * len(learnt)), 1)])
    for position, video, caption in files.trainval:
        if video in test:
            annotations.findings.dropped_from_training[video] = "it is in the test file, too"
        else:
            annotations.add_video(position, video, "validation" if video in held_out else "train")
            annotations.add_caption(position, video, caption)
    for position, video, caption in files.test:
        annotations.add_video(position, video, "test")
        annotations.add_caption(position, video, caption)


def _videos(rows: Rows) -> list[str]:
    return list(dict.fromkeys(video for _, video, _ in rows))


def _order_by_hash(videos: Iterable[str], seed: int) -> list[str]:
    """Videos in an order that only their names and the seed decide."""
    return sorted(videos, key=lambda video: hashlib.sha256(f"{seed}:{video}".encode()).hexdigest())
