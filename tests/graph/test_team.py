"""Several data sets and people: the commands of docs/sharing.md in clones of one repository, with a folder remote."""

import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from documents import blocks
from media_factory import clip
from test_graph import copy_of_the_project, ran

from pipeline import params
from pipeline.store.feature_store import FeatureStore

pytestmark = [pytest.mark.graph, pytest.mark.timeout(900)]

SMALL_SAMPLE = """
sample: {pretrain: 12, train: 12, validation: 2, test: 2, seconds: 0.5}
encoder: {epochs: 1, batch_size: 12}
"""
FAST = ["encoders.appearance.model=spectrum-sample", "encoders.appearance.weights=random",
        "encoders.appearance.num_frames=4", "encoders.audio.num_windows=4", "machine.decoder_processes=1",
        "retrieval.stored=4", "retrieval.used=2", "captioner.hidden_size=32", "captioner.num_heads=2",
        "captioner.feedforward_size=64", "captioner.embedded_attributes=5", "captioner.min_word_count=1",
        "training.epochs=1", "generation.num_beams=2", "extraction.allowed_failures=0.2"]
# The published set stands for one whose videos are not shared; its files are as small as our own.
PUBLISHED = [*FAST, "data.kind=folder", "data.videos=downloads/msvd/clips",
             "data.captions=captions.csv", "data.corpus=captions.csv"]
PART = "msvd/dvc.yaml:prepare msvd/dvc.yaml:extract@audio"      # of its graph, which is enough here
STORES = ("vit-b-32", "logmel")


