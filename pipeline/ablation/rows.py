"""The paper's ablation: seven rows, several seeds each, every row with the same budget.

    results = train_rows(params.captioner, params.training, params.generation, data, taxonomy, range(3), device, folder)
    found = compare(results, metrics)       # JSON; `markdown(found)` is the table beside the paper's own

A row and seed that is done lies in `folder` as a file of its own with the captions of the test videos, so that a run
that was killed goes on; a file of another fingerprint (other settings, features or code) is made again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import torch

from pipeline import params
from pipeline.captioner.attributes import AttributeList
from pipeline.captioner.generation import beam_search as beam
from pipeline.captioner.inputs import Inputs
from pipeline.captioner.training.attribute_matching import Match
from pipeline.captioner.training.seeds import Spread, spread
from pipeline.captioner.training.state import fingerprint_of
from pipeline.captioner.training.trainer import Epoch, Tick, fingerprint, train
from pipeline.common.files import read_json, write_json
from pipeline.emotion.taxonomy import Taxonomy

# What a row's scores are called here: their part and name in metrics.json.
SCORES = {"B-4": ("coco", "Bleu_4"), "M": ("coco", "METEOR"), "R-L": ("coco", "ROUGE_L"), "C": ("coco", "CIDEr"),
          "Acc_sw": ("emotion", "acc_sw"), "Acc_c": ("emotion", "acc_c"), "BFS": ("emotion", "bfs"),
          "CFS": ("emotion", "cfs"), "balanced": ("emotion", "balanced_accuracy")}
PAPER_SCORES = tuple(SCORES)[:-1]
PAPER_SET = "EmVidCap, 516 test videos, CLIP ViT-B/32"


Rerank = Callable[[list[beam.Caption]], list[beam.Caption]]


@dataclass(frozen=True)
class Row:
    """`left_out`: modalities that the row does without; `paper`: the authors' scores x 100, as PAPER_SCORES."""

    name: str
    paper: tuple[float, ...]
    left_out: tuple[str, ...] = ()
    off: tuple[str, ...] = ()

    def of(self, section: params.Captioner) -> params.Captioner:
        """`section` as this row has it; its `memory` follows its modalities."""
        modalities = [name for name in section.modalities if name not in self.left_out]
        return params.Captioner.model_validate(
            section.model_dump() | dict.fromkeys(self.off, False) | {"modalities": modalities})


FULL = Row("full", (32.9, 24.1, 50.9, 47.8, 79.6, 78.7, 53.7, 54.1))
BASELINE = Row("baseline", (26.6, 20.7, 46.5, 40.5, 59.3, 57.7, 44.5, 44.1), off=("vtai", "cfb", "aeb"))
ROWS = (
    FULL,
    Row("CFB only", (30.8, 23.0, 48.9, 45.7, 73.8, 71.5, 49.4, 51.1), off=("aeb",)),
    Row("AEB only", (29.4, 22.3, 48.1, 43.1, 64.9, 64.1, 47.5, 47.4), off=("cfb",)),
    Row("no text", (30.6, 22.7, 48.9, 43.7, 66.4, 63.9, 48.6, 48.0), left_out=("text",)),
    Row("no audio", (31.4, 23.3, 49.7, 44.8, 68.8, 66.2, 49.6, 49.3), left_out=("audio",)),
    Row("visual only", (28.8, 22.5, 48.3, 42.8, 63.1, 61.9, 46.9, 46.7), left_out=("text", "audio")),
    BASELINE,
)


@dataclass(frozen=True)
class Data:
    """The splits with every modality there is, and the captions of all their videos."""

    train: Inputs
    validation: Inputs
    test: Inputs
    captions: Mapping[str, Sequence[str]]


@dataclass(frozen=True)
class Result:
    row: str
    seed: int
    fingerprint: str
    same_as: str                # a row before it that is the same model on this data set; empty: none is
    parameters: int
    best: Epoch
    captions: dict[str, str]    # of the test videos

    @property
    def name(self) -> str:
        return f"{self.row}, seed {self.seed}"


