"""Your own videos: a folder of files, and a file of captions (captions_file.py).

A row of captions names a video by its path inside the folder, with or without the ending. Where no split is given
the videos that have captions are dealt out by a seeded hash of their names, or of their `group`, which keeps pieces
of one film together. Every other video of the folder goes to
`predict`: it is captioned and shown, never trained on or scored.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from pipeline.common.errors import SpectrumError
from pipeline.common.text import clean, has_lone_surrogates
from pipeline.datasets import manifest
from pipeline.datasets.captions_file import Row, read_captions
from pipeline.datasets.corpus import select_corpus
from pipeline.datasets.manifest import Caption, Manifest, Split, Video
from pipeline.datasets.published import Findings, some
from pipeline.datasets.video_files import SUFFIXES, videos_below
from pipeline.params import Data


def prepare(section: Data, seed: int) -> tuple[Manifest, Findings]:
    """The manifest of `section.videos` and `section.captions`; corpus: `section.corpus`, or training captions.

    Ids are names in one normal form, however the file system writes them. Raises SpectrumError for a caption of a
    file that is not there, a name that fits two files, a video with two splits, an unreadable row, no captions.
    """
    folder, findings = Path(section.videos), Findings()
    files, findings.files_passed_over = videos_below(folder)
    if not files:
        raise SpectrumError(f"{folder}: no videos there (looked for {', '.join(sorted(SUFFIXES))}); set data.videos")
    id_of = _ids(folder, files, findings)
    rows = list(read_captions(Path(section.captions)))
    if not rows:
        raise SpectrumError(f"{section.captions}: no captions there; expected a row video,caption for every video")
    names = _Names(folder, id_of)
    rows = [row._replace(video=names.id_of(row.position, row.video)) for row in rows]
    captions = [(row.position, Caption(row.video, row.caption)) for row in rows]
    split_of = _splits(section, seed, rows)
    path_of = {video: str(path) for path, video in id_of.items()}
    # In the order of their captions, then of their names.
    ordered = dict.fromkeys([*(caption.video_id for _, caption in captions), *path_of])
    videos = [(path_of[video], Video(video, path_of[video], split_of.get(video, "predict"))) for video in ordered]
    kinds: dict[str, Split] = {video.id: video.split for _, video in videos}
    corpus, findings.corpus_left_out = select_corpus(section, captions, kinds, names.find)
    return manifest.check(videos, captions, corpus), findings


def _ids(folder: Path, files: list[Path], findings: Findings) -> dict[Path, str]:
    """An id for every file: its path inside the folder, without the ending where that is unique.

    A file whose name can be no id (it is not UTF-8, or nothing but spaces) is left out and counted by name.
    """
    stems: dict[str, list[Path]] = {}
    for path in files:
        stem = clean(str(path.relative_to(folder).with_suffix("")))
        if stem and not has_lone_surrogates(stem):
            stems.setdefault(stem, []).append(path)
        else:
            findings.no_id_in_name.append(ascii(str(path)))
    ids: dict[Path, str] = {}
    for stem, paths in stems.items():
        for path in paths:
            ids[path] = stem if len(paths) == 1 else clean(str(path.relative_to(folder)))
        if len({ids[path] for path in paths}) < len(paths):
            raise SpectrumError(f"{some(map(str, paths))}: their names only differ in spaces or in how accents are "
                                "written, so they have the same id; rename all but one")
    return {path: ids[path] for path in files if path in ids}


class _Names:
    """What captions may call a video: its id, its path inside the folder, or that without the ending."""

    def __init__(self, folder: Path, id_of: Mapping[Path, str]) -> None:
        self._folder = folder
        self._exact: dict[str, set[str]] = {}
        self._stems: dict[str, set[str]] = {}
        for path, video in id_of.items():
            inside = path.relative_to(folder)
            for name in (video, clean(str(inside))):
                self._exact.setdefault(name, set()).add(video)
            self._stems.setdefault(clean(str(inside.with_suffix(""))), set()).add(video)

    def find(self, name: str) -> str | None:
        """The id behind a name; None where it fits no video, or several."""
        matches = self._matches(name)
        return next(iter(matches)) if len(matches) == 1 else None

    def _matches(self, name: str) -> set[str]:
        wanted = clean(name)
        return self._exact.get(wanted) or self._stems.get(wanted) or set()

    def id_of(self, position: str, name: str) -> str:
        """The id behind a name. Raises SpectrumError where it fits no video, or several."""
        matches = self._matches(name)
        if len(matches) == 1:
            return next(iter(matches))
        if matches:
            reason = f"it fits {len(matches)} files; write the ending too"
        elif (self._folder / name).exists():
            reason = ("it is there, but it is no video that is read: expected a visible file with one of the endings "
                      + ", ".join(sorted(SUFFIXES)))
        else:
            reason = "no such file there"
        raise SpectrumError(f"{position}: video {name!r} of folder {self._folder}: {reason}")


def _splits(section: Data, seed: int, rows: list[Row]) -> dict[str, Split]:
    given: dict[str, Split] = {}
    group_of: dict[str, str] = {}
    for row in rows:
        if row.split and row.split not in manifest.SPLITS:
            raise SpectrumError(f"{row.position}: split {row.split!r}; expected one of {', '.join(manifest.SPLITS)}")
        if row.split and given.setdefault(row.video, row.split) != row.split:
            raise SpectrumError(f"{row.position}: video {row.video!r} is of split {given[row.video]} and of "
                                f"{row.split}; give it one split")
        if row.group and group_of.setdefault(row.video, row.group) != row.group:
            raise SpectrumError(f"{row.position}: video {row.video!r} is of group {group_of[row.video]!r} and of "
                                f"{row.group!r}; give it one group")
    without = sorted({row.video for row in rows} - set(given))
    if without and given:
        raise SpectrumError(f"{section.captions}: video {without[0]!r} has no split but others do; give all or none")
    split_of: dict[str, str] = {}
    for video, group in group_of.items():
        if video in given and split_of.setdefault(group, given[video]) != given[video]:
            raise SpectrumError(f"{section.captions}: videos of group {group!r} are of split {split_of[group]} and of "
                                f"{given[video]}; a group keeps its videos together")
    return given or automatic_splits({video: group_of.get(video, video) for video in without}, seed,
                                     section.validation, section.test)


def automatic_splits(group_of: Mapping[str, str], seed: int, validation: float, test: float) -> dict[str, Split]:
    """A split for every video, by its group (its own id, where it has none) and the seed alone, so that new videos
    move no other.

    Only where so few groups leave validation or test empty, the one whose number lies nearest goes there: an empty
    split would end the graph at its evaluation.
    """
    number_of = {group: _number(seed, group) for group in sorted(set(group_of.values()))}
    splits: dict[str, Split] = {group: "test" if number < test else "validation" if number < test + validation
                                else "train" for group, number in number_of.items()}
    borders: tuple[tuple[Split, float, float], ...] = (("test", test, 0.0), ("validation", validation, test))
    for split, share, border in borders:
        training = [group for group, other in splits.items() if other == "train"]
        if share > 0 and split not in splits.values() and len(training) > 1:
            splits[min(training, key=lambda group: abs(number_of[group] - border))] = split
    return {video: splits[group] for video, group in group_of.items()}


def _number(seed: int, group: str) -> float:
    """A number of 0 … 1 that stands for a group of videos."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{group}".encode()).digest()[:8], "big") / 2**64
