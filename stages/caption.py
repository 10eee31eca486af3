"""Caption your own clips with the captioner that the graph trained.

    python -m stages.caption holiday.mp4 clips/*.mkv
    python -m stages.caption --json holiday.mp4 > captions.jsonl      # with all beams, emotions, attributes, candidates
    python -m stages.caption holiday.mp4 --set decoding.beam=10
    python -m stages.caption --checkpoint models/sample/baseline holiday.mp4

Exit status: 0 every file has its caption, 1 some file could not be read (the others are captioned all the same).
"""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.captioner import checkpoint
from pipeline.captioner.clips import OwnClips
from pipeline.common.device import device
from pipeline.common.errors import SpectrumError, print_error, readable_errors
from pipeline.emotion.emotion_file import Emotions
from pipeline.emotion.estimators import Estimators
from pipeline.encoders import appearance, audio, motion
from pipeline.encoders.base import imported_encoder_error
from pipeline.params import DEFAULT, load
from pipeline.params.paths import Paths
from pipeline.retrieval import index
from stages.command import ParamsFile, teach

SHOWN = 5       # emotions, attributes and candidates that are printed without --json


def main(
    files: Annotated[list[Path], typer.Argument(help="video files")],
    as_json: Annotated[bool, typer.Option("--json", help="a line of JSON a file")] = False,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="change a parameter")] = None,
    folder: Annotated[Path | None, typer.Option(
        "--checkpoint", metavar="FOLDER", help="the captioner; without it, the graph's own")] = None,
    params_file: ParamsFile = DEFAULT,
) -> None:
    failed = 0
    with readable_errors():
        clips = _open(overrides or [], params_file, folder)
        for path in files:
            try:
                caption, candidates = clips.caption(path)
            except SpectrumError as error:
                print_error(error)
                failed += 1
                continue
            found = caption.as_json(candidates)
            print(json.dumps(found, ensure_ascii=False) if as_json else _told(found), flush=True)
    sys.exit(failed > 0)


def _open(overrides: list[str], params_file: Path, folder: Path | None) -> OwnClips:
    params = load(overrides, params_file)
    paths = Paths.of(params)
    where = device(params.device)
    if params.encoders.appearance.features:
        raise imported_encoder_error("appearance")
    trained = checkpoint.load(folder or paths.captioner, where)
    pictures = appearance.load(params.encoders.appearance, paths.encoder, str(where))
    if pictures.recipe["untrained"]:
        print("warning: the picture encoder has untrained weights; the captions mean nothing", file=sys.stderr)
    captions = index.open_index(paths.index, index.model_id(pictures.recipe))
    temperatures = Emotions.read_temperatures(paths.emotion) if params.emotion.calibrate else {}
    emotions = Estimators(params.emotion, captions, pictures.encode_texts, str(where)).with_temperatures(temperatures)
    sound = audio.load(params.encoders.audio, str(where))
    windows = motion.load(params.encoders.motion, str(where))
    return OwnClips(trained, pictures, sound, windows, captions, emotions, params)


def _told(found: dict[str, list[dict[str, str | float]]]) -> str:
    """The caption, and under it the strongest of what led to it."""
    def line(title: str, key: str, what: str, number: str) -> str:
        return f"  {title:<11}" + ", ".join(f"{one[what]} {one[number]:.2f}" for one in found[key][:SHOWN])

    return "\n".join([f"{found['video_id']}: {found['caption']}",
                      line("emotions", "emotions", "category", "probability"),
                      line("attributes", "attributes", "word", "probability"),
                      line("candidates", "candidates", "text", "score")])


if __name__ == "__main__":
    teach(main, __doc__)
