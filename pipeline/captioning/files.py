"""The videos that a command line names: files, folders, lists and patterns, checked before anything is loaded."""

import glob
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.common.errors import SpectrumError
from pipeline.datasets.video_files import videos_below
from pipeline.encoders.base import imported_encoder_error
from pipeline.media import Probe
from pipeline.media.decoder import MediaError, VideoDecoder
from pipeline.params import Params

_PATTERN = frozenset("*?[")


@dataclass(frozen=True)
class OwnVideo:
    path: Path
    probe: Probe


def refuse_imported_frames(params: Params) -> None:
    """Raises SpectrumError where there is no model that could encode a file's frames."""
    if params.encoders.appearance.features:
        raise imported_encoder_error("appearance")


def find_videos(names: Sequence[str], lists: Sequence[Path] = ()) -> tuple[list[Path], list[SpectrumError]]:
    """Paths in the order of `names` (files, folders, patterns, @lists) and then of `lists`, each once; and problems.

    A list has a path a line, as seen from the folder where you are; blank lines and those that begin with # do not
    count. A folder stands for the videos below it.
    """
    found: dict[Path, None] = {}
    problems: list[SpectrumError] = []
    for name in [*names, *(f"@{path}" for path in lists)]:
        try:
            found.update(dict.fromkeys(_expand(name)))
        except SpectrumError as error:
            problems.append(error)
    return list(found), problems


def _expand(name: str) -> list[Path]:
    path = Path(name)
    if path.is_dir():
        videos, _ = videos_below(path)
        if not videos:
            raise SpectrumError(f"{path}: there is no video in this folder or below it; name a file, or another folder")
        return videos
    if path.exists():
        return [path]
    if name.startswith("@"):
        return [own for line in _read_list(Path(name[1:])) for own in _expand(line)]
    if _PATTERN & set(name):
        matches = sorted(glob.glob(name, recursive=True))  # noqa: PTH207  (a pathlib pattern cannot be absolute)
        if not matches:
            raise SpectrumError(f"{name}: no file has a name that fits this pattern; name other files")
        return [own for match in matches for own in _expand(match)]
    raise SpectrumError(f"{path}: no such file; name a video, a folder, a pattern or an @list")


def _read_list(path: Path) -> list[str]:
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="surrogateescape").split("\n")
    except OSError as error:
        raise SpectrumError(f"{path}: this list of videos cannot be read ({error.strerror}); mend its "
                            "permissions") from None
    named = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    if nested := [line for line in named if line.startswith("@") and not Path(line).exists()]:
        raise SpectrumError(f"{path}: {nested[0]}: a list cannot name other lists; write the paths of videos there")
    return named


def check_videos(paths: Sequence[Path], decoder: VideoDecoder,
                 advance: Callable[[], None]) -> tuple[list[OwnVideo], list[SpectrumError]]:
    """Those of which a frame can be decoded, and why the others are left out."""
    videos: list[OwnVideo] = []
    problems: list[SpectrumError] = []
    for path in paths:
        try:
            videos.append(OwnVideo(path, decoder.probe(path)))
        except MediaError as error:
            problems.append(error)
        advance()
    return videos, problems
