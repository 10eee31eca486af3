"""The presets: each is valid, says what was published, and leaves no trace of the one before it."""

from itertools import pairwise
from pathlib import Path

import pytest
from project import ROOT

from pipeline import params
from pipeline.params import Params

OF_DATA = [preset for preset in sorted((ROOT / "presets").glob("*.yaml")) if "dataset" in params.read(preset)]
PUBLISHED = {"msvd": "msvd", "msrvtt": "msrvtt", "emvidcap-s": "emvidcap-s", "emvidcap-l": "emvidcap-l",
             "emvidcap": "emvidcap"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text())
    return path


@pytest.mark.parametrize("preset", OF_DATA, ids=lambda path: path.stem)
def test_every_data_set_is_valid_and_says_how_it_is_chosen(preset: Path, file: Path) -> None:
    params.apply(preset, [], file)
    assert f"python -m pipeline.params presets/{preset.name}" in preset.read_text()


def test_the_sample_is_the_default(file: Path) -> None:
    before = file.read_text()
    params.apply(ROOT / "presets/sample.yaml", [], file)
    assert file.read_text() == before


@pytest.mark.parametrize(("preset", "kind"), PUBLISHED.items())
def test_published_experiments_have_the_papers_sizes(preset: str, kind: str, file: Path) -> None:
    made = params.apply(ROOT / f"presets/{preset}.yaml", [], file)
    assert (made.dataset, made.data.kind, made.data.missing_videos, made.data.published_counts) == \
        (preset, kind, "error", True)
    appearance, captioner = made.encoders.appearance, made.captioner
    assert (appearance.model, appearance.weights, appearance.num_frames) == ("ViT-B-32", "openai", 28)
    assert (captioner.hidden_size, captioner.num_heads, captioner.num_layers) == (512, 8, 1)
    assert captioner.feedforward_size == 2048
    assert (captioner.dropout, captioner.attention_dropout) == (0.5, 0.1)
    assert (captioner.universal_words, captioner.embedded_attributes) == (500, 30)
    assert (captioner.min_word_count, captioner.max_words, made.generation.num_beams) == (3, 30, 5)
    assert (made.retrieval.stored, made.retrieval.used) == (100, 20)
    assert captioner.vtai and captioner.cfb and captioner.aeb


def test_imported_features_need_no_video(file: Path) -> None:
    made = params.apply(ROOT / "presets/msvd-simulated.yaml", [], file)
    assert (made.data.kind, made.data.missing_videos, made.encoders.appearance.weights) == ("msvd", "keep", "imported")
    assert made.encoders.audio.kind == made.encoders.motion.kind == "none"
    assert made.emotion.estimators == ("lexicon", "expressions")       # there is no text tower for `clip`
    back = params.apply(ROOT / "presets/msvd.yaml", [], file)
    assert (back.encoders.appearance.features, back.encoders.appearance.texts) == ("", "")
    assert "clip" in back.emotion.estimators


def test_a_preset_leaves_no_trace_of_the_one_before(file: Path) -> None:
    text = file.read_text()
    made: dict[Path, Params] = {}
    for preset in OF_DATA:
        file.write_text(text)
        made[preset] = params.apply(preset, [], file)
    for before, after in [*pairwise([*OF_DATA, OF_DATA[0]]), *pairwise([*OF_DATA[::-1], OF_DATA[-1]])]:
        file.write_text(text)
        params.apply(before, ["seed=9", "captioner.hidden_size=64", "data.validation=0.3", "training.epochs=1",
                              "captioner.modalities=[appearance]"], file)
        assert params.apply(after, [], file) == made[after] == params.load(path=file), f"{before} then {after}"
    params.apply(ROOT / "presets/sample.yaml", [], file)
    assert params.load(path=file) == params.load(path=ROOT / "params.yaml")


def test_what_describes_the_machine_stays(file: Path) -> None:
    params.apply(ROOT / "presets/msvd.yaml", [
        "machine.device=cpu", "machine.decoding_timeout=7", "machine.scoring_timeout=8", "cluster.workers=3"], file)
    made = params.apply(ROOT / "presets/msrvtt.yaml", [], file)
    machine = made.machine
    assert (machine.device, machine.decoding_timeout, machine.scoring_timeout) == ("cpu", 7.0, 8.0)
    assert made.cluster.workers == 3


def test_a_preset_without_a_data_set_is_laid_over_what_is_there(file: Path, tmp_path: Path) -> None:
    small = tmp_path / "small.yaml"
    small.write_text("captioner: {hidden_size: 64}\n")
    params.apply(ROOT / "presets/msvd.yaml", ["training.epochs=1"], file)
    made = params.apply(small, [], file)
    assert (made.dataset, made.captioner.hidden_size, made.training.epochs) == ("msvd", 64, 1)


def test_comments_stay_through_all_presets(file: Path) -> None:
    comments = [line.partition("#")[2] for line in file.read_text().splitlines() if "#" in line]
    for preset in OF_DATA:
        params.apply(preset, [], file)
    assert [line.partition("#")[2] for line in file.read_text().splitlines() if "#" in line] == comments
