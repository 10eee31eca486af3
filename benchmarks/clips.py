"""Which videos of a folder a benchmark takes."""

from contextlib import suppress
from pathlib import Path

import typer

from pipeline.media.decoder import MediaError, VideoDecoder


def evenly(folder: Path, count: int) -> list[Path]:
    """At most `count` videos that can be read, evenly from the folder in the order of their names."""
    files = sorted(path.resolve() for path in folder.iterdir() if path.is_file())
    some = min(count, len(files))
    found = []
    with VideoDecoder(30) as decoder:
        for number in range(some):
            path = files[number * len(files) // some]
            with suppress(MediaError):
                decoder.probe(path)
                found.append(path)
    if not found:
        raise typer.BadParameter(f"{folder} has no video that can be read")
    return found
