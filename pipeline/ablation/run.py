"""Training the rows of the ablation: several seeds each, every row with the same budget.

    results = train_rows(splits, settings, range(3), device, folder)
    comparison = compare(results, metrics)      # JSON; `markdown` makes the table beside the paper's own

A row and seed that is done lies in `folder` as a file of its own with the captions of the test videos, so that a run
that was killed goes on; a file of another fingerprint (other settings, features or code) is made again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

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
from pipeline.captioner.training.settings import Listeners, TrainingSettings, ignore_event
from pipeline.captioner.training.state import fingerprint_of
from pipeline.captioner.training.trainer import train
from pipeline.common.files import read_json, write_json


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

    on_epoch: Callable[[str, Epoch], None] = ignore_event
    on_progress: Callable[[float, bool], None] = ignore_event


def train_rows(data: AblationData, settings: TrainingSettings, seeds: Sequence[int], device: torch.device,
               folder: Path, rows: Sequence[Row] = ROWS, listeners: RowListeners = RowListeners()) -> list[Result]:
    """Each of `rows` with every seed, seed by seed, so that a run cut short holds whole rows of some seeds."""
    ablation = _Ablation(data, settings, device, folder, listeners)
    return [ablation.result(row, seed) for seed in seeds for row in rows]


@dataclass
class _Ablation:
    """What all rows and seeds share."""

    data: AblationData
    settings: TrainingSettings
    device: torch.device
    folder: Path
    listeners: RowListeners
    done: list[Result] = field(default_factory=list)

    def result(self, row: Row, seed: int) -> Result:
        path = self.folder / f"{row.name.replace(' ', '-')}-seed-{seed}.json"
        settings = replace(self.settings, captioner=self._section(row))
        data = self.data.read_by(settings.captioner)
        fingerprint = self._fingerprint(data, settings, seed)
        result = self._known(path, row, fingerprint)
        if result is None:
            state = path.with_name(f".{path.stem}.safetensors")
            trained = train(data.train, data.validation, settings, seed, self.device, state, Listeners(
                lambda epoch: self.listeners.on_epoch(row.name, epoch), self.listeners.on_progress))
            parameters = sum(parameter.numel() for parameter in trained.model.parameters())
            captions = self._captions(data.test, trained)
            result = Result(row.name, seed, fingerprint, "", parameters, trained.best,
                            {caption.video_id: caption.text for caption in captions},
                            {caption.video_id: caption.likeliest for caption in captions})
            write_json(path, vars(result))
            state.unlink(missing_ok=True)
        else:
            write_json(path, vars(result))
            self.listeners.on_epoch(row.name, result.best)
            self.listeners.on_progress(settings.training.all_epochs, False)
        self.done.append(result)
        return result

    def _section(self, row: Row) -> params.Captioner:
        """The row's settings without modalities that the data set lacks, so that equal models are seen as such."""
        section, existing = self.settings.captioner, self.data.train.inputs.dims
        absent = tuple(name for name in section.modalities if name not in existing)
        return Row("", (), (*row.left_out, *absent), row.off).of(section)

    def _fingerprint(self, data: AblationData, settings: TrainingSettings, seed: int) -> str:
        training = settings.fingerprint(data.train, data.validation, seed, self.device)
        generation = settings.generation.model_dump(mode="json")
        return fingerprint_of({"training": training, "generation": generation}, (data.test.inputs,))

    def _captions(self, test: TestVideos, trained: TrainedCaptioner) -> list[Caption]:
        generator = CaptionGenerator(trained.model, trained.vocabulary, trained.attributes, self.settings.generation,
                                     self.settings.consensus)
        return generator.generate(test.inputs, test.candidates)

    def _known(self, path: Path, row: Row, fingerprint: str) -> Result | None:
        """The result in the row's file, or that of an earlier row which is the same model here."""
        for earlier in self.done:
            if earlier.fingerprint == fingerprint:
                return replace(earlier, row=row.name, same_as=earlier.same_as or earlier.row)
        if path.is_file():
            saved = read_json(path)
            if isinstance(saved, Mapping) and saved.get("fingerprint") == fingerprint and "likeliest" in saved:
                return Result(**saved)
        return None
