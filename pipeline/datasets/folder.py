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
    captions = [(position, Caption(_resolve(position, name, id_of, folder), text)) for position, name, text, _ in rows]
    split_of = _splits(section, seed, [(position, caption.video_id, row[3])
                                       for (position, caption), row in zip(captions, rows, strict=True)])
    videos = [(str(path), Video(video, str(path), split_of.get(video, "predict"))) for path, video in id_of.items()]
    corpus = ([(position, caption) for position, caption in captions if split_of[caption.video_id] == "train"]
              if Path(section.corpus) == Path(section.captions)
              else [(position, Caption(name, text))
                    for position, name, text, _ in read_captions(Path(section.corpus))])
    return manifest.check(videos, captions, corpus), findings


def dealt(videos: Iterable[str], seed: int) -> list[str]:
    """Videos in an order that only their names and the seed decide."""
    return sorted(videos, key=lambda video: hashlib.sha256(f"{seed}:{video}".encode()).hexdigest())


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


def _resolve(position: str, name: str, id_of: Mapping[Path, str], folder: Path) -> str:
    wanted = clean(name)
    matches = [video for path, video in id_of.items()
               if wanted in (video, clean(str(path.relative_to(folder))))]
    if not matches:
        matches = [video for path, video in id_of.items()
                   if clean(str(path.relative_to(folder).with_suffix(""))) == wanted]
    if len(matches) == 1:
        return matches[0]
    if matches:
        reason = f"it fits {len(matches)} files; write the ending too"
    elif (folder / name).exists():
        reason = ("it is there, but it is no video that is read: expected a visible file with one of the endings "
                  + ", ".join(sorted(SUFFIXES)))
    else:
        reason = "no such file there"
    raise SpectrumError(f"{position}: video {name!r} of folder {folder}: {reason}")


def _splits(section: Data, seed: int, rows: list[tuple[str, str, str]]) -> dict[str, Split]:
    given: dict[str, Split] = {}
    for position, video, split in rows:
        if split and split not in manifest.SPLITS:
            raise SpectrumError(f"{position}: split {split!r}; expected one of {', '.join(manifest.SPLITS)}")
        if split and given.setdefault(video, split) != split:
            raise SpectrumError(f"{position}: video {video!r} is of split {given[video]} and of {split}")
    without = dealt({video for _, video, _ in rows} - set(given), seed)
    if without and given:
        raise SpectrumError(f"{section.captions}: video {without[0]!r} has no split but others do; give all or none")
    # Even a handful of videos gives each split one: an empty split would end the graph at its evaluation.
    test, validation = (max(round(share * len(without)), share > 0 and len(without) > 2)
                        for share in (section.test, section.validation))
    for i, video in enumerate(without):
        given[video] = "test" if i < test else "validation" if i < test + validation else "train"
    return given
