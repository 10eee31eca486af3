"""The ablation of a data set as work for one process or the workers of a cluster (pipeline/workers)."""

from functools import cached_property
from typing import Any

from pipeline.ablation.run import AblationData, RowTrainer, TestVideos
from pipeline.captioner.cached_dataset import CachedDataset
from pipeline.captioner.training.settings import TrainingSettings
from pipeline.common.device import torch_device
from pipeline.datasets.manifest import Manifest
from pipeline.params import Params
from pipeline.params.paths import Paths


class AblationWork:
    """Makes a worker that trains rows. It goes to other processes as parameters alone: each opens the files itself."""

    def __init__(self, params: Params) -> None:
        self.params, self.paths = params, Paths.of(params)

    def __reduce__(self) -> tuple[Any, ...]:
        return AblationWork, (self.params,)

    @cached_property
    def manifest(self) -> Manifest:
        return Manifest.load(self.paths.data)

    @cached_property
    def dataset(self) -> CachedDataset:
        return CachedDataset.open(self.paths, self.params.machine.resident_megabytes)

    @cached_property
    def tested(self) -> list[str]:
        """The videos that every row captions."""
        return self.dataset.present(self.manifest.ids("test"))

    def __call__(self) -> RowTrainer:
        params, dataset, device = self.params, self.dataset, torch_device(self.params.machine.device)
        modalities, used = params.captioner.modalities, params.retrieval.used
        training, validation = (dataset.split(self.manifest, "train", modalities, used),
                                dataset.split(self.manifest, "validation", modalities, used))
        data = AblationData(training, validation, TestVideos(
            dataset.inputs(self.tested, modalities, used), dataset.candidate_texts(self.tested)), dataset.priors)
        settings = TrainingSettings.of(params, self.paths, dataset, device)
        return RowTrainer(data, settings, device, self.paths.reports / "ablation", dataset.recipes)
