"""The graph itself: real DVC runs of a tiny sample world in a copy of the project."""

import json
import math
import os
import re
import runpy
import shutil
import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pytest
from media_factory import clip
from project import ROOT
from ruamel.yaml import YAML

from pipeline import params
from pipeline.common.terminal import Output
from pipeline.datasets.manifest import Manifest
from pipeline.retrieval.candidates import Candidates
from pipeline.retrieval.index import model_id, open_index
from pipeline.retrieval.sentences import sentence_key
from pipeline.store.feature_store import FeatureStore

pytestmark = [pytest.mark.graph, pytest.mark.timeout(600)]

TINY = """
sample: {pretrain: 12, train: 24, validation: 6, test: 8}
machine: {decoder_processes: 2}
encoder: {epochs: 2, batch_size: 12}
extraction: {num_shards: 4}
retrieval: {stored: 10, used: 5}
captioner: {hidden_size: 32, num_heads: 2, feedforward_size: 64, embedded_attributes: 5, min_word_count: 1}
training: {epochs: 2}
generation: {num_beams: 2}
"""
STAGES = {"sample", "prepare", "encoder", "extract-appearance", "extract@audio", "extract@motion", "index", "retrieve",
          "emotion", "train@captioner", "train@baseline", "evaluate", "report"}


def run(project: Path, *command: str, ok: bool = True) -> subprocess.CompletedProcess[str]:
    """A command in the copy, as a user types it; the environment's `python` and `dvc` come first.

    The code that runs is the installed one, by a safe path: DVC watches the copy's, coverage the original.
    """
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
                                "COLUMNS": "200", "OMP_NUM_THREADS": "1", "PYTHONSAFEPATH": "1"}
    ended = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode == 0) == ok, f"{command}: {ended.returncode}\n{ended.stdout}\n{ended.stderr}"
    return ended


