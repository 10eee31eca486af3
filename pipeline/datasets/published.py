"""What the adapters of published data sets share: finding the owners' files, checking them against what was
published, finding the videos' files, and listing all that is missing together.

An adapter reads its files into `Annotations`; `build` makes the manifest of them. Policy: what would change a
published number is an error (another set or number of videos or captions, a video without a file), unless the
parameters allow it, and then it is counted among the findings; what changes none is counted.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.common.errors import SpectrumError
from pipeline.common.text import clean
from pipeline.datasets import manifest
from pipeline.datasets.corpus import select_corpus
from pipeline.datasets.manifest import Caption, Manifest, Split, Video
from pipeline.datasets.video_files import videos_below
from pipeline.params import Data

LEARNT: tuple[Split, ...] = ("train", "validation", "test")
_SHOWN = 5      # ids or names that a message shows of many


@dataclass
class Findings:
    """What was found beside the videos and captions themselves; empty and zero entries are not listed."""

    empty_captions: int = 0                 # left out
    lines_not_utf8: int = 0                 # read as Windows-1252
    dropped_from_training: dict[str, str] = field(default_factory=dict)         # video → why
    left_out_videos: dict[str, int] = field(default_factory=dict)               # by split: no file
    videos_without_file: dict[str, int] = field(default_factory=dict)           # by split: kept, features imported
    files_of_no_video: int = 0
    files_passed_over: int = 0              # hidden ones
    corpus_left_out: int = 0                # captions of videos of validation, test and predict in another corpus
    no_id_in_name: list[str] = field(default_factory=list)                      # files left out
    not_as_published: list[str] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if value}


@dataclass
class Annotations:
    """A data set as its owners' files describe it. `position`: of a row, file and line or list and number."""

    title: str
    videos: dict[str, tuple[str, Split]] = field(default_factory=dict)          # id → position, split
    captions: list[tuple[str, Caption]] = field(default_factory=list)           # position, caption
    names: dict[str, str] = field(default_factory=dict)                         # id → what its video is called
    keys: dict[str, str] = field(default_factory=dict)                          # id → key in features of others
    findings: Findings = field(default_factory=Findings)

    def add_video(self, position: str, video: str, split: Split) -> None:
        first, other = self.videos.setdefault(video, (position, split))
        if other != split:
            raise SpectrumError(f"{position}: video {video!r} is of split {split}, but of {other} in {first}; "
                                "get the file again from its owners")

    def add_caption(self, position: str, video: str, text: str) -> None:
        if clean(text):
            self.captions.append((position, Caption(video, text)))
        else:
            self.findings.empty_captions += 1

    def of(self, split: Split) -> list[str]:
        return [video for video, (_, other) in self.videos.items() if other == split]


class Checklist:
    """What a data set needs, file by file; `enforce` ends with all of it, marked, if anything is missing."""

    def __init__(self, title: str, section: Data, videos: int) -> None:
        """`videos`: how many there should be."""
        self._title, self._section, self._videos = title, section, videos
        self._lines: list[tuple[bool, str]] = []

    def file(self, below: Collection[Path], names: Sequence[str], what: str, where: str, *,
             needed: bool = True) -> Path | None:
        """The one file among `below` that has the first of the names (patterns, `a*.txt`) which any file has.

        `where` names the parameter to mend; two such files are as bad as none.
        """
        of_name = ([path for path in below if path.match(name)] for name in names)
        matches = next((paths for paths in of_name if paths), [])
        status = (str(matches[0]) if len(matches) == 1 else f"not below {where}" if not matches
                  else f"{len(matches)} of them: {some(map(str, matches))}; keep one")
        if needed or matches:
            self.add(len(matches) == 1, f"{' or '.join(names)} ({what}): {status}")
        return matches[0] if len(matches) == 1 else None

    def add(self, exists: bool, line: str) -> None:
        self._lines.append((exists, line))

    def enforce_annotations(self) -> None:
        """Before the annotations are read: which videos are wanted is not known, but how many there are is."""
        if all(exists for exists, _ in self._lines):
            return
        if self._section.missing_videos != "keep":
            present = len(videos_below(Path(self._section.videos))[0])
            self.add(present >= self._videos, f"videos: {present} of {self._videos} files below data.videos "
                                             f"({self._section.videos})")
        self.enforce()

    def enforce(self) -> None:
        if not all(exists for exists, _ in self._lines):
            marked = [f"  {'✓' if exists else '✗'} {line}" for exists, line in self._lines]
            raise SpectrumError("\n".join([f"{self._title} is not complete:", *marked,
                                           "docs/datasets.md lists where to get each and how to lay it out"]))


def build(section: Data, annotations: Annotations, checklist: Checklist) -> tuple[Manifest, Findings]:
    """The manifest of annotations whose published counts were checked.

    Raises SpectrumError with the checklist for videos without files (`data.missing_videos` allows them), for a
    split that is left without videos, and for all that `manifest.check` refuses.
    """
    findings = annotations.findings
    path_of = _paths(section, annotations, checklist)
    videos = [(position, Video(video, path_of.get(video, ""), split, _names(annotations, video)))
              for video, (position, split) in annotations.videos.items()]
    without = Counter[str](video.split for _, video in videos if not video.path)
    if section.missing_videos == "leave_out":
        findings.left_out_videos = dict(without)
        videos = [(position, video) for position, video in videos if video.path]
        _refuse_empty_splits(annotations, {video.split for _, video in videos})
    elif section.missing_videos == "keep":
        findings.videos_without_file = dict(without)
    kept = {video.id for _, video in videos}
    captions = [(position, caption) for position, caption in annotations.captions
                if caption.video_id in kept or caption.video_id not in annotations.videos]
    split_of: dict[str, Split] = {video: split for video, (_, split) in annotations.videos.items()}
    corpus, findings.corpus_left_out = select_corpus(section, annotations.captions, split_of)
    return manifest.check(videos, captions, corpus), findings


