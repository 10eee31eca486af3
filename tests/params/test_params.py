"""Parameters: overrides, and every way in which a file can be wrong."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from project import ROOT
from ruamel.yaml import YAML

from pipeline import params
from pipeline.common.errors import SpectrumError
from pipeline.params.files import lay_over
from pipeline.params.renamed import FITTED, RENAMED


def leaves(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Every key of a tree that is no section, such as captioner.hidden_size, with its value."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", list(value) if isinstance(value, tuple | list) else value


DEFAULTS = dict(leaves(params.Params.model_validate({}).model_dump()))
TREE = YAML(typ="safe").load(ROOT / "params.yaml")
SHIPPED = dict(leaves(TREE))


def test_the_projects_own_file_lists_every_parameter() -> None:
    assert SHIPPED.keys() == DEFAULTS.keys()


@pytest.mark.parametrize("key", DEFAULTS)
def test_the_projects_own_file_says_the_default(key: str) -> None:
    assert (SHIPPED[key], type(SHIPPED[key])) == (DEFAULTS[key], type(DEFAULTS[key]))


def test_every_parameter_has_a_comment_on_its_line() -> None:
    lines = [line for line in (ROOT / "params.yaml").read_text().splitlines() if re.match(r" *\w+: *[^ #]", line)]
    assert len(lines) == len(DEFAULTS)
    assert [line for line in lines if not re.search(r" # \S", line)] == []


def old_tree(old: str) -> dict[str, Any]:
    """The project's own parameters and one by its old name."""
    *sections, name = old.split(".")
    tree: dict[str, Any] = {name: 1}
    for section in reversed(sections):
        tree = {section: tree}
    return lay_over(TREE, tree)


@pytest.mark.parametrize(("old", "new"), RENAMED.items())
def test_an_old_name_is_refused_with_the_new_one(old: str, new: str) -> None:
    assert new in DEFAULTS or new in params.Params.model_fields
    with pytest.raises(SpectrumError, match=re.escape(f"old.yaml: {old} is now called {new}")) as error:
        params.validate(old_tree(old), "old.yaml")
    sentences = str(error.value).removeprefix("old.yaml: ").split("; ")
    section = old.partition(".")[0]
    assert sentences == [f"{old} is now called {new}"] + (
        ["decoding is now called generation"] if section == "decoding" and section != old else [])
    with pytest.raises(SpectrumError, match=re.escape(f"{old} is now called {new}")):
        params.validate(params.override(TREE, [f"{old}=1"]), "params.yaml")


@pytest.mark.parametrize("old", FITTED)
def test_what_is_fitted_now_is_refused_in_a_sentence(old: str) -> None:
    with pytest.raises(SpectrumError, match=rf"^old.yaml: {old} is gone: it is fitted on the training videos"):
        params.validate(old_tree(old), "old.yaml")


def test_no_old_name_is_a_parameter() -> None:
    assert not {*RENAMED, *FITTED} & {*DEFAULTS, *params.Params.model_fields}


def test_the_projects_own_file_is_valid_and_names_every_section() -> None:
    loaded = params.load(path=ROOT / "params.yaml")
    assert loaded.dataset == "sample"
    assert set(params.read(ROOT / "params.yaml")) == set(params.Params.model_fields)


def test_overrides_reach_nested_keys_and_read_yaml_values() -> None:
    loaded = params.load(["seed=7", "captioner.modalities=[appearance, text]", "data.validation=0.25"],
                         ROOT / "params.yaml")
    assert (loaded.seed, loaded.captioner.modalities, loaded.data.validation) == (7, ("appearance", "text"), 0.25)


def test_the_decoder_attends_to_modalities_that_there_are() -> None:
    def attended(*overrides: str) -> tuple[str, ...]:
        return params.load(overrides, ROOT / "params.yaml").captioner.decoder_modalities

    some = "captioner.decoder_modalities=[appearance, text]"
    assert attended(some) == ("appearance", "text")
    assert attended(some, "captioner.modalities=[appearance, audio]") == ("appearance",)
    assert attended(some, "captioner.modalities=[text, appearance]") == ()      # all there are
    assert attended("captioner.decoder_modalities=[]") == ()


@pytest.mark.parametrize(("override", "sentence"), [
    ("capshioner.hidden_size=3", "capshioner: no such parameter"),
    ("captioner.widht=3", "captioner.widht: no such parameter .params.yaml lists those there are"),
    ("captioner.hiden_size=3", "captioner.hiden_size: no such parameter; did you mean captioner.hidden_size"),
    ("num_seeds=3", "num_seeds: no such parameter; did you mean training.num_seeds"),
    ("seed=many", "seed: input should be a valid integer"),
    ("seed=100000000000000000000000000", "seed: input should be less than 4294967296"),
    ("seed", "expected key=value"),
    ("seed.deeper=1", "seed is a value"),
    ("seed=[", "not readable as a YAML value"),
    ("dataset=../escape", "dataset:"),
    ("captioner.hidden_size=250", "not a multiple of num_heads"),
    ("captioner.vtai=false", "need vtai=true"),
    ("captioner.modalities=[audio]", "must hold appearance"),
    ("captioner.decoder_modalities=[audio]", "must hold appearance"),
    ("captioner.decoder_modalities=5", "captioner.decoder_modalities: input should be a valid tuple"),
    ("captioner.modalities=5", "captioner.modalities: input should be a valid tuple"),
    ("captioner={modalities: [appearance], decoder_modalities: [text]}", "must hold appearance"),
    ("retrieval.used=500", "more than stored"),
    ("encoders.audio.name=sample-clip", "are the same"),
    ("emotion.estimators=[]", "estimators is empty"),
])
def test_a_wrong_override_is_named(override: str, sentence: str) -> None:
    with pytest.raises(SpectrumError, match=sentence.replace("[", r"\[")):
        params.load([override], ROOT / "params.yaml")


