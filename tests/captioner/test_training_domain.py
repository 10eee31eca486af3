"""How far a clip lies from the training clips."""

from pathlib import Path

import numpy as np
import pytest
from captioner_stage import WorldStore
from captioner_world import world

from pipeline.captioner.training_domain import NAME, TrainedOn, TrainingDomain
from pipeline.common.errors import SpectrumError

TRAINED_ON = TrainedOn("world", 120, 360)


def test_what_training_varied_is_near_and_the_rest_far_and_the_file_keeps_it(tmp_path: Path) -> None:
    (training, _), (validation, _) = world(120, seed=0), world(40, seed=1)
    store = WorldStore({"train": training, "validation": validation})
    domain = TrainingDomain.fit(store, training.ids, validation.ids, TRAINED_ON)  # type: ignore[arg-type]
    domain.write(tmp_path)
    read = TrainingDomain.read(tmp_path)
    assert (read.trained_on, read.limit) == (TRAINED_ON, domain.limit)
    assert str(read.trained_on) == "120 videos with 360 captions of data set 'world'"
    distances = []
    for video in validation.ids:
        rows, _ = store.load([video])
        distances.append(read.distance(rows))
        assert read.distance(7 * rows) == pytest.approx(distances[-1], rel=1e-4)     # the length says nothing
        assert read.distance(-rows) > read.limit
    assert domain.limit == pytest.approx(np.percentile(distances, 99), rel=1e-5)


def test_a_checkpoint_that_does_not_say_what_it_was_trained_on_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpectrumError, match=r"training_domain\.h5: no such file; it says what this"):
        TrainingDomain.read(tmp_path)
    TrainingDomain(TRAINED_ON, np.zeros(3, np.float32), np.eye(2, dtype=np.float32), 1.0).write(tmp_path)
    with pytest.raises(SpectrumError, match="do not fit together"):
        TrainingDomain.read(tmp_path)
    (tmp_path / NAME).write_bytes(b"no HDF5")
    with pytest.raises(SpectrumError, match=NAME):
        TrainingDomain.read(tmp_path)