def ran(ended: subprocess.CompletedProcess[str]) -> set[str]:
    """The stages that `dvc repro` ran."""
    return {line.split("'")[1].rpartition(":")[2] for line in ended.stdout.splitlines()
            if line.startswith("Running stage '")}


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A copy of the project whose graph was run once on a tiny world."""
    copy = copy_of_the_project(tmp_path_factory.mktemp("graph") / "project")
    (copy / "tiny.yaml").write_text(TINY)
    params.apply(copy / "tiny.yaml", [], copy / "params.yaml")
    run(copy, "git", "add", ".")
    run(copy, "git", "-c", "user.name=t", "-c", "user.email=t@t.invalid", "commit", "--quiet", "--message", "a copy")
    first = run(copy, "dvc", "repro")
    assert ran(first) == STAGES
    yield copy


def copy_of_the_project(copy: Path) -> Path:
    """What the graph needs of the project, in a repository of its own."""
    copy.mkdir()
    for name in ("pipeline", "stages", "presets", "sample/dvc.yaml", "dvc.yaml", "params.yaml", ".gitignore",
                 ".dvcignore"):
        source = ROOT / name
        (copy / name).parent.mkdir(exist_ok=True)
        (shutil.copytree if source.is_dir() else shutil.copy)(source, copy / name)
    run(copy, "git", "init", "--quiet")
    run(copy, "dvc", "init", "--quiet")
    run(copy, "dvc", "config", "core.analytics", "false")
    return copy


def test_a_second_run_does_nothing(project: Path) -> None:
    again = run(project, "dvc", "repro")
    assert ran(again) == set()
    assert "up to date" in again.stdout


def test_metrics_are_what_others_rely_on(project: Path) -> None:
    metrics = json.loads((project / "reports/sample/metrics.json").read_text())
    captions = {"Bleu_1", "Bleu_2", "Bleu_3", "Bleu_4", "METEOR", "ROUGE_L", "CIDEr"}
    emotions = {"acc_sw", "acc_c", "bfs", "cfs", "balanced_accuracy", "macro_f1"}
    lines = metrics["reference_lines"]
    assert set(lines) == {"constant_word", "nearest_caption", "consensus_caption", "human"}
    for block in (metrics, metrics["baseline"], *lines.values()):
        assert set(block["coco"]) == set(block["evc"]) == captions
        assert set(block["emotion"]) == emotions
    assert set(metrics["retrieval"]["text_to_video"]) == {"r1", "r5", "r10", "median_rank"}
    assert {split: scores["videos"] for split, scores in metrics["retrieval"]["candidates"].items()} == \
        {split: len(Manifest.load(project / "data/sample").ids(split)) for split in ("train", "validation", "test")}
    assert set(metrics["retrieval"]["references_in_corpus"]) == {"validation", "test"}
    assert metrics["videos"] == 8
    assert set(metrics["protocols"]) == {"coco", "evc", "emotion"}
    assert metrics["untrained"] is False
    numbers = [value for block in (metrics, *lines.values()) for part in ("coco", "evc", "emotion")
               for value in block[part].values()]
    assert all(isinstance(value, float) and math.isfinite(value) for value in numbers)
    assert lines["human"]["coco"]["CIDEr"] > 0.1


def test_predictions_cover_the_test_split(project: Path) -> None:
    rows = [json.loads(line) for line in (project / "reports/sample/predictions.jsonl").read_text().splitlines()]
    manifest = Manifest.load(project / "data/sample")
    assert [row["video_id"] for row in rows] == manifest.ids("test")
    for row in rows:
        assert set(row) == {"video_id", "caption", "score", "likeliest", "beams", "emotions", "attributes",
                            "candidates", "scores", "prior", "baseline", "attention"}
        assert row["beams"][0]["caption"] == row["caption"]
        assert row["likeliest"] in [beam["caption"] for beam in row["beams"]]
        assert set(row["scores"]) == {"CIDEr (coco)", "CIDEr (evc)", "right_emotions", "wrong_emotions"}
        assert len(row["candidates"]) == 5
        assert [p["probability"] for p in row["emotions"]] == \
            sorted((p["probability"] for p in row["emotions"]), reverse=True)


def test_no_video_has_a_sentence_that_it_alone_owns_among_its_candidates(project: Path) -> None:
    captions = open_index(project / "indexes/sample/sample-clip", opened_recipe(project))
    candidates = Candidates.read(project / "indexes/sample/candidates.h5")
    manifest = Manifest.load(project / "data/sample")
    for video, rows in zip(candidates.ids, candidates.rows, strict=True):
        found = {sentence_key(captions.texts[row]) for row in rows}
        assert len(found) == len(rows)
        of_others = {sentence_key(caption.text) for caption in manifest.corpus if caption.video_id != video}
        assert found <= of_others


def test_videos_of_pretrain_train_the_encoder_and_are_nowhere_else(project: Path) -> None:
    manifest = Manifest.load(project / "data/sample")
    pretrained = manifest.ids("pretrain")
    inputs = json.loads((project / "data/sample/encoder-inputs.json").read_text())
    assert [video["id"] for video in inputs["videos"]] == pretrained and len(pretrained) == 12
    assert json.loads((project / "reports/sample/stages/encoder.json").read_text())["videos"] == 12
    for store in ("sample-clip", "logmel"):
        opened = FeatureStore.open(project / "features/sample" / store)
        assert not {*opened.ids, *opened.failures} & set(pretrained)
    assert not {caption.video_id for caption in manifest.corpus} & set(pretrained)
    assert not set(Candidates.read(project / "indexes/sample/candidates.h5").ids) & set(pretrained)
    index = open_index(project / "indexes/sample/sample-clip", opened_recipe(project))
    assert not {owner for owners in index.owners for owner in owners} & set(pretrained)
    assert set(json.loads((project / "indexes/sample/retrieval.json").read_text())["candidates"]) == \
        {"train", "validation", "test"}
    for made in ("predictions.jsonl", "index.html"):
        assert "pretrain-0" not in (project / "reports/sample" / made).read_text()


def opened_recipe(project: Path) -> str:
    return model_id(FeatureStore.open(project / "features/sample/sample-clip").recipe)


def test_the_stores_are_whole(project: Path) -> None:
    for store in ("sample-clip", "logmel"):
        ended = run(project, sys.executable, "-m", "pipeline.store", "verify", f"features/sample/{store}")
        assert ended.returncode == 0
        assert len(FeatureStore.open(project / "features/sample" / store)) == 38


def test_the_page_shows_every_test_video(project: Path) -> None:
    class Text(HTMLParser):
        text = ""

        def handle_data(self, data: str) -> None:
            self.text += data

    page = Text()
    page.feed((project / "reports/sample/index.html").read_text())
    for line in (project / "reports/sample/predictions.jsonl").read_text().splitlines():
        assert json.loads(line)["video_id"] in page.text


def test_what_describes_the_machine_makes_no_stage_stale(project: Path) -> None:
    before = (project / "params.yaml").read_text()
    others = {"device": "cpu", "decoder_processes": 1, "decoding_timeout": 99.0, "scoring_timeout": 99.0,
              "buffer_megabytes": 99, "resident_megabytes": 99, "save_interval": 1.0, "search_batch_size": 7}
    assert set(others) == set(params.Machine.model_fields)
    (project / "other.yaml").write_text(json.dumps({"machine": others, "cluster": {"workers": 3, "retries": 1}}))
    changed = params.apply(project / "other.yaml", [], project / "params.yaml")
    assert changed.machine.model_dump() == others
    assert "up to date" in run(project, "dvc", "status").stdout
    (project / "params.yaml").write_text(before)


def test_a_stage_run_by_hand_leaves_nothing_changed(project: Path) -> None:
    for stage in ("prepare", "extract", "retrieve", "evaluate", "report"):
        run(project, sys.executable, "-m", f"stages.{stage}")
    assert "up to date" in run(project, "dvc", "status").stdout


def test_generation_is_the_business_of_evaluate_and_report(project: Path) -> None:
    before = (project / "params.yaml").read_text()
    (project / "other.yaml").write_text("generation: {num_beams: 3}\n")
    params.apply(project / "other.yaml", [], project / "params.yaml")
    stale = {line.removesuffix(":") for line in run(project, "dvc", "status").stdout.splitlines() if line[:1].strip()}
    assert stale == {"evaluate", "report"}
    (project / "params.yaml").write_text(before)


EDITS = {
    "pipeline/common/text.py": STAGES - {"sample"},
    "pipeline/store/feature_store.py": {"retrieve", "train@captioner", "train@baseline", "evaluate", "report"},
    "pipeline/metrics/emotions.py": {"train@captioner", "train@baseline", "evaluate"},
    "pipeline/encoders/text_encoder.py": {"index", "retrieve", "emotion", "train@captioner", "train@baseline"},
}


def test_an_edit_is_noticed_by_the_stages_that_it_can_change(project: Path) -> None:
    """Four edits that `dvc status` once did not notice, or showed at the wrong stages; all at once, by file."""
    before = {name: (project / name).read_text() for name in EDITS}
    for name, text in before.items():
        (project / name).write_text(text + "# edited\n")
    stage, noticed = "", {name: set[str]() for name in EDITS}
    for line in run(project, "dvc", "status").stdout.splitlines():
        if line[:1].strip():
            stage = line.removesuffix(":").rpartition(":")[2]
        for name in EDITS:
            listed = line.rpartition(" ")[2]
            if name == listed or name.startswith(f"{listed}/"):
                noticed[name].add(stage)
    for name, text in before.items():
        (project / name).write_text(text)
    for name, stale in EDITS.items():
        assert noticed[name] >= stale, f"{name}: {sorted(stale - noticed[name])} did not notice"
    assert not noticed["pipeline/metrics/emotions.py"] & {"index", "retrieve", "extract-appearance", "encoder"}
    assert not noticed["pipeline/encoders/text_encoder.py"] & {"prepare", "report", "evaluate"}


def test_inputs_inside_outs_are_refused_before_anything_is_removed(project: Path) -> None:
    mine = project / "data" / "mine" / "clips"
    mine.mkdir(parents=True)
    (mine / "a.mp4").write_bytes(b"irreplaceable")
    before = (project / "params.yaml").read_text()
    (project / "other.yaml").write_text(
        "dataset: mine\ndata: {videos: data/mine/clips, captions: sample/captions.jsonl}\n")
    params.apply(project / "other.yaml", [], project / "params.yaml")
    refused = run(project, "dvc", "repro", ok=False)
    direct = run(project, sys.executable, "-m", "stages.prepare", ok=False)
    (project / "params.yaml").write_text(before)
    assert (mine / "a.mp4").read_bytes() == b"irreplaceable", refused.stderr
    assert "data.videos" in direct.stderr and "would remove your files" in direct.stderr
    shutil.rmtree(mine.parent)


def test_deleting_the_indexes_rebuilds_only_what_hangs_on_them(project: Path) -> None:
    before = (project / "indexes/sample/candidates.h5").read_bytes()
    shutil.rmtree(project / "indexes")
    again = run(project, "dvc", "repro")
    fetched = {line.split("'")[1] for line in again.stdout.splitlines() if "is cached - skipping run" in line}
    assert fetched | ran(again) == {"index", "retrieve"}    # the same bytes come out, so nothing behind them is stale
    assert (project / "indexes/sample/candidates.h5").read_bytes() == before
    # and without DVC's cache, by the stages themselves
    shutil.rmtree(project / "indexes")
    run(project, sys.executable, "-m", "stages.index")
    run(project, sys.executable, "-m", "stages.retrieve")
    assert ran(run(project, "dvc", "repro")) == set()


def test_an_override_of_one_stage_runs_it_alone(project: Path) -> None:
    before = (project / "indexes/sample/candidates.h5").read_bytes()
    ended = run(project, sys.executable, "-m", "stages.emotion", "emotion.estimators=[lexicon]")
    fitted = json.loads((project / "reports/sample/stages/emotion.json").read_text())["fitted"]
    assert set(fitted["weights"]) == {"lexicon"}
    assert re.search(r"^emotion: estimated the emotions of \d+ captions and 38 videos \(\d+\.\d s\)$", ended.stdout,
                     re.MULTILINE)
    assert "differs from params.yaml in emotion.estimators ([" in ended.stderr
    assert "dvc repro emotion" in ended.stderr
    assert (project / "indexes/sample/candidates.h5").read_bytes() == before
    # the captioner was trained on the other emotions: mixing is refused in a sentence
    refused = run(project, sys.executable, "-m", "stages.evaluate", ok=False)
    assert refused.stderr.strip().count("\n") == 0 and "was trained on emotion of recipe" in refused.stderr
    run(project, sys.executable, "-m", "stages.emotion")
    run(project, sys.executable, "-m", "stages.evaluate")


def test_own_clips_are_captioned_with_and_without_sound(project: Path, tmp_path: Path) -> None:
    loud, silent = tmp_path / "a b'c.mp4", tmp_path / "-silent.mp4"
    clip(loud, 10, sound=440.0)
    clip(silent, 10)
    ended = run(project, sys.executable, "-m", "stages.caption", "--json", "--", str(loud), str(silent))
    rows = [json.loads(line) for line in ended.stdout.splitlines()]
    assert [row["video_id"] for row in rows] == [str(loud), str(silent)]
    assert all(row["caption"] and len(row["candidates"]) == 5 for row in rows)

    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    ended = run(project, sys.executable, "-m", "stages.caption", str(broken), str(loud), ok=False)
    assert ended.returncode == 1 and "broken.mp4" in ended.stderr
    assert "candidates" in ended.stdout.splitlines()[-2]
    assert ended.stdout.splitlines()[-1] == "trained on 24 videos with 144 captions of data set 'sample'"


def test_every_output_of_own_clips_says_what_the_captioner_was_trained_on(
        project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    film, out = clip(tmp_path / "clips/film.mp4", 90, hold=30, sound=440.0), tmp_path / "out"
    (tmp_path / "list.txt").write_text(f"# a film\n{film}\n\nsample/clips/test-0001.mp4\n")
    assert in_process(project, monkeypatch, "stages.caption", str(film.parent), f"@{tmp_path}/list.txt", "none.mp4",
                      "sample/captions.jsonl", "generation.num_beams=1", "--srt", "--vtt", "--json", "--out", str(out),
                      "--html", str(out / "page.html")) == 1
    printed = capsys.readouterr()
    errors = [line for line in printed.err.splitlines() if line.startswith("error:")]
    assert len(errors) == 2 and "none.mp4: no such file" in errors[0] and "captions.jsonl: no video" in errors[1]
    rows = [json.loads(line) for line in (out / "captions.jsonl").read_text().splitlines()]
    assert [(row["start"], row["end"]) for row in rows[:3]] == [(0, 3), (3, 6), (6, 9)]
    assert [Path(row["video_id"]).name for row in rows] == ["film.mp4"] * 3 + ["test-0001.mp4"]
    assert all(sum(not beam["retrieved"] for beam in row["beams"]) == 1 for row in rows)
    trained_on, text = rows[0]["trained_on"], "24 videos with 144 captions of data set 'sample'"
    assert trained_on == {"dataset": "sample", "videos": 24, "captions": 144}
    far = sum(row["unlike_training"] for row in rows)
    assert all(row["unlike_training"] == (row["distance"] > row["usual_distance"]) for row in rows)
    assert f"trained on {text}" in printed.out and (f"{far} of 4 scenes lie far" in printed.err) == bool(far)
    page = (out / "page.html").read_text()
    cards = json.loads(re.findall(r'id="cards">(.*?)</script>', page, re.S)[0])["cards"]
    assert text.replace("'", "&#39;") in page and sum(bool(card["note"]) for card in cards) == far
    assert [len(card["frames"]) for card in cards] == [8] * 4 and cards[1]["frames"][0][0] >= 3
    srt, vtt = (out / "film.srt").read_text(), (out / "film.vtt").read_text()
    assert text in srt and text in vtt and vtt.startswith("WEBVTT\n")
    assert srt.count("(unlike the training clips)") == sum(row["unlike_training"] for row in rows[:3])
    assert "00:00:03,000 --> 00:00:06,000" in srt and "00:00:06.000 --> 00:00:09.000" in vtt


def test_wrong_videos_are_named_before_a_model_is_loaded(project: Path, monkeypatch: pytest.MonkeyPatch,
                                                         capsys: pytest.CaptureFixture[str]) -> None:
    from pipeline.captioning import loading

    monkeypatch.setattr(loading, "open_captioner", lambda *_: pytest.fail("it was loaded"))
    assert in_process(project, monkeypatch, "stages.caption", "a.mp4", "data/*.mp4", "sample/captions.jsonl") == 1
    assert capsys.readouterr().err.count("error:") == 3


def test_an_interrupted_captioning_says_how_to_go_on(project: Path, monkeypatch: pytest.MonkeyPatch,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    from pipeline.captioning.clips import ClipCaptioner

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(ClipCaptioner, "caption", interrupt)
    assert in_process(project, monkeypatch, "stages.caption", "sample/clips/test-0001.mp4") == 130
    assert "interrupted; run it again for the rest" in capsys.readouterr().err


def test_a_stage_can_be_quiet_or_speak_json(project: Path, monkeypatch: pytest.MonkeyPatch,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    try:
        with pytest.MonkeyPatch.context() as patch:
            assert in_process(project, patch, "stages.retrieve", "--quiet") == 0
        assert capsys.readouterr() == ("", "")
        assert in_process(project, monkeypatch, "stages.retrieve", "--log-format", "json") == 0
        printed = capsys.readouterr()
        said, progress = (json.loads(text) for text in printed)
        assert said["level"] == "info" and said["message"].startswith("retrieve: found ")
        assert (progress["level"], progress["unit"]) == ("progress", "steps")
        with pytest.MonkeyPatch.context() as patch:
            assert in_process(project, patch, "stages.index", "--log-format", "json", "sede=1") == 1
        assert json.loads(capsys.readouterr().err)["message"].endswith("did you mean seed?")
    finally:
        Output.quiet = Output.as_json = False


def test_dvc_shows_ten_numbers_and_the_last_lines_say_where_to_look(
        project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    graph = YAML(typ="safe").load((project / "dvc.yaml").read_text())
    listed = [path for stage in graph["stages"].values() for path in stage.get("do", stage).get("metrics", [])]
    assert listed == ["reports/${dataset}/scores.json"]
    scores = json.loads((project / "reports/sample/scores.json").read_text())
    metrics = json.loads((project / "reports/sample/metrics.json").read_text())
    assert len(scores) == 10 and scores["CIDEr"] == round(metrics["coco"]["CIDEr"], 4)
    assert scores["baseline_CFS"] == round(metrics["baseline"]["emotion"]["cfs"], 4)
    loss, validation = (part["y"] for plot in graph["plots"] for part in plot.values())
    assert set(loss.values()) == {"loss"} and "loss" not in next(iter(validation.values()))
    assert in_process(project, monkeypatch, "stages.results") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5 and "reports/sample/index.html" in lines[0] and lines[1].count(", ") == 5


def test_a_clip_of_the_data_set_gets_the_caption_that_the_graph_gave_it(project: Path) -> None:
    row = json.loads((project / "reports/sample/predictions.jsonl").read_text().splitlines()[0])
    path = f"sample/clips/{row['video_id']}.mp4"
    own = json.loads(run(project, sys.executable, "-m", "stages.caption", "--json", path).stdout)
    assert own["caption"] == row["caption"]
    assert [c["text"] for c in own["candidates"]] == [c["text"] for c in row["candidates"]]


def in_process(project: Path, monkeypatch: pytest.MonkeyPatch, module: str, *arguments: str) -> int:
    """The exit status of `python -m module …` in the copy, run by this process, which has torch already."""
    monkeypatch.chdir(project)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    monkeypatch.delitem(sys.modules, module, raising=False)     # runpy warns of one that was imported
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    return int(ended.value.code or 0)


@pytest.mark.parametrize("stage", ["sample", "prepare", "encoder", "extract", "index", "retrieve", "emotion", "train",
                                   "evaluate", "report", "caption", "ablate", "clean", "new", "code", "results",
                                   "model", "tables", "studio"])
def test_every_stage_explains_itself(project: Path, stage: str, monkeypatch: pytest.MonkeyPatch,
                             capsys: pytest.CaptureFixture[str]) -> None:
    assert in_process(project, monkeypatch, f"stages.{stage}", "--help") == 0
    assert f"python -m stages.{stage}" in capsys.readouterr().out


@pytest.mark.parametrize(("command", "status", "expected"), [
    (["stages.train", "captioner.widht=1"], 1, "captioner.widht: no such parameter"),
    (["stages.train", "--only", "teacher"], 2, "none of captioner, baseline"),
    (["stages.index", "dataset=none"], 1, "no such file"),
    (["stages.encoder", "encoders.appearance.model=ViT-B-16", "encoders.appearance.weights=openai"], 1, "ViT-B-16"),
    (["stages.caption"], 2, "name at least one video"),
    (["pipeline.params", "none.yaml"], 1, "no such file"),
])
def test_stages_fail_in_a_sentence(project: Path, command: list[str], status: int, expected: str,
                                   monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert in_process(project, monkeypatch, *command) == status
    printed = capsys.readouterr().err
    assert expected in printed and "Traceback" not in printed