def run(repository: Path, command: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
    """A command line in a clone whose own code runs, as after its own `make install`; Python leaves its caches."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(repository),
        "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
    for who in ("AUTHOR", "COMMITTER"):
        environment |= {f"GIT_{who}_NAME": "t", f"GIT_{who}_EMAIL": "t@t.invalid"}
    ended = subprocess.run(["bash", "-ec", command], cwd=repository, env=environment, capture_output=True, text=True,
                           check=False)
    assert (ended.returncode == 0) == ok, f"{command}: {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
    return ended


def documented(title: str) -> list[list[str]]:
    """The blocks of commands under a heading of docs/sharing.md."""
    found = blocks("docs/sharing.md", title)
    assert found, f"no commands under {title!r}"
    return [[line.strip() for line in block.text.splitlines()] for block in found]


def follow(repository: Path, commands: list[str], **changes: str) -> set[str]:
    """Runs documented commands, words replaced; the stages that DVC ran."""
    stages: set[str] = set()
    for command in commands:
        for old, new in changes.items():
            command = re.sub(rf"\b{old}\b", lambda _, new=new: new, command)
        stages |= ran(run(repository, command))
    return stages


def own_files(folder: Path) -> None:
    """Eight clips, one of them broken, one silent, with captions; and one clip without captions."""
    rows = ["video,caption,split"]
    for number, split in enumerate(["train"] * 4 + ["validation"] * 2 + ["test"] * 2):
        clip(folder / f"clips/my clip {number}.mp4", 10, first=number, sound=None if number == 1 else 440.0)
        rows += [f"my clip {number},a {word} picture of number {number},{split}" for word in ("happy", "sad")]
    (folder / "clips/my clip 0.mp4").write_bytes(b"broken")
    clip(folder / "clips/uncaptioned.mkv", 10)
    (folder / "captions.csv").write_text("\n".join(rows) + "\n")


@pytest.fixture(scope="session")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clone of the one who has the videos: the sample's encoder, an own and a published data set, all pushed."""
    root = tmp_path_factory.mktemp("team")
    first = copy_of_the_project(root / "first")
    run(first, "git init --quiet --bare --initial-branch main ../origin.git; git remote add origin ../origin.git; "
               "git branch -M main; git add .; git commit --quiet -m 'a copy'; git push --quiet -u origin main")
    follow(first, [line.replace("s3://our-bucket/spectrum", "../remote") for line in documented("Once")[0]])
    (root / "small.yaml").write_text(SMALL_SAMPLE)
    params.apply(root / "small.yaml", [], first / "params.yaml")
    assert ran(run(first, "dvc repro encoder")) == {"sample", "prepare", "encoder"}
    run(first, "git add .; git commit --quiet -m 'the sample'; dvc push encoder")

    lay_out, *others = documented("Your own videos, shared")[0]
    run(first, f"{lay_out} {' '.join(map(repr, FAST))}")
    own_files(first / "mine")
    stages = follow(first, others)
    assert len(stages) == 13 and {"code", "report"} <= stages

    lay_out, *others = documented("Without the videos")[1]
    run(first, f"{lay_out} {' '.join(map(repr, PUBLISHED))}")
    own_files(first / "msvd")
    (first / "msvd/downloads/msvd").mkdir(parents=True)
    (first / "msvd/clips").rename(first / "msvd/downloads/msvd/clips")
    follow(first, [line.replace("msvd/dvc.yaml", PART) for line in others])
    return first


def clone(first: Path, name: str) -> Path:
    run(first, f"git clone --quiet ../origin.git ../{name}")
    return first.with_name(name)


@pytest.fixture(scope="session")
def mate(first: Path) -> Path:
    """A clone into which everything of `mine` was pulled."""
    mate = clone(first, "mate")
    assert follow(mate, documented("Your own videos, shared")[1]) == set()
    return mate


@pytest.fixture(scope="session")
def blind(first: Path) -> Path:
    """A clone without any videos."""
    blind = clone(first, "blind")
    for name in ("mine", "msvd"):
        commands = [line.replace("msvd/dvc.yaml", PART) for line in (
            line.replace("mine", name) for line in documented("Without the videos")[0])]
        assert follow(blind, commands) == set()
    return blind


def files_below(folder: Path) -> dict[str, bytes]:
    """Name and content; the locks of running stages are no results."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*"))
            if path.is_file() and path.suffix != ".lock"}


def stale(status: str) -> set[str]:
    return {line.removesuffix(":").rpartition(":")[2] for line in status.splitlines() if line[:1].strip()}


def test_two_commands_go_from_clips_and_captions_to_the_page(first: Path) -> None:
    """`stages.new` and `dvc repro`, with one clip broken, one without captions, one silent."""
    reports = first / "mine/reports/mine"
    metrics = json.loads((reports / "metrics.json").read_text())
    assert (metrics["videos"], metrics["untrained"]) == (2, True)
    captioned = [json.loads(line)["video_id"] for line in (reports / "predictions.jsonl").read_text().splitlines()]
    assert captioned == ["my clip 6", "my clip 7", "uncaptioned"]
    trained = json.loads((reports / "stages/train-captioner.json").read_text())
    assert trained["left_out"] == {"without_frames": 1, "without_sound": 1, "without_motion": 0}
    assert "untrained weights" in (reports / "index.html").read_text()


def test_after_a_pull_there_is_nothing_to_do(first: Path, mate: Path) -> None:
    assert "up to date" in run(mate, "dvc status -R mine").stdout
    assert run(mate, "git status --porcelain").stdout == ""
    for room in ("clips", "data", "features", "indexes", "models"):
        ours = files_below(mate / "mine" / room)
        assert ours and ours.items() <= files_below(first / "mine" / room).items()


def test_who_has_no_videos_computes_and_loses_nothing(blind: Path) -> None:
    assert not (blind / "mine/clips").exists() and not (blind / "msvd/downloads").exists()
    assert (blind / "mine/reports/mine/index.html").is_file() and (blind / "msvd/data/msvd/videos.jsonl").is_file()
    before = files_below(blind / "mine") | files_below(blind / "msvd")
    for name in ("mine", "msvd"):
        refused = run(blind, f"dvc repro {name}/dvc.yaml", ok=False)
        assert {"mine": "mine/clips", "msvd": "downloads/msvd/clips"}[name] in refused.stderr
    assert files_below(blind / "mine") | files_below(blind / "msvd") == before


def test_queued_experiments_run_without_the_videos(blind: Path) -> None:
    queue, start, show = documented("Experiments")[0]
    run(blind, queue)
    assert ran(run(blind, start)) == {"evaluate", "report"}
    assert "Success" in run(blind, f"{show} --csv").stdout


def test_collecting_garbage_keeps_every_data_set(first: Path) -> None:
    rooms = [first / "models/sample/encoder", first / "mine/features", first / "msvd/features/msvd/logmel"]
    before = [files_below(room) for room in rooms]
    assert all(before)
    run(first, f"{documented('Making room')[0][0]} --force")
    run(first, "rm -r models/sample/encoder mine/features msvd/features; dvc checkout encoder; "
               f"dvc checkout -R mine; dvc checkout {PART}")
    assert [files_below(room) for room in rooms] == before


def test_a_damaged_store_comes_back_from_the_cache(first: Path) -> None:
    look, restore, again = documented("When a store is damaged")[0]
    store = first / "mine/features/mine/vit-b-32"
    before, damaged = files_below(store), min(store.glob("shard-*.h5"))
    whole = damaged.read_bytes()
    damaged.unlink()        # the cache may be linked
    damaged.write_bytes(whole[:-1])
    assert damaged.name in run(first, look, ok=False).stdout
    run(first, restore)
    assert "whole" in run(first, again).stdout and files_below(store) == before


def test_changed_code_makes_the_stages_stale_that_it_changes(mate: Path) -> None:
    edited, code = mate / "pipeline/metrics/emotions.py", mate / "mine/code.json"
    source, digests = edited.read_text(), code.read_text()
    edited.write_text(source + "# edited\n")
    run(mate, "dvc repro mine/dvc.yaml:code")
    changed = {name for name, digest in json.loads(digests).items() if json.loads(code.read_text())[name] != digest}
    assert changed >= {"train", "evaluate"} and not changed & {"prepare", "extract", "index"}
    noticed = stale(run(mate, "dvc status mine/dvc.yaml").stdout)
    assert noticed >= {"train@captioner", "train@baseline", "evaluate"}
    assert not noticed & {"prepare", "extract-appearance", "index"}
    edited.write_text(source)
    refused = run(mate, "cd mine && python -m stages.evaluate", ok=False)      # code.json tells of the edited code
    assert "it was written for other code than that in" in refused.stderr and "Traceback" not in refused.stderr
    run(mate, "dvc repro mine/dvc.yaml:code")
    assert code.read_text() == digests


def test_a_graph_of_another_version_is_noticed_and_mended(mate: Path) -> None:
    graph, parameters = mate / "mine/dvc.yaml", mate / "mine/params.yaml"
    before = graph.read_text(), parameters.read_text()
    graph.write_text(before[0].replace("      - models/${dataset}/encoder\n", "", 1))
    parameters.write_text(re.sub("  allowed_failures.*\n", "", before[1]).replace("num_beams: 2", "num_beams: 7"))
    refused = run(mate, "cd mine && python -m stages.code", ok=False)
    assert "it is the graph of another version of the program" in refused.stderr
    run(mate, "python -m stages.new --update mine")
    assert graph.read_text() == before[0]
    renewed = params.load([], parameters)
    assert (renewed.generation.num_beams, renewed.extraction.allowed_failures) == (7, 0.0)
    run(mate, "cd mine && python -m stages.code && git checkout --quiet dvc.yaml params.yaml code.json")


def test_one_video_more_is_one_video_encoded_and_few_shards_pushed(first: Path, mate: Path) -> None:
    remote = first.parent / "remote"
    before = set(files_below(remote))
    clip(mate / "mine/clips/my clip 8.mp4", 10, first=8, sound=440.0)
    with (mate / "mine/captions.csv").open("a") as file:
        file.write("my clip 8,a happy picture of number 8,train\n")
    # the stages that decode; what follows them reads stores
    follow(mate, [line.replace("dvc repro mine/dvc.yaml", "dvc repro mine/dvc.yaml:extract-appearance "
                               "mine/dvc.yaml:extract@audio") for line in documented("One video more")[0]])
    pushed = {Path(name).parent.name + Path(name).name for name in set(files_below(remote)) - before}
    for store, part in zip(STORES, ("appearance", "audio"), strict=True):
        summary = json.loads((mate / f"mine/reports/mine/stages/extract-{part}.json").read_text())
        made = FeatureStore.open(mate / "mine/features/mine" / store)
        assert "my clip 8" in made.ids
        assert (summary["videos"] - summary["reused"], summary["frames"]) == (1, 4)
        shards = [path for path in made.folder.rglob("*.h5") if hashlib.md5(path.read_bytes()).hexdigest() in pushed]
        assert 1 <= len(shards) <= 2
    assert follow(first, ["git pull --quiet", "dvc pull -R mine/clips.dvc mine/dvc.yaml:extract-appearance"]) == set()
    assert "my clip 8" in FeatureStore.open(first / "mine/features/mine" / STORES[0]).ids
