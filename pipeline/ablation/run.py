"""Training the rows of the ablation: several seeds each, every row with the same budget.

    task = engine.begin(AblationWork(params))               # work.py: it makes RowTrainers
    results = train_rows(task, folder, range(3), params.training.all_epochs)
    comparison = compare(results, metrics)      # JSON; `markdown` makes the table beside the paper's own

A row and seed that is done lies in `folder` as a file of its own with the captions of the test videos, so that a run
that was killed goes on; a file of another fingerprint (other settings, features or code) is made again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

from pipeline import params
from pipeline.ablation.results import Result
from pipeline.ablation.rows import ROWS, Row
from pipeline.captioner.generation.captions import Caption
from pipeline.captioner.generation.generator import CaptionGenerator
from pipeline.captioner.inputs import InputSource
from pipeline.captioner.splits import Split
from pipeline.captioner.trained import Epoch, TrainedCaptioner
from pipeline.captioner.training.settings import Listeners, TrainingSettings
from pipeline.captioner.training.state import fingerprint_of
from pipeline.captioner.training.trainer import train
from pipeline.common.files import read_json, write_json
from pipeline.common.progress import ignore
from pipeline.workers.engine import Report, Task


@dataclass(frozen=True)
class TestVideos:
    """The videos that every row captions, and their candidates."""

    inputs: InputSource
    candidates: Sequence[Sequence[str]] = ()

    __test__ = False        # not a test of pytest's


@dataclass(frozen=True)
class AblationData:
    """The splits with every modality that the data set has.

    priors: emotional priors of videos by id, as a captioner that reads these modalities may know them. A row that does
    without sound must not hear it through the prior. None: those of the splits are good for all rows.
    """

    train: Split
    validation: Split
    test: TestVideos
    priors: Callable[[Sequence[str], Sequence[str]], tuple[Tensor, Tensor]] | None = None

    def read_by(self, section: params.Captioner) -> "AblationData":
        """The same videos with the priors of a captioner of these settings."""
        priors = self.priors
        if priors is None:
            return self

        def inputs(of: InputSource) -> InputSource:
            return of.with_priors(*priors(of.ids, section.modalities))

        return replace(self, train=replace(self.train, inputs=inputs(self.train.inputs)),
                       validation=replace(self.validation, inputs=inputs(self.validation.inputs)),
                       test=replace(self.test, inputs=inputs(self.test.inputs)))


@dataclass(frozen=True)
class RowListeners:
    """on_epoch: with a row's name and each epoch's record, of a result that existed the kept epoch's alone;
    on_progress: as `Listeners.on_progress`."""

    on_epoch: Callable[[str, Epoch], None] = ignore
    on_progress: Callable[[float, bool], None] = ignore


@dataclass(frozen=True)
class RowPart:
    """A row with a seed: `fingerprint_only` asks for what stands for the training, in place of a Result."""

    row: Row
    seed: int
    fingerprint_only: bool = False

    @property
    def name(self) -> str:
        return f"{self.row.name}, seed {self.seed}"

    def path(self, folder: Path) -> Path:
        return folder / f"{self.row.name.replace(' ', '-')}-seed-{self.seed}.json"


class RowTrainer:
    """Trains rows and captions the test videos by them; a worker of pipeline/workers. Results lie in `folder`.

    Reports the epochs that are done of a training, whether this run did them, and the record of the last one.
    """

    def __init__(self, data: AblationData, settings: TrainingSettings, device: torch.device, folder: Path,
                 recipes: Mapping[str, str] = MappingProxyType({})) -> None:
        self._data, self._settings, self._device, self._folder = data, settings, device, folder
        # On a processor the number of threads decides in which order gradients are added up.
        threads = {"number of threads": torch.get_num_threads()} if device.type == "cpu" else {}
        self.facts = {"device": device.type, "recipes": dict(recipes), **threads}

    def do(self, part: RowPart, report: Report) -> str | Result:
        settings = replace(self._settings, captioner=self._section(part.row))
        data = self._data.read_by(settings.captioner)
        fingerprint = self._fingerprint(data, settings, part.seed)
        if part.fingerprint_only:
            return fingerprint
        path = part.path(self._folder)
        if result := _read(path, fingerprint):      # of a worker that died before it could tell
            return result
        state, done = path.with_name(f".{path.stem}.safetensors"), 0.0

        def on_progress(epochs: float, fresh: bool) -> None:
            nonlocal done
            done += epochs
            report((done, fresh, None))

        trained = train(data.train, data.validation, settings, part.seed, self._device, state, Listeners(
            lambda epoch: report((done, True, epoch)), on_progress))
        parameters = sum(parameter.numel() for parameter in trained.model.parameters())
        captions = self._captions(data.test, trained)
        result = Result(part.row.name, part.seed, fingerprint, "", parameters, trained.best,
                        {caption.video_id: caption.text for caption in captions},
                        {caption.video_id: caption.likeliest for caption in captions})
        write_json(path, vars(result))
        state.unlink(missing_ok=True)
        return result

    def _section(self, row: Row) -> params.Captioner:
        """The row's settings without modalities that the data set lacks, so that equal models are seen as such."""
        section, existing = self._settings.captioner, self._data.train.inputs.dims
        absent = tuple(name for name in section.modalities if name not in existing)
        return Row("", (), (*row.left_out, *absent), row.off).of(section)

    def _fingerprint(self, data: AblationData, settings: TrainingSettings, seed: int) -> str:
        training = settings.fingerprint(data.train, data.validation, seed, self._device)
        generation = settings.generation.model_dump(mode="json")
        return fingerprint_of({"training": training, "generation": generation}, (data.test.inputs,))

    def _captions(self, test: TestVideos, trained: TrainedCaptioner) -> list[Caption]:
        generator = CaptionGenerator(trained.model, trained.vocabulary, trained.attributes, self._settings.generation,
                                     self._settings.consensus)
        return generator.generate(test.inputs, test.candidates)


