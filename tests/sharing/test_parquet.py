"""Captions, predictions and features as Parquet: what goes out comes back, and `datasets` reads it."""

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from documents import blocks

from pipeline.common.errors import SpectrumError
from pipeline.common.files import read_jsonl
from pipeline.datasets.captions_file import read_captions
from pipeline.metrics.predictions_file import read_dataset, read_predictions
from pipeline.sharing import tables
from pipeline.store.exchange import ImportOptions, export_features, import_features
from pipeline.store.feature_store import FeatureStore
from stages import tables as stage
from stages.command import run_command

needs_pyarrow = pytest.mark.skipif(find_spec("pyarrow") is None,
                                   reason="pyarrow, of the extra [parquet], is not installed")


@needs_pyarrow
def test_predictions_come_back_as_they_were(undisturbed: Path, tmp_path: Path) -> None:
    source = undisturbed / "reports/tiny/predictions.jsonl"
    tables.to_parquet(source, tmp_path / "p.parquet")
    tables.to_jsonl(tmp_path / "p.parquet", tmp_path / "p.jsonl")
    before, after = ([row for _, row in read_jsonl(path)] for path in (source, tmp_path / "p.jsonl"))
    assert after == json.loads(json.dumps(before)) and len(after) == 2
    references = read_dataset(undisturbed / "data/tiny").select("test")
    assert read_predictions(tmp_path / "p.jsonl", references).captions == {
        row["video_id"]: row["caption"] for row in before}


@needs_pyarrow
def test_captions_come_back_for_a_data_set_of_ones_own(undisturbed: Path, tmp_path: Path) -> None:
    tables.write_captions(undisturbed / "data/tiny", tmp_path / "c.parquet")
    tables.to_jsonl(tmp_path / "c.parquet", tmp_path / "c.jsonl")
    before, after = ({(row.video, row.split, row.caption) for row in read_captions(path)}
                     for path in (undisturbed / "captions.jsonl", tmp_path / "c.jsonl"))
    assert after == before and len(after) == 20


@needs_pyarrow
@pytest.mark.parametrize("encoder", ["tiny", "logmel"])
def test_features_come_back_to_the_last_bit(undisturbed: Path, tmp_path: Path, encoder: str) -> None:
    folder = undisturbed / "features/tiny" / ("sample-clip" if encoder == "tiny" else encoder)
    store = FeatureStore.open(folder)
    export_features(store, tmp_path / "f.parquet", "parquet")
    import_features(tmp_path / "f.parquet", tmp_path / "store", ImportOptions())
    again = FeatureStore.open(tmp_path / "store")
    assert again.ids == store.ids and again.dtype == store.dtype == np.float16
    for video in store.ids:
        np.testing.assert_array_equal(again[video], store[video])


@needs_pyarrow
def test_features_of_others(tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    def imported(rows: list[object], column: str = "rows") -> FeatureStore:
        table = pyarrow.table({"video_id": [f"v{i}" for i in range(len(rows))], column: rows})
        pyarrow.parquet.write_table(table, tmp_path / "others.parquet")
        import_features(tmp_path / "others.parquet", tmp_path / "store", ImportOptions(dtype="float32"))
        return FeatureStore.open(tmp_path / "store")

    store = imported([[[1.0, 2.0], [3.0, 4.0]], [[5.0, 6.0]]])
    assert store["v0"].tolist() == [[1, 2], [3, 4]] and store["v1"].tolist() == [[5, 6]]
    assert imported([[1.0, 2.0], [3.0, 4.0]])["v1"].tolist() == [[3, 4]]
    for rows, words in (([[[1.0, 2.0], [3.0]]], "different lengths"), ([[[1.0, None]]], "nulls"),
                        ([None, [[1.0]]], "no rows"), ([["a"]], "expected floating point")):
        with pytest.raises(SpectrumError, match=words):
            imported(rows)      # type: ignore[arg-type]
    with pytest.raises(SpectrumError, match="has no rows"):
        imported([[1.0]], column="features")
    (tmp_path / "others.parquet").write_bytes(b"PAR1 but no more")
    with pytest.raises(SpectrumError, match="not readable as Parquet"):
        import_features(tmp_path / "others.parquet", tmp_path / "store", ImportOptions())


@needs_pyarrow
def test_the_library_of_data_sets_reads_them(undisturbed: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="the library `datasets` is not installed")
    store = FeatureStore.open(undisturbed / "features/tiny/logmel")
    export_features(store, tmp_path / "f.parquet", "parquet")
    tables.to_parquet(undisturbed / "reports/tiny/predictions.jsonl", tmp_path / "p.parquet")
    read = {name: datasets.load_dataset("parquet", data_files=str(tmp_path / f"{name}.parquet"), split="train",
                                        cache_dir=str(tmp_path / "cache")) for name in "fp"}
    first = read["f"][0]
    np.testing.assert_array_equal(np.array(first["rows"], np.float16), store[first["video_id"]])
    assert len(read["p"]) == 2 and read["p"][0]["caption"]


def test_without_pyarrow_the_sentence_names_the_command(undisturbed: Path, tmp_path: Path,
                                                        monkeypatch: pytest.MonkeyPatch,
                                                        capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr(sys, "argv", ["tables", str(undisturbed / "data/tiny"), str(tmp_path / "c.parquet")])
    with pytest.raises(SystemExit):
        run_command(stage.main, stage.__doc__)
    errors = capsys.readouterr().err
    assert "pip install pyarrow" in errors and errors.count("\n") == 1 and not (tmp_path / "c.parquet").exists()


def test_the_script_for_fiftyone_gives_every_prediction_with_its_clip(undisturbed: Path,
                                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    samples: list[dict[str, object]] = []
    shown: list[str] = []
    stand_in = SimpleNamespace(
        Sample=lambda **fields: fields, Classification=lambda **fields: fields,
        Classifications=lambda classifications: classifications,
        Dataset=lambda name: SimpleNamespace(name=name, add_sample=samples.append),
        launch_app=lambda dataset: shown.append(dataset.name) or SimpleNamespace(wait=lambda: None))
    monkeypatch.setitem(sys.modules, "fiftyone", stand_in)
    monkeypatch.chdir(undisturbed)
    [script] = blocks("docs/sharing.md", "FiftyOne")
    exec(script.text.replace('"sample"', '"tiny"').replace("/sample", "/tiny"), {})
    assert shown == ["tiny"] and len(samples) == 2
    assert all(Path(str(sample["filepath"])).is_file() and sample["caption"] and len(sample["references"]) == 2
               for sample in samples)
