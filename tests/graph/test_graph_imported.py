"""The whole graph on what others have encoded: MSVD's files, made small here, with features in place of every clip."""

import json
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from test_graph import ROOT, copy_of_the_project, ran, run

from pipeline import params
from pipeline.store.feature_store import FeatureStore

pytestmark = [pytest.mark.graph, pytest.mark.timeout(600)]

SPLITS = {"train": range(1, 13), "val": range(1201, 1205), "test": range(1301, 1305)}
SILENT = (3, 1302)
DIM = 16
PRESET = ["data.published_counts=false", "encoders.audio.name=vggish", "encoders.audio.kind=imported",
          "encoders.audio.features=downloads/msvd-simulated/vggish.hdf5",
          "captioner.modalities=[appearance, audio, text]", "captioner.hidden_size=32", "captioner.num_heads=2",
          "captioner.feedforward_size=32", "captioner.universal_words=20", "captioner.min_word_count=1",
          "training.epochs=1",
          "retrieval.stored=8", "retrieval.used=4", "generation.num_beams=2", "extraction.num_shards=4"]


def write(folder: Path) -> dict[str, np.ndarray]:
    """Captions, map and features in the published layouts; sound lies elsewhere and is linked. What frames holds."""
    random = np.random.default_rng(0)
    (folder / "msvd").mkdir(parents=True)
    (folder / "msvd-simulated").mkdir()
    texts, frames = [], {}
    for split, numbers in SPLITS.items():
        lines = [(n, f"a {('happy', 'sad')[n % 2]} {thing} moves {n}")
                 for n in numbers for thing in ("man", "cat", "dog")]
        (folder / "msvd" / f"sents_{split}_lc_nopunc.txt").write_text("".join(f"vid{n}\t{text}\n" for n, text in lines))
        texts += [text for _, text in lines]
        frames |= {f"video{n - 1}": random.normal(size=(4, DIM)).astype(np.float16) for n in numbers}
    with h5py.File(folder / "msvd-simulated" / "frames.hdf5", "w") as file:
        for key, rows in frames.items():
            file[key] = rows
    with h5py.File(folder / "msvd-simulated" / "captions.hdf5", "w") as file:
        file["embedding"] = random.normal(size=(len(texts), DIM)).astype(np.float16)
        file.create_dataset("text", data=texts, dtype=h5py.string_dtype())
    write_sound(folder.parent / "elsewhere.hdf5", SILENT)
    (folder / "msvd-simulated" / "vggish.hdf5").symlink_to("../../elsewhere.hdf5")
    return frames


def write_sound(path: Path, silent: tuple[int, ...]) -> None:
    random = np.random.default_rng(1)
    with h5py.File(path, "w") as file:
        for number in (number for split in SPLITS.values() for number in split):
            if number not in silent:
                file[f"video{number - 1}"] = random.normal(size=(3, 8)).astype(np.float32)


def test_features_go_in_train_evaluate_and_come_out_bit_equal(tmp_path: Path) -> None:
    project = copy_of_the_project(tmp_path / "project")
    params.apply(ROOT / "presets/msvd-simulated.yaml", PRESET, project / "params.yaml")
    frames = write(project / "downloads")
    run(project, "dvc", "repro")

    def summary(stage: str) -> dict[str, object]:
        content: dict[str, object] = json.loads((project / f"reports/msvd-simulated/stages/{stage}.json").read_text())
        return content

    metrics = json.loads((project / "reports/msvd-simulated/metrics.json").read_text())
    assert (metrics["videos"], metrics["untrained"]) == (4, False)
    assert summary("extract-audio")["failed"] == 2
    assert summary("train-captioner")["left_out"] == {"without_frames": 0, "without_sound": 1, "without_motion": 0}
    assert summary("evaluate")["left_out"] == {"without_frames": 0, "without_sound": 1, "without_motion": 0}
    card = (project / "models/msvd-simulated/captioner/README.md").read_text()
    assert "msvd-simulated" in card

    store = FeatureStore.open(project / "features/msvd-simulated/simulated")
    run(project, sys.executable, "-m", "pipeline.store", "verify", str(store.folder))
    (project / "map.txt").write_text("".join(f"video{n - 1} vid{n}\n" for split in SPLITS.values() for n in split))
    run(project, sys.executable, "-m", "pipeline.store", "export", str(store.folder), "out.hdf5", "--names", "map.txt")
    with h5py.File(project / "out.hdf5") as file:
        assert set(file) == set(frames)
        assert all(file[key].dtype == rows.dtype and file[key][()].tobytes() == rows.tobytes()
                   for key, rows in frames.items())

    # no clip can be captioned by a model that nobody has
    refused = run(project, sys.executable, "-m", "stages.caption", "holiday.mp4", ok=False)
    assert refused.stderr.count("\n") == 1 and "its features are imported" in refused.stderr

    # DVC notices that a file behind a link was replaced, and makes what hangs on it, no more
    write_sound(tmp_path / "project" / "elsewhere.hdf5", SILENT[:1])
    again = ran(run(project, "dvc", "repro"))
    assert again >= {"extract@audio", "emotion", "train@captioner", "train@baseline", "evaluate", "report"}
    assert not again & {"encoder", "index", "retrieve"}
    assert summary("extract-audio")["failed"] == 1
    assert summary("evaluate")["left_out"] == {"without_frames": 0, "without_sound": 0, "without_motion": 0}