@dataclass
class _Work:
    """The arguments that all rows and seeds share."""

    section: params.Captioner
    training: params.Training
    decoding: params.Generation
    data: Data
    taxonomy: Taxonomy
    device: torch.device
    folder: Path
    match: Match
    log: Callable[[str, Epoch], None]
    tick: Tick
    rerank: Rerank
    done: list[Result] = field(default_factory=list)

    def settings(self, row: Row) -> params.Captioner:
        """The row's settings without modalities that the data set lacks, so that equal models are seen as such."""
        there = {name for name, modality in self.data.train.modalities.items() if modality.mask.any()}
        absent = tuple(name for name in self.section.modalities if name not in there)
        return Row("", (), (*row.left_out, *absent), row.off).of(self.section)

    def result(self, row: Row, seed: int) -> Result:
        path = self.folder / f"{row.name.replace(' ', '-')}-seed-{seed}.json"
        section, data = self.settings(row), self.data
        arguments = (section, self.training, self.decoding, data.train, data.captions, data.validation, data.captions,
                     self.taxonomy, seed, self.device)
        mark = fingerprint_of({"training": fingerprint(*arguments)}, (data.test,))
        found = self._known(path, row, mark)
        if found is None:
            state = path.with_name(f".{path.stem}.safetensors")
            trained = train(*arguments, log=lambda epoch: self.log(row.name, epoch), tick=self.tick, state=state,
                            match=self.match)
            told = beam.caption(trained.model, trained.vocabulary, trained.attributes, data.test, self.decoding)
            if "text" in section.modalities:
                told = self.rerank(told)
            found = Result(row.name, seed, mark, "", sum(p.numel() for p in trained.model.parameters()), trained.best,
                           {caption.video_id: caption.text for caption in told})
            write_json(path, vars(found))
            state.unlink(missing_ok=True)
        else:
            write_json(path, vars(found))
            self.log(row.name, found.best)
            self.tick(self.training.all_epochs, False)
        self.done.append(found)
        return found

    def _known(self, path: Path, row: Row, mark: str) -> Result | None:
        """The result in the row's file, or that of an earlier row which is the same model here."""
        for earlier in self.done:
            if earlier.fingerprint == mark:
                return Result(**{**vars(earlier), "row": row.name, "same_as": earlier.same_as or earlier.row})
        if path.is_file():
            told = read_json(path)
            if isinstance(told, dict) and told.get("fingerprint") == mark:
                return Result(**told)
        return None


def train_rows(section: params.Captioner, settings: params.Training, decoding: params.Generation, data: Data,
               taxonomy: Taxonomy, seeds: Sequence[int], device: torch.device, folder: Path,
               log: Callable[[str, Epoch], None] = lambda *_: None, tick: Tick = lambda *_: None,
               rerank: Rerank = lambda captions: captions, match: Match = AttributeList.targets,
               rows: Sequence[Row] = ROWS) -> list[Result]:
    """Each of `rows` with every seed, seed by seed, so that a run cut short holds whole rows of some seeds.

    `log` gets the row's name and each epoch's record, of a result that was there already the kept epoch's alone;
    `tick` what of the epochs is done, as `train`'s.
    `rerank` may choose anew among the beams of the rows that have the retrieved captions.
    """
    work = _Work(section, settings, decoding, data, taxonomy, device, folder, match, log, tick, rerank)
    return [work.result(row, seed) for seed in seeds for row in rows]


def compare(results: Sequence[Result], blocks: Mapping[str, Mapping[str, Mapping[str, float | None]]],
            ) -> dict[str, Any]:
    """Scores of every row over its seeds, how far it is below the full model, and how the rows are ordered.

    `results` hold every row with the same seeds, the full model among them; `blocks` are the scores of every result
    by its name, as in metrics.json: {part: {metric: score}}.
    """
    of = {row: [result for result in results if result.row == row.name] for row in ROWS}
    rows = [_row(row, found, blocks) for row, found in of.items() if found]
    full = _values([result for result in results if result.row == FULL.name], blocks, "CFS")
    for row in rows:
        own = _values([result for result in results if result.row == row["row"]], blocks, "CFS")
        row["full_is_ahead_by"] = spread([a - b for a, b in zip(full, own, strict=True)])
    return {"rows": rows, "order": {score: _order(rows, score) for score in ("CFS", "C")}}


def _row(row: Row, results: Sequence[Result], blocks: Mapping[str, Mapping[str, Mapping[str, float | None]]],
         ) -> dict[str, Any]:
    scores: dict[str, Spread | None] = {}
    for score in SCORES:
        values = _values(results, blocks, score)
        scores[score] = spread(values) if len(values) == len(results) else None
    return {"row": row.name, "seeds": [result.seed for result in results], "same_as": results[0].same_as,
            "parameters": results[0].parameters, "scores": scores,
            "validation": [result.best for result in results],
            "paper": dict(zip(PAPER_SCORES, row.paper, strict=True))}


def _values(results: Sequence[Result], blocks: Mapping[str, Mapping[str, Mapping[str, float | None]]],
            score: str) -> list[float]:
    """The score of every result that has it."""
    part, metric = SCORES[score]
    found = [blocks[result.name][part][metric] for result in results]
    return [value for value in found if value is not None]


def _order(rows: Sequence[Mapping[str, Any]], score: str) -> dict[str, Any]:
    """The rows by their mean score here and in the paper, best first, and Kendall's tau of the two."""
    here = {row["row"]: row["scores"][score]["mean"] for row in rows}
    paper = {row["row"]: row["paper"][score] for row in rows}
    return {"here": sorted(here, key=lambda row: -here[row]), "paper": sorted(paper, key=lambda row: -paper[row]),
            "kendall": kendall(list(here.values()), list(paper.values()))}


def kendall(one: Sequence[float], other: Sequence[float]) -> float:
    """Kendall's tau (a): the share of pairs in the same order less that of pairs in the opposite one; 0 of one row."""
    pairs = list(combinations(range(len(one)), 2))
    agreed = [_sign(one[i] - one[j]) * _sign(other[i] - other[j]) for i, j in pairs]
    return sum(agreed) / max(1, len(pairs))


def _sign(number: float) -> int:
    return (number > 0) - (number < 0)
