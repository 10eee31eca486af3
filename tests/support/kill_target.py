"""An extraction in a process of its own, to be killed: python kill_target.py CLIPS STORE

A real encoder of sound; small batches and parts saved as often as can be, so that there are many moments.
"""

import sys
from pathlib import Path
from typing import Any

from pipeline.common.errors import readable_errors
from pipeline.encoders import audio
from pipeline.encoders.base import Encoder
from pipeline.extraction.run import extract
from pipeline.params import AudioEncoder, Cluster, Extraction, Machine

SECTION = Extraction(num_shards=4)
MACHINE = Machine(decoder_processes=1, decoding_timeout=30, save_interval=0)


def encoder_section() -> AudioEncoder:
    return AudioEncoder(name="sound", kind="logmel", num_windows=3, window_seconds=0.2, batch_size=4)


def encoder() -> Encoder:
    return audio.LogMelEncoder(encoder_section())


def videos(folder: Path) -> list[tuple[str, Path]]:
    return [(path.stem, path) for path in sorted(folder.iterdir())]


def run(clips: Path, store: Path, section: Extraction = SECTION) -> dict[str, Any]:
    return extract(videos(clips), encoder, store, section, MACHINE, Cluster())


if __name__ == "__main__":
    with readable_errors():
        print(run(Path(sys.argv[1]), Path(sys.argv[2])))
