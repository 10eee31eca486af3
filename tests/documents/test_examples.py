"""What the documents show works: Python examples, commands of feature stores, parameters, and quoted messages."""

import ast
import re
import shlex
import shutil
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from documents import DOCUMENTS, Block, blocks
from media_factory import clip
from project import ROOT
from typer.testing import CliRunner

from pipeline import params
from pipeline.common.files import fingerprint, write_jsonl
from pipeline.params.shipped import find_preset
from pipeline.store.__main__ import app as store_program
from pipeline.store.feature_store import FeatureStore
from pipeline.store.shard import Shard, Video, shard_name, shard_of, write_shard
from pipeline.store.store_file import write_store_file

STORES = "docs/store-format.md"
SHARDS = 4


def store(folder: Path, ids: list[str]) -> FeatureStore:
    """A store of up to four shards: three rows a video."""
    recipe = {"kind": "test"}
    generator = np.random.default_rng(0)
    counts = {}
    for number in sorted({shard_of(name, SHARDS) for name in ids}):
        videos = {name: Video(generator.normal(size=(3, 4)).astype(np.float16), np.arange(3) / 10, "0" * 64, 1.0)
                  for name in ids if shard_of(name, SHARDS) == number}
        write_shard(folder / shard_name(number), Shard.of(videos, np.empty((0, 4), np.float16)), fingerprint(recipe))
        counts[number] = (len(videos), 3 * len(videos))
    write_store_file(folder, "appearance", recipe, 4, counts, SHARDS, [])
    return FeatureStore.open(folder)


@pytest.mark.parametrize("heading", ["Read a store without our code", "Read a store with our code"])
def test_examples_read_a_store(heading: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = store(tmp_path / "features/mine/vit-b-32", ["party", *map(str, range(9))])
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    [block] = blocks(STORES, heading)
    exec(block.text, names)
    assert np.array_equal(names["rows"], made["party"]) and np.array_equal(names["times"], made.times("party"))
    if "read" in names:     # its own way to a video's shard
        assert all(np.array_equal(names["read"](video)[0], made[video]) for video in made.ids)


def test_the_example_of_the_decoder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clip(tmp_path / "party.mp4", 20)
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    [block] = [block for block in blocks("docs/decoding.md") if block.language == "python"]
    exec(block.text, names)
    assert (names["reading"].share, names["reading"].reason) == (1.0, "")


def test_the_commands_of_feature_stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an order in which each finds what it reads."""
    monkeypatch.chdir(tmp_path)
    made = store(Path("features/msvd/vit-b-32"), ["vid1", "vid2"])
    shutil.copytree("features/msvd/vit-b-32", "features/msvd/minilm")
    Path("names.txt").write_text("video0 vid1\nvideo1 vid2\n")
    write_jsonl(Path("data/msvd/videos.jsonl"), [{"id": name, "path": f"{name}.avi", "split": "train"}
                                                  for name in made.ids])
    program = "python -m pipeline.store "
    told = [command for block in blocks(STORES) for command in block.commands if command.startswith(program)]
    assert {command.split()[3] for command in told} == {"ls", "verify", "import", "export"}
    for command in sorted(told, key=lambda command: "import" in command):
        if "import" in command:
            shutil.copy("msvd_vit_b_32.hdf5", "MSVD_CLIP.hdf5")
        ended = CliRunner().invoke(store_program, shlex.split(command.removeprefix(program)))
        assert ended.exit_code == 0, f"{command}: {ended.output}"
    with h5py.File("msvd_vit_b_32.hdf5") as flat:
        assert np.array_equal(flat["vid1"], made["vid1"])
    assert set(np.load("msvd.npz")) == {"video0", "video1"}
    assert np.array_equal(FeatureStore.open(Path("features/msvd/clip"))["vid2"], made["vid2"])


def overriding() -> list[tuple[Block, str]]:
    """Commands that lay a preset over the parameters, or change some."""
    return [(block, command) for document in DOCUMENTS for block in blocks(document) for command in block.commands
            if re.search(r"pipeline\.params|\w=\S", command)]


@pytest.mark.parametrize("command", sorted({command for _, command in overriding()}))
def test_parameters_in_commands_exist(command: str, tmp_path: Path) -> None:
    words = shlex.split(command.partition("&&")[0])
    overrides = [word.rpartition(":")[2] if word.startswith("mine/params.yaml:") else word for word in words
                 if re.match(r"[a-z_./:]+=", word)]
    if "pipeline.params" in words:
        shutil.copy(ROOT / "params.yaml", tmp_path / "params.yaml")
        params.apply(find_preset(Path(words[3])), overrides, tmp_path / "params.yaml")
    else:
        params.load(overrides, ROOT / "params.yaml")


@pytest.mark.parametrize("block", [block for block in blocks(STORES) if block.text.startswith("encoders:")],
                         ids=lambda block: block.heading)
def test_parameters_in_blocks_exist(block: Block, tmp_path: Path) -> None:
    (tmp_path / "preset.yaml").write_text(block.text)
    shutil.copy(ROOT / "params.yaml", tmp_path / "params.yaml")
    params.apply(tmp_path / "preset.yaml", [], tmp_path / "params.yaml")


def source_texts() -> str:
    """Every text of the code, a line each; … stands for what is put into it."""
    found = []
    for path in (path for room in ("pipeline", "stages") for path in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append("".join(str(part.value) if isinstance(part, ast.Constant) else "…"
                                     for part in node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return "\n".join([*found, (ROOT / "Makefile").read_text(encoding="utf-8")])


def test_quoted_messages_are_those_of_the_code() -> None:
    texts = source_texts()
    rows = [line for line in (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8").splitlines()
            if line.startswith("| `") and " " in line.split("`")[1]]
    quoted = [message for row in rows for message in re.findall(r"`([^`]+)`", row.split(" | ")[0])]
    foreign = {"command not found: dvc", "No module named 'pipeline'", "Unable to acquire lock", "hf download",
               "dvc pull", "dvc repro"}
    for message in set(quoted) - foreign:
        for part in message.split("…"):
            assert part.strip(" ;:,.") in texts, f"{message}: no text of the code has {part!r}"
