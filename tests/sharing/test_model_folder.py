"""A model's folder: it captions as the project does, far from the project, from a hub's cache, and only when whole."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any, ClassVar

import huggingface_hub
import pytest
import tiny_models
from huggingface_hub import constants
from media_factory import clip
from ruamel.yaml import YAML
from safetensors.torch import load_file, save_file

from pipeline.captioning.loading import open_captioner
from pipeline.common.errors import SpectrumError
from pipeline.common.files import read_json, write_json
from pipeline.encoders import open_clip_model
from pipeline.params import load as load_params
from pipeline.params.paths import Paths
from pipeline.sharing import locating, model_folder
from stages import model

CPU = ["machine.device=cpu"]


@pytest.fixture(scope="module")
def exported(undisturbed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "my-model"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(undisturbed)
        model_folder.export(load_params(), Paths.of(load_params()), folder)
    return folder


def test_it_captions_as_the_project_does_wherever_it_lies(undisturbed: Path, exported: Path, tmp_path: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "own.mp4"
    clip(own, 10, sound=440.0, size=(64, 64))
    monkeypatch.chdir(undisturbed)
    with open_captioner(load_params()) as captioner:
        before = captioner.caption(own)
    shutil.copytree(exported, tmp_path / "elsewhere")
    monkeypatch.chdir(tmp_path)
    with model_folder.load("elsewhere", CPU) as captioner:
        after = captioner.caption(own)
    assert after == before and after.text
    assert [path.name for path in exported.parent.iterdir()] == ["my-model"]     # nothing temporary is left


def test_it_holds_no_videos_of_the_data_set_and_no_machine(exported: Path) -> None:
    from pipeline.emotion.emotion_file import Emotions

    emotions = Emotions.read(exported / "emotion.h5")
    assert emotions.ids == () and len(emotions.rows) == len(emotions.evidence) == 0
    tree = YAML(typ="safe").load(exported / "params.yaml")
    assert not tree.keys() & {"machine", "cluster", "data", "sample"}


def test_the_card_has_the_hubs_metadata_and_the_scores(undisturbed: Path, exported: Path) -> None:
    card = huggingface_hub.ModelCard.load(exported / "README.md")
    metrics = read_json(undisturbed / "reports/tiny/metrics.json")
    assert (card.data.language, card.data.library_name) == ("en", "spectrum-captioning")
    values = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert values["CFS"] == round(100 * metrics["emotion"]["cfs"], 1)
    assert f"| CFS | {values['CFS']} |" in card.text and "from the project's root" not in card.text
    assert 'load("my-model")' in card.text and "## Limits" in card.text


def test_what_is_not_whole_or_changed_does_not_load(exported: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(exported, folder)
    (folder / "emotion.h5").unlink()
    with pytest.raises(SpectrumError, match=r"copy: not the folder of a model, because it lacks emotion\.h5"):
        model_folder.load(folder, CPU)
    shutil.copy(exported / "emotion.h5", folder)
    weights = load_file(folder / "encoder/model.safetensors")
    weights["visual.proj" if "visual.proj" in weights else min(weights)] += 1
    save_file(weights, folder / "encoder/model.safetensors")
    with pytest.raises(SpectrumError, match="weights have changed"):
        model_folder.load(folder, CPU)


def test_a_model_that_does_not_load_leaves_no_folder(undisturbed: Path, tmp_path: Path,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    project = tmp_path / "project"
    shutil.copytree(undisturbed, project)
    monkeypatch.chdir(project)
    params = load_params()
    path = project / "models/tiny/captioner/captioner.json"
    described = read_json(path)
    write_json(path, described | {"recipes": described["recipes"] | {"emotion": "another"}})
    with pytest.raises(SpectrumError, match="trained on emotion of recipe another"):
        model_folder.export(params, Paths.of(params), tmp_path / "made" / "m")
    assert [*(tmp_path / "made").iterdir()] == []
    (tmp_path / "made" / "m").mkdir()
    with pytest.raises(SpectrumError, match="there already"):
        model_folder.export(params, Paths.of(params), tmp_path / "made" / "m")


def test_weights_that_a_parameter_names_by_a_path_come_along(undisturbed: Path, tmp_path: Path,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(undisturbed)
    own = tmp_path / "own.safetensors"
    shutil.copy("models/tiny/encoder/model.safetensors", own)
    labels = tmp_path / "my-labels.json"
    labels.write_text("{}")
    params = load_params([f"encoders.appearance.weights={own}", f"emotion.classifier_labels={labels}"])
    open_clip_model.prepare(params.encoders.appearance, tmp_path / "encoder", 0)
    weights = model_folder._put_encoder(params, tmp_path / "encoder", tmp_path / "made/encoder")
    assert weights == "train"
    before, after = (read_json(folder / "encoder.json") for folder in (tmp_path / "encoder", tmp_path / "made/encoder"))
    assert before["sha256"] == after["sha256"] and before["untrained"] is after["untrained"] is False
    tree: dict[str, Any] = {"emotion": {"classifier_labels": "./labels.json", "words": "evc-179"}}
    assert locating._located(tree, Path("/m"))["emotion"]["classifier_labels"] == "/m/labels.json"


def test_a_hubs_cache_is_enough(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(SpectrumError, match=r"org/tiny is no folder, its files are not all in the cache .* offline"):
        model_folder.load("org/tiny", CPU)
    snapshot = tmp_path / "hub/models--org--tiny/snapshots" / tiny_models.REVISION
    shutil.copytree(exported, snapshot)
    (tmp_path / "hub/models--org--tiny/refs").mkdir()
    (tmp_path / "hub/models--org--tiny/refs/main").write_text(tiny_models.REVISION)
    assert model_folder.load("org/tiny", CPU).checkpoint.folder == snapshot
    assert model_folder.load(f"org/tiny@{tiny_models.REVISION}", CPU).checkpoint.folder == snapshot
    with pytest.raises(SpectrumError, match="no such folder, and no hub id"):
        model_folder.load("no such folder", CPU)


class Hub:
    """In place of the hub: what HfApi was asked."""

    asked: ClassVar[list[tuple[str, dict[str, Any]]]] = []

    def create_repo(self, repository: str, **options: Any) -> str:
        self.asked.append((repository, options))
        return f"https://hub.example/{repository}"

    def upload_folder(self, **options: Any) -> None:
        self.asked.append(("upload", options))


def test_pushing_sends_what_loads_and_no_pickle(exported: Path, tmp_path: Path,
                                                monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SpectrumError, match=r"org/tiny: .* cannot be pushed .*hf auth login"):      # no network here
        model_folder.push(exported, "org/tiny")
    monkeypatch.setattr(huggingface_hub, "HfApi", Hub)
    assert model_folder.push(exported, "org/tiny") == "https://hub.example/org/tiny"
    (name, made), (_, sent) = Hub.asked
    assert name == "org/tiny" and made == {"private": True, "exist_ok": True} and sent["folder_path"] == exported
    from huggingface_hub.utils import filter_repo_objects

    files = [str(file.relative_to(exported)) for file in exported.rglob("*") if file.is_file()]
    assert sorted(filter_repo_objects([*files, "a.pkl", "b.bin", "c.py"], allow_patterns=sent["allow_patterns"])) \
        == sorted(files)
    with pytest.raises(SpectrumError, match="not the folder of a model|no such folder"):
        model_folder.push(tmp_path, "org/tiny")


def test_the_commands(undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from typer.testing import CliRunner

    monkeypatch.chdir(undisturbed)
    made = CliRunner().invoke(model.app, ["export", str(tmp_path / "m"), "--checkpoint", "models/tiny/baseline"])
    assert made.exit_code == 0 and "python -m stages.model push" in made.output
    assert read_json(tmp_path / "m/captioner.json")["captioner"]["vtai"] is False
    again = CliRunner().invoke(model.app, ["export", str(tmp_path / "m")])
    assert again.exit_code == 1 and "there already" in again.output


def test_the_caption_tool_takes_it_where_there_is_no_project(exported: Path, tmp_path: Path,
                                                             monkeypatch: pytest.MonkeyPatch,
                                                             capfd: pytest.CaptureFixture[str]) -> None:
    from stages import caption
    from stages.command import run_command

    clip(tmp_path / "own.mp4", 10, sound=440.0, size=(64, 64))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["caption", "own.mp4", "--json", "--checkpoint", str(exported), *CPU])
    with pytest.raises(SystemExit) as ended:
        run_command(caption.main, caption.__doc__)
    row = json.loads(capfd.readouterr().out)
    assert ended.value.code == 0 and row["caption"] and row["trained_on"]["dataset"] == "tiny"