def train_rows(task: Task[RowPart, str | Result], folder: Path, seeds: Sequence[int], epochs: int,
               rows: Sequence[Row] = ROWS, listeners: RowListeners = RowListeners()) -> list[Result]:
    """Each of `rows` with every seed, seed by seed, so that a run cut short holds whole rows of some seeds.

    `task` has RowTrainers of `folder`, whose trainings have so many `epochs`. What is known already, or is the same
    model as another row's, is not trained again.
    """
    parts = [RowPart(row, seed) for seed in seeds for row in rows]
    asked = {f"fingerprint of {part.name}": replace(part, fingerprint_only=True) for part in parts}
    first_of: dict[str, RowPart] = {}
    prints: list[str] = []
    for part, own in zip(parts, task.run(asked), strict=True):
        assert isinstance(own, str)
        prints.append(own)
        first_of.setdefault(own, part)
    known = {own: replace(result, same_as="") for own, part in first_of.items()
             if (result := _read(part.path(folder), own))}
    progress = _Progress(listeners, epochs)
    trained = task.run({part.name: part for own, part in first_of.items() if own not in known}, progress)
    results: list[Result] = []
    for part, own in zip(parts, prints, strict=True):
        if own in known:
            same_as = "" if part is first_of[own] else known[own].row
            result = replace(known[own], row=part.row.name, same_as=same_as)
            write_json(part.path(folder), vars(result))
            listeners.on_epoch(part.row.name, result.best)
            progress.finish(part.name, fresh=False)
        else:
            made = next(trained)
            assert isinstance(made, Result)
            result = known[own] = made
            progress.finish(part.name, fresh=True)
        results.append(result)
    return results


class _Progress:
    """Tells the listeners what is new of each part: of one that another worker begins again nothing counts twice."""

    def __init__(self, listeners: RowListeners, epochs: int) -> None:
        self._listeners, self._epochs = listeners, epochs
        self._done: dict[str, float] = {}

    def __call__(self, name: str, event: tuple[float, bool, Epoch | None]) -> None:
        done, fresh, epoch = event
        if epoch is not None:
            self._listeners.on_epoch(name.rpartition(", seed ")[0], epoch)
        self._advance(name, done, fresh)

    def finish(self, name: str, fresh: bool) -> None:
        self._advance(name, self._epochs, fresh)

    def _advance(self, name: str, done: float, fresh: bool) -> None:
        before = self._done.get(name, 0.0)
        if done > before:
            self._done[name] = done
            self._listeners.on_progress(done - before, fresh)


def _read(path: Path, fingerprint: str) -> Result | None:
    """The result in the file, where it is of that fingerprint."""
    if path.is_file():
        saved = read_json(path)
        if isinstance(saved, Mapping) and saved.get("fingerprint") == fingerprint and "likeliest" in saved:
            return Result(**saved)
    return None
