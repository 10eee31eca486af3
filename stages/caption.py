"""Caption your own clips with the captioner that the graph trained.

    python -m stages.caption holiday.mp4 clips/*.mkv
    python -m stages.caption --json holiday.mp4 > captions.jsonl      # with all beams, emotions, attributes, candidates
    python -m stages.caption holiday.mp4 --set generation.num_beams=10
    python -m stages.caption --checkpoint models/sample/baseline holiday.mp4

Exit status: 0 every file has its caption, 1 some file could not be read (the others are captioned all the same).
"""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.common.errors import SpectrumError, print_error, readable_errors
from pipeline.common.terminal import printable
from pipeline.params import DEFAULT, load
from pipeline.params.paths import Paths
from stages.command import ParamsFile, run_command

if TYPE_CHECKING:
    from pipeline.captioner.clips import ClipCaptioner

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
        captioner = _load(overrides or [], params_file, folder)
        for path in files:
            try:
                caption, candidates = captioner.caption(path)
            except SpectrumError as error:
                print_error(error)
                failed += 1
                continue
            row = caption.as_json(candidates)
            print(json.dumps(row, ensure_ascii=False) if as_json else printable(_readable(row)), flush=True)
    sys.exit(failed > 0)


def _load(overrides: list[str], params_file: Path, folder: Path | None) -> "ClipCaptioner":
    from pipeline.captioner import checkpoint
    from pipeline.captioner.clips import ClipCaptioner
    from pipeline.common.device import torch_device
    from pipeline.emotion.clip_prior import ClipPrior
    from pipeline.emotion.emotion_file import Emotions
    from pipeline.emotion.estimators import Estimators
    from pipeline.encoders import appearance, audio, motion
    from pipeline.encoders.base import imported_encoder_error
    from pipeline.retrieval.index import model_id, open_index

    params = load(overrides, params_file)
    paths, device = Paths.of(params), torch_device(params.machine.device)
    if params.encoders.appearance.features:
        raise imported_encoder_error("appearance")
    trained = checkpoint.load(folder or paths.captioner, device)
    frames = appearance.load(params.encoders.appearance, paths.encoder, str(device))
    if frames.recipe["untrained"]:
        print("warning: the picture encoder has untrained weights; the captions mean nothing", file=sys.stderr)
    index = open_index(paths.index, model_id(frames.recipe))
    emotions = ClipPrior(Estimators(params.emotion, index, frames.encode_texts, str(device)),
                         Emotions.read(paths.emotion).prior)
    encoders = {"appearance": frames, "audio": audio.load(params.encoders.audio, str(device)),
                "motion": motion.load(params.encoders.motion, str(device))}
    return ClipCaptioner(trained, encoders, index, emotions, params)


def _readable(row: dict[str, list[dict[str, str | float]]]) -> str:
    """The caption, and under it the strongest of what led to it."""
    def line(title: str, key: str, what: str, number: str) -> str:
        return f"  {title:<11}" + ", ".join(f"{entry[what]} {entry[number]:.2f}" for entry in row[key][:SHOWN])

    return "\n".join([f"{row['video_id']}: {row['caption']}",
                      line("emotions", "emotions", "category", "probability"),
                      line("attributes", "attributes", "word", "probability"),
                      line("candidates", "candidates", "text", "score")])


if __name__ == "__main__":
    run_command(main, __doc__)