def check_published(section: Data, annotations: Annotations, differences: list[str]) -> None:
    """Raises SpectrumError if there are differences to what was published, or notes them where they are allowed."""
    if differences and section.published_counts:
        raise SpectrumError("\n".join([
            f"{annotations.title} in {section.captions} is not as published:", *(f"  ✗ {line}" for line in differences),
            "get the files again from their owners; or set data.published_counts=false, and compare no result with "
            "a published one"]))
    annotations.findings.not_as_published += differences


def difference(part: str, what: str, actual: Collection[str], published: Collection[str]) -> list[str]:
    """At most one line: how the ids differ from the published ones."""
    known, expected = set(actual), set(published)
    missing = [video for video in published if video not in known]
    unknown = [video for video in actual if video not in expected]
    parts = [f"{title}: {some(ids)}" for title, ids in (("missing", missing), ("not among the published", unknown))
             if ids]
    return [f"{part}: {len(actual)} {what}, published {len(published)} ({'; '.join(parts)})"] if parts else []


def caption_differences(annotations: Annotations, published: Mapping[Split, int]) -> list[str]:
    counts = Counter(annotations.videos[caption.video_id][1] for _, caption in annotations.captions
                     if caption.video_id in annotations.videos)
    return [f"{split}: {counts[split]} captions, published {published[split]}"
            for split in published if counts[split] != published[split]]


def some(items: Iterable[str]) -> str:
    """A few of many, for a message."""
    listed = list(items)
    more = f" and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return ", ".join(listed[:_SHOWN]) + more


def read(path: Path) -> bytes:
    """A whole file. Raises SpectrumError where it cannot be read: a link to nowhere, no permission, a broken disk."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise SpectrumError(f"{path}: it cannot be read ({error.strerror}); mend the link or its permissions, or get "
                            "it again") from None


def lines(path: Path, findings: Findings) -> Iterator[tuple[str, str]]:
    """(file and line, text) of every line that is not blank, without its ending (LF or CRLF) and the file's mark.

    A line that is not UTF-8 is read as Windows-1252 and counted.
    """
    for number, raw in enumerate(read(path).removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        try:
            line = raw.decode("utf-8")
        except UnicodeDecodeError:
            line = raw.decode("cp1252", errors="replace")
            findings.lines_not_utf8 += 1
        if line.strip():
            yield f"{path}, line {number}", line.removesuffix("\r")


def _paths(section: Data, annotations: Annotations, checklist: Checklist) -> dict[str, str]:
    """The file of every video that has one, found anywhere below `data.videos` by the video's id or other name."""
    of_stem: dict[str, list[Path]] = {}
    files, annotations.findings.files_passed_over = videos_below(Path(section.videos))
    for path in files:
        of_stem.setdefault(clean(path.stem), []).append(path)
    files_of = {video: [path for name in _called(annotations, video) for path in of_stem.pop(clean(name), ())]
             for video in annotations.videos}
    annotations.findings.files_of_no_video = sum(map(len, of_stem.values()))
    for video, paths in files_of.items():
        if len(paths) > 1:
            raise SpectrumError(f"video {video!r} has {len(paths)} files: {some(map(str, paths))}; keep one of them "
                                f"in data.videos ({section.videos})")
    missing = [video for video, paths in files_of.items() if not paths]
    if section.missing_videos == "error":
        examples = some(" or ".join(_called(annotations, video)) for video in missing)
        advice = (f"; missing: {examples}. Name them so, or set data.missing_videos to leave_out (use those that are "
                  "there) or keep (their features are imported)") if missing else ""
        checklist.add(not missing, f"videos: {len(files_of) - len(missing)} of {len(files_of)} below data.videos "
                                    f"({section.videos}){advice}")
        checklist.enforce()
    return {video: str(paths[0]) for video, paths in files_of.items() if paths}


def _called(annotations: Annotations, video: str) -> tuple[str, ...]:
    """What the file of a video may be called, its ending aside."""
    return (video, annotations.names[video]) if video in annotations.names else (video,)


def _names(annotations: Annotations, video: str) -> tuple[str, ...]:
    return tuple(names[video] for names in (annotations.names, annotations.keys) if video in names)


def _refuse_empty_splits(annotations: Annotations, left: set[Split]) -> None:
    empty = [f"{split} (0 of {len(annotations.of(split))})" for split in LEARNT if split not in left]
    if empty:
        raise SpectrumError(
            f"{annotations.title}: data.missing_videos=leave_out leaves no video of {', '.join(empty)}; training "
            "needs some of each. Get more of the videos, or give those you have a captions file of their own "
            "(data.kind=folder), or caption them with a trained model (python -m stages.caption)")
