"""Which files below a folder are videos, and what they are called."""

import os
from pathlib import Path

SUFFIXES = frozenset((
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".wmv", ".asf", ".flv", ".ts", ".mts", ".m2ts",
    ".vob", ".3gp", ".ogv", ".gif"))


def files_below(folder: Path) -> list[Path]:
    """Every file below a folder, sorted, links to folders followed (once each); none where it does not exist."""
    files: list[Path] = []
    seen: set[str] = set()
    for where, folders, names in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(where)) in seen:
            folders.clear()
            continue
        seen.add(real)
        files += [Path(where, name) for name in names]
    return sorted(files)


def videos_below(folder: Path) -> tuple[list[Path], int]:
    """The video files below a folder, sorted, and how many hidden ones were passed over.

    Hidden: what other systems and programs leave beside a video (`._a.mp4`, `.ipynb_checkpoints/a.mp4`).
    """
    files = [path for path in files_below(folder) if path.suffix.lower() in SUFFIXES and path.is_file()]
    shown = [path for path in files if not any(part.startswith(".") for part in path.relative_to(folder).parts)]
    return shown, len(files) - len(shown)