def test_overriding_leaves_the_tree_it_was_given_alone() -> None:
    tree = {"a": {"b": 1}}
    assert params.override(tree, ["a.b=2"]) == {"a": {"b": 2}}
    assert tree == {"a": {"b": 1}}


@pytest.mark.parametrize(("text", "sentence"), [("- 1\n", "expected a mapping"), ("a: [", "not readable as YAML")])
def test_a_broken_file_is_named(tmp_path: Path, text: str, sentence: str) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(text)
    with pytest.raises(SpectrumError, match=f"p.yaml: {sentence}"):
        params.load(path=file)


def test_a_missing_file_says_where_to_run(tmp_path: Path) -> None:
    with pytest.raises(SpectrumError, match="run from the project's root"):
        params.load(path=tmp_path / "none.yaml")


def test_a_missing_section_has_its_defaults(tmp_path: Path) -> None:
    tree = params.read(ROOT / "params.yaml")
    del tree["data"]
    YAML().dump(tree, tmp_path / "p.yaml")
    assert params.load(path=tmp_path / "p.yaml") == params.Params()


def test_a_preset_is_laid_over_the_file_and_comments_stay(tmp_path: Path) -> None:
    file, preset = tmp_path / "params.yaml", tmp_path / "preset.yaml"
    file.write_text((ROOT / "params.yaml").read_text())
    preset.write_text("dataset: mine\nencoders: {audio: {kind: none}}\n")
    made = params.apply(preset, ["seed=3"], file)
    assert made == params.load(path=file)
    assert (made.dataset, made.seed, made.encoders.audio.kind) == ("mine", 3, "none")
    assert made.encoders.audio.num_windows == params.load(path=ROOT / "params.yaml").encoders.audio.num_windows
    assert "# Every parameter, at its default." in file.read_text()


def test_a_preset_that_is_not_valid_changes_nothing(tmp_path: Path) -> None:
    file, preset = tmp_path / "params.yaml", tmp_path / "preset.yaml"
    file.write_text((ROOT / "params.yaml").read_text())
    preset.write_text("dataste: mine\n")
    with pytest.raises(SpectrumError, match="preset.yaml: dataste: no such parameter"):
        params.apply(preset, [], file)
    assert file.read_text() == (ROOT / "params.yaml").read_text()


@pytest.mark.parametrize("preset", sorted((ROOT / "presets").glob("*.yaml")), ids=lambda path: path.stem)
def test_every_preset_of_the_project_is_valid(preset: Path, tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    file.write_text((ROOT / "params.yaml").read_text())
    params.apply(preset, [], file)


def test_the_home_folder_in_an_override_and_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an override it is what a person means, also where it ends up in params.yaml; DVC would not know it there."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    whole = str(tmp_path / "home" / "clips")
    assert params.load(["data.videos=~/clips"], tmp_path / "params.yaml").data.videos == whole
    (tmp_path / "preset.yaml").write_text("retrieval: {used: 2}")
    params.apply(tmp_path / "preset.yaml", ["data.videos=~/clips"], tmp_path / "params.yaml")
    assert params.load([], tmp_path / "params.yaml").data.videos == whole
    (tmp_path / "preset.yaml").write_text("data: {videos: ~/clips}")
    with pytest.raises(SpectrumError, match=re.escape(f"data.videos: '~/clips': DVC does not know `~`; write the whole "
                                                      f"path, {whole}")):
        params.load([], tmp_path / "preset.yaml")
    with pytest.raises(SpectrumError, match="no-such-user"):
        params.load(["data.videos=~no-such-user/clips"], tmp_path / "params.yaml")


@pytest.mark.parametrize(("content", "message"), [
    (None, r"elsewhere: it is a folder; name the file of parameters in it, such as .*elsewhere/params\.yaml"),
    ("a: [", "not readable as YAML"), ("seed: " + "9" * 5000, "seed|YAML"), ("a: \x00", "not readable as YAML"),
])
def test_a_file_of_parameters_that_is_none(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "elsewhere"
    if content is None:
        path.mkdir()
    else:
        path.write_text(content)
    with pytest.raises(SpectrumError, match=message) as error:
        params.load([], path)
    assert "\n" not in str(error.value)
