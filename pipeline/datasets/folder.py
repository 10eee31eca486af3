"""Your own videos: a folder of files, and a file of captions (captions_file.py).

A row of captions names a video by its path inside the folder, with or without the ending. Where no split is given
the videos that have captions are dealt out by a seeded hash of their names. Every other video of the folder goes to
`predict`: it is captioned and shown, never trained on or scored.
"""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from pipeline.common.errors import SpectrumError
from pipeline.common.text import clean, has_lone_surrogates
from pipeline.datasets import manifest
from pipeline.datasets.captions_file import read_captions
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
    captions = [(position, Caption(names.id_of(position, name), text)) for position, name, text, _ in rows]
    split_of = _splits(section, seed, [(position, caption.video_id, row[3])
                                       for (position, caption), row in zip(captions, rows, strict=True)])
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
            raise SpectrumError(f"{some(map(str, paths))}: their names differ in spaces or in how accents are written, "
                                "and make one id; rename all but one")
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


def _splits(section: Data, seed: int, rows: list[tuple[str, str, str]]) -> dict[str, Split]:
    given: dict[str, Split] = {}
    for position, video, split in rows:
        if split and split not in manifest.SPLITS:
            raise SpectrumError(f"{position}: split {split!r}; expected one of {', '.join(manifest.SPLITS)}")
        if split and given.setdefault(video, split) != split:
            raise SpectrumError(f"{position}: video {video!r} is of split {given[video]} and of {split}")
    without = sorted({video for _, video, _ in rows} - set(given))
    if without and given:
        raise SpectrumError(f"{section.captions}: video {without[0]!r} has no split but others do; give all or none")
    return given or automatic_splits(without, seed, section.validation, section.test)


def automatic_splits(videos: Iterable[str], seed: int, validation: float, test: float) -> dict[str, Split]:
    """A split for every video, by its own id and the seed alone, so that new videos move no other.

    Only where so few videos leave validation or test empty, the one whose number lies nearest goes there: an empty
    split would end the graph at its evaluation.
    """
    number_of = {video: _number(seed, video) for video in videos}
    splits: dict[str, Split] = {video: "test" if number < test else "validation" if number < test + validation
                                else "train" for video, number in number_of.items()}
    borders: tuple[tuple[Split, float, float], ...] = (("test", test, 0.0), ("validation", validation, test))
    for split, share, border in borders:
        training = [video for video, other in splits.items() if other == "train"]
        if share > 0 and split not in splits.values() and len(training) > 1:
            splits[min(training, key=lambda video: abs(number_of[video] - border))] = split
    return splits


def _number(seed: int, video: str) -> float:
    """A number of 0 … 1 that stands for the video."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{video}".encode()).digest()[:8], "big") / 2**64
