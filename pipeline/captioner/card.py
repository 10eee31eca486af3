"""The model card beside a checkpoint: README.md, made of captioner.json and of what the training saw."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.captioner.checkpoint import DESCRIPTION
from pipeline.captioner.training import seeds
from pipeline.captioner.training.trainer import Epoch
from pipeline.common.files import read_json, write_text

NAME = "README.md"

_SCORES = {"validation_cider": "CIDEr", "validation_cfs": "CFS"}


@dataclass(frozen=True)
class Seen:
    """What the training was made of."""

    training_videos: int
    training_captions: int
    validation_videos: int
    seeds: dict[int, Epoch]         # every seed's kept epoch
    untrained: bool                 # whether the picture encoder has random weights
    parameters: int


def write(folder: Path, seen: Seen) -> None:
    """Put the card beside the checkpoint in `folder`."""
    described = read_json(folder / DESCRIPTION)
    write_text(folder / NAME, render(folder.name, described, seen))


def render(name: str, described: dict[str, Any], seen: Seen) -> str:
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False)
    spreads = {title: seeds.told(seeds.spread([best[key] for best in seen.seeds.values()]))
               for key, title in _SCORES.items()}
    return environment.get_template("card.md.j2").render(
        name=name, **described, seen=asdict(seen), scores=_SCORES, spreads=spreads, torch=torch.__version__)
