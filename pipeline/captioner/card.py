"""The model card beside a checkpoint: README.md, made of captioner.json and of what it was trained on."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from pipeline.captioner.checkpoint import DESCRIPTION
from pipeline.captioner.trained import Epoch
from pipeline.captioner.training import seeds
from pipeline.common.files import read_json, write_text

NAME = "README.md"

_SCORES = {"validation_cider": "CIDEr", "validation_cfs": "CFS"}


@dataclass(frozen=True)
class TrainingFacts:
    """What the training was made of."""

    training_videos: int
    training_captions: int
    validation_videos: int
    seeds: dict[int, Epoch]         # every seed's kept epoch
    untrained: bool                 # whether the picture encoder has random weights
    parameters: int


def write(folder: Path, facts: TrainingFacts) -> None:
    """Put the card beside the checkpoint in `folder`."""
    described = read_json(folder / DESCRIPTION)
    write_text(folder / NAME, render(folder.name, described, facts))


def render(name: str, described: dict[str, Any], facts: TrainingFacts) -> str:
    environment = Environment(loader=FileSystemLoader(Path(__file__).parent), undefined=StrictUndefined,
                              trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False)
    spreads = {title: seeds.format_spread(seeds.spread([best[key] for best in facts.seeds.values()]))
               for key, title in _SCORES.items()}
    return environment.get_template("card.md.j2").render(
        name=name, **described, facts=asdict(facts), scores=_SCORES, spreads=spreads, torch=torch.__version__)
