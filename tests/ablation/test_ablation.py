"""The ablation: its rows, what is trained once, killed and continued, and what is told of it."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from captioner_stage import params_file, use_world
from captioner_world import BEAM, TAXONOMY, as_split, world
from captioner_world import SECTION as WORLD_SECTION
from captioner_world import TRAINING as WORLD_TRAINING

from pipeline import params
from pipeline.ablation import run as ablation
from pipeline.ablation.comparison import compare, kendall, without_rerankers
from pipeline.ablation.results import Result
from pipeline.ablation.rows import BASELINE, FULL, PAPER_SCORES, PAPER_SET, ROWS, SCORES, Row
from pipeline.ablation.run import AblationData, RowListeners, RowTrainer, TestVideos, train_rows
from pipeline.ablation.table import markdown
from pipeline.captioner.generation.captions import Caption
from pipeline.captioner.inputs import Inputs
from pipeline.captioner.splits import Split
from pipeline.captioner.trained import Epoch, TrainedCaptioner
from pipeline.captioner.training.settings import TrainingSettings
from pipeline.common.files import read_json, write_json
from pipeline.metrics.evaluation import EMOTION_METRICS
from pipeline.metrics.paired_bootstrap import VideoScores
from pipeline.params import load
from pipeline.report.ablation_page import render
from pipeline.workers.engine import Alone
from stages import ablate

SECTION = params.Captioner.model_validate(WORLD_SECTION.model_dump() | {
    "modalities": ("appearance", "audio", "text"), "hidden_size": 16, "feedforward_size": 32, "min_word_count": 1,
    "universal_words": 20, "embedded_attributes": 4, "max_words": 8})
TRAINING = WORLD_TRAINING.model_copy(update={"epochs": 1, "videos_per_batch": 6})
GENERATION = BEAM.model_copy(update={"num_beams": 2})
CPU = torch.device("cpu")

Blocks = dict[str, dict[str, dict[str, float | None]]]


def world_splits(silent: bool = False) -> tuple[dict[str, Inputs], dict[str, list[str]]]:
    """Inputs by split, and the captions of all of them."""
    captions: dict[str, list[str]] = {}
    splits: dict[str, Inputs] = {}
    for seed, (split, videos) in enumerate({"train": 12, "validation": 4, "test": 5}.items(), start=1):
        splits[split], own = world(videos, seed=seed, silent=videos if silent else 0)
        captions |= own
    return splits, captions


def world_data(silent: bool = False) -> AblationData:
    splits, captions = world_splits(silent)
    return AblationData(as_split(splits["train"], captions), as_split(splits["validation"], captions),
                        TestVideos(splits["test"]))


def test_a_row_without_sound_does_not_hear_it_through_its_prior() -> None:
    data = world_data()
    asked = []

    def priors(ids: Sequence[str], modalities: Sequence[str]) -> tuple[torch.Tensor, torch.Tensor]:
        asked.append((ids, modalities))
        words, categories = data.test.inputs.prior_words.shape[1], data.test.inputs.prior_categories.shape[1]
        level = 0.25 if "audio" in modalities else 0.75
        return torch.full((len(ids), categories), level), torch.full((len(ids), words), level)

    own = replace(data, priors=priors).read_by(ROWS[4].of(SECTION))
    assert ROWS[4].name == "no audio" and set(asked[0][1]) == {"appearance", "text"}
    for inputs in (own.train.inputs, own.validation.inputs, own.test.inputs):
        assert (inputs.prior_categories == 0.75).all() and (inputs.prior_words == 0.75).all()
    assert [ids for ids, _ in asked] == [data.train.inputs.ids, data.validation.inputs.ids, data.test.inputs.ids]
    assert data.read_by(SECTION) is data


def settings_of(training: params.Training = TRAINING, section: params.Captioner = SECTION,
                generation: params.Generation = GENERATION) -> TrainingSettings:
    return TrainingSettings(section, training, generation, TAXONOMY)


def train_all(data: AblationData, settings: TrainingSettings, seeds: range, folder: Path, rows: Sequence[Row] = ROWS,
              listeners: RowListeners = RowListeners()) -> list[Result]:
    task = Alone().begin(lambda: RowTrainer(data, settings, CPU, folder))
    return train_rows(task, folder, seeds, settings.training.all_epochs, rows, listeners)


def run_rows(folder: Path, data: AblationData, seeds: range = range(2), training: params.Training = TRAINING,
             ) -> tuple[list[Result], list[tuple[str, Epoch]]]:
    """The results, and what the listener of epochs heard."""
    epochs: list[tuple[str, Epoch]] = []
    results = train_all(data, settings_of(training), seeds, folder,
                        listeners=RowListeners(on_epoch=lambda row, epoch: epochs.append((row, epoch))))
    return results, epochs


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[params.Captioner]:
    """The sections of all trainings from now on."""
    sections: list[params.Captioner] = []
    train = ablation.train

    def counted(one: Split, other: Split, settings: TrainingSettings, *more: object) -> TrainedCaptioner:
        sections.append(settings.captioner)
        return train(one, other, settings, *more)       # type: ignore[arg-type]

    monkeypatch.setattr(ablation, "train", counted)
    return sections


def test_the_rows_are_the_papers_and_a_baseline_that_reads_everything() -> None:
    section = SECTION.model_copy(update={"decoder_modalities": ("appearance", "text")})
    sections = {row.name: row.of(section) for row in ROWS}
    assert list(sections) == ["full", "CFB only", "AEB only", "no text", "no audio", "visual only", "baseline",
                              "visual baseline"]
    assert sections["full"] == section
    assert [(s.vtai, s.cfb, s.aeb) for s in sections.values()] == [
        (True, True, True), (True, True, False), (True, False, True), *[(True, True, True)] * 3,
        *[(False, False, False)] * 2]
    assert sections["no text"].modalities == ("appearance", "audio") and sections["no text"].decoder_modalities == (
        "appearance",)
    assert sections["no audio"].modalities == ("appearance", "text")
    assert sections["visual only"].modalities == ("appearance",)
    assert sections["baseline"].modalities == section.modalities
    assert sections["visual baseline"].modalities == ("appearance",)
    assert dict(zip(PAPER_SCORES, ROWS[-1].paper, strict=True))["CFS"] == 44.1
    assert all(len(row.paper) == 8 for row in ROWS if row is not BASELINE) and not BASELINE.paper


def test_what_is_done_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                        trained: list[params.Captioner]) -> None:
    data, train = world_data(), ablation.train

    def dies(*args: object) -> TrainedCaptioner:
        if len(trained) == 4:
            raise KeyboardInterrupt
        return train(*args)    # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(ablation, "train", dies)
        with pytest.raises(KeyboardInterrupt):
            run_rows(tmp_path, data)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "AEB-only-seed-0.json", "CFB-only-seed-0.json", "full-seed-0.json", "no-text-seed-0.json"]
    trained.clear()
    results, epochs = run_rows(tmp_path, data)
    assert len(trained) == 12 and len(results) == len(epochs) == 16
    assert [(result.row, result.seed) for result in results] == [(row.name, seed) for seed in (0, 1) for row in ROWS]
    assert all(set(result.captions) == set(data.test.inputs.ids) and not result.same_as for result in results)
    assert not list(tmp_path.glob(".*"))                        # no state is left

    trained.clear()
    progress: list[tuple[float, bool]] = []
    again = train_all(data, settings_of(), range(2), tmp_path,
                      listeners=RowListeners(on_progress=lambda *done: progress.append(done)))
    assert again == results and not trained
    assert progress == [(TRAINING.epochs, False)] * 16
    path = tmp_path / "baseline-seed-1.json"
    write_json(path, read_json(path) | {"fingerprint": "of other settings"})
    again, _ = run_rows(tmp_path, data)
    assert len(trained) == 1 and [result.captions for result in again] == [result.captions for result in results]
    run_rows(tmp_path, data, range(1), TRAINING.model_copy(update={"learning_rate": 1e-3}))
    assert len(trained) == 9                                    # other settings: all of them anew


def test_a_training_that_another_worker_begins_again_counts_once() -> None:
    """It goes on from what was saved: epochs that were told already are told once more."""
    progress: list[tuple[float, bool]] = []
    listen = ablation._Progress(RowListeners(on_progress=lambda *done: progress.append(done)), 3)
    for done, fresh in ((0.5, True), (1.5, True), (1.0, False), (1.25, True), (2.0, True)):
        listen("full, seed 0", (done, fresh, None))
    listen.finish("full, seed 0", fresh=True)
    assert progress == [(0.5, True), (1.0, True), (0.5, True), (1.0, True)]


def test_rows_that_are_one_model_are_trained_once(tmp_path: Path, trained: list[params.Captioner]) -> None:
    results, _ = run_rows(tmp_path, world_data(silent=True), range(1))
    assert {result.row: result.same_as for result in results if result.same_as} == {
        "no audio": "full", "visual only": "no text"}
    assert len(trained) == 6
    by_row = {result.row: result for result in results}
    assert by_row["no audio"].captions == by_row["full"].captions
    assert run_rows(tmp_path, world_data(silent=True), range(1))[0] == results and len(trained) == 6


def results_of(cfs: dict[str, list[float]]) -> tuple[list[Result], Blocks, dict[str, VideoScores], int]:
    """Results of those scores, as `compare` takes them; every video has the score of its row and seed."""
    results: list[Result] = []
    blocks: Blocks = {}
    of_videos: dict[str, VideoScores] = {}
    for row in ROWS:
        for seed, score in enumerate(cfs[row.name]):
            result = Result(row.name, seed, "f", "", 10, {"epoch": 1.0}, {}, {})
            results.append(result)
            block: dict[str, dict[str, float | None]] = {"coco": {}, "emotion": {}}
            for part, metric in SCORES.values():
                block[part][metric] = score
            blocks[result.name] = blocks[without_rerankers(result.name)] = block
            cider = (score + np.linspace(-0.1, 0.1, 9)) / 0.8
            of_videos[result.name] = VideoScores({"coco": cider, "evc": cider}, np.zeros(9), np.ones(9))
    return results, blocks, of_videos, 0


def test_rows_are_compared_over_seeds() -> None:
    scores = {row.name: [cfs(row), cfs(row) + 0.02] for row in ROWS}
    comparison = compare(*results_of(scores))
    order = comparison["order"]["CFS"]
    assert order["kendall"] == 1 and order["here"] == order["paper"]
    full, cfb = comparison["rows"][:2]
    assert full["scores"]["CFS"] == pytest.approx({"mean": 0.551, "deviation": 0.02 / 2 ** 0.5})
    assert cfb["full_is_ahead_by"]["cfs"] == pytest.approx(
        {"difference": 0.03, "low": 0.03, "high": 0.03, "tie": False}, abs=1e-9)      # the same for all videos, seeds
    assert not full["full_is_ahead_by"]
    assert kendall([1, 2, 3], [3, 2, 1]) == -1 and kendall([1, 2, 3], [1, 3, 2]) == pytest.approx(1 / 3)
    assert kendall([1, 1], [1, 2]) == 0


def cfs(row: Row) -> float:
    return row.paper[-1] / 100 if row.paper else 0.43


def page_of(comparison: dict[str, object]) -> str:
    lines = {"nearest_caption": {"coco": {"CIDEr": 0.7, "Bleu_4": None, "METEOR": None, "ROUGE_L": 0.5},
                                 "emotion": dict.fromkeys(EMOTION_METRICS, 0.1)}}
    return markdown(comparison | {"dataset": "world", "videos": 5, "seeds": [0, 1], "epochs": 1,
                                  "reference_lines": lines})


def test_the_table_is_honest() -> None:
    scores = {row.name: [cfs(row)] * 2 for row in ROWS}
    results, blocks, *more = results_of(scores | {"AEB only": [0.6, 0.7], "no text": [0.5, 0.58]})
    for block in blocks.values():
        block["coco"]["METEOR"] = None
    page = page_of(compare(results, blocks, *more))      # type: ignore[arg-type]
    assert "| AEB only | **world** | 65.0 ± 7.1 | - | 65.0 ± 7.1 |" in page
    assert "| | *paper* | 29.4 | 22.3 | 48.1 | 43.1 | 64.9 | 64.1 | 47.5 | 47.4 |  |  | | 6.7 |" in page
    assert "another data set" in page
    assert ("above CFB only, no audio, visual only, baseline, visual baseline; tied with no text; below AEB only."
            in page)
    assert "nearest caption: R-L 50.0, C 70.0, Acc_sw 10.0" in page
    results, blocks, *more = results_of(scores)
    page = page_of(compare(results, blocks, *more))      # type: ignore[arg-type]
    assert "In CFS the full model is above CFB only, AEB only, no text" in page and "## Order" in page
    alone = [result for result in results if result.row == "full"]
    assert "Order" not in page_of(compare(alone, blocks, *more))     # type: ignore[arg-type]


def test_the_page_has_the_intervals_in_place_and_hostile_names_as_text() -> None:
    scores = {row.name: [cfs(row)] * 2 for row in ROWS}
    comparison = compare(*results_of(scores | {"AEB only": [0.6, 0.7], "no text": [0.5, 0.58]}))
    page = render(comparison | {"dataset": "<img src=x>", "videos": 5, "seeds": [0, 1], "epochs": 1,
                                "untrained": True, "warnings": []}, tuple(SCORES), PAPER_SET)
    assert "<img" not in page and "&lt;img src=x&gt;" in page and "random weights" in page
    places = {name: (float(left), float(right), float(dot), kind) for name, left, right, kind, dot in re.findall(
        r'<span class="name">([\w ]+?) <small>.*?class="span" style="left:([\d.]+)%;right:([\d.]+)%"></i>'
        r'<i class="dot( model)?".*?left:([\d.]+)%', page, re.DOTALL)}
    assert len(places) == len(ROWS) - 1
    assert places["no text"][3] == "" and places["CFB only"][3] == " model"       # a tie, and ahead
    zero = float(re.search(r'class="tick" style="left:([\d.]+)%', page)[1])      # type: ignore[index]
    assert places["AEB only"][2] < zero < places["visual only"][2]
    assert all(left <= dot <= 100 - right + 0.01 for left, right, dot, _ in places.values())
    assert f"<td>{100 * cfs(ROWS[1]):.1f}<small>±\u00a00.0</small></td>" in page
    results, blocks, *more = results_of(scores)
    alone = compare([result for result in results if result.row == "full"], blocks, *more)  # type: ignore[arg-type]
    page = render(alone | {"dataset": "d", "videos": 5, "seeds": [0], "epochs": 1, "untrained": False,
                           "warnings": []}, tuple(SCORES), PAPER_SET)
    assert 'id="ahead"' not in page and "banner\"" not in page


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_world(monkeypatch, *world_splits())
    params_file(tmp_path, monkeypatch, "training.epochs=1")

    def run(*rows: Sequence[Row]) -> dict[str, Any]:
        ablate.run(load([]), ablate.Paths.of(load([])), range(1), *rows)
        return json.loads((tmp_path / "reports/sample/ablation.json").read_text())

    comparison = run()
    assert [row["row"] for row in comparison["rows"]] == [row.name for row in ROWS] and comparison["videos"] == 5
    assert all(row["scores"]["CFS"]["mean"] is not None for row in comparison["rows"])
    assert "human" in comparison["reference_lines"] and comparison["seeds"] == [0]
    assert (tmp_path / "reports/sample/ablation.md").read_text().startswith("# Ablation: sample")
    page = (tmp_path / "reports/sample/ablation.html").read_text()
    assert page.count('<th scope="row">') == len(ROWS) + sum(bool(row.paper) for row in ROWS)
    assert len(list((tmp_path / "reports/sample/ablation").iterdir())) == 8

    fewer = run(ablate.rows_of("baseline"))
    assert fewer["rows"] == [comparison["rows"][0], comparison["rows"][-2]]
    assert fewer["order"]["CFS"]["paper"] == ["full"]       # of the other the paper has no score


def test_rows_are_chosen_by_name() -> None:
    assert [row.name for row in ablate.rows_of(" no text,CFB only")] == ["full", "CFB only", "no text"]
    assert ablate.rows_of("") == list(ROWS) and ablate.rows_of("full") == [FULL]
    with pytest.raises(typer.BadParameter, match="'bare' is none of full, CFB only"):
        ablate.rows_of("bare")


class OneAnswer:
    """A consensus that finds one caption the best of every video."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def rerank(self, captions: Sequence[Caption], candidates: Sequence[Sequence[str]], weight: float) -> list[Caption]:
        self.asked.append(len(captions))
        return [replace(caption, text="chosen") for caption in captions]


@pytest.mark.parametrize(("decoder_modalities", "rows", "alone"), [
    (("appearance", "audio"), ROWS, {"no text", "visual only", "baseline", "visual baseline"}),
    ((), (FULL, BASELINE), set()),                      # here the baseline's decoder reads them
])
def test_only_rows_with_retrieved_captions_choose_among_beams_by_them(
        decoder_modalities: tuple[str, ...], rows: Sequence[Row], alone: set[str], tmp_path: Path) -> None:
    data, consensus = world_data(), OneAnswer()
    test = replace(data.test, candidates=[["a man runs"]] * 5)
    validation = replace(data.validation, candidates=(("a man runs",),) * 4)
    section = SECTION.model_copy(update={"decoder_modalities": decoder_modalities})
    generation = GENERATION.model_copy(update={"consensus": 1.0})
    settings = replace(settings_of(section=section, generation=generation), consensus=lambda: consensus)
    results = train_all(replace(data, test=test, validation=validation), settings, range(1), tmp_path, rows)
    assert {result.row for result in results if set(result.captions.values()) != {"chosen"}} == alone
    assert consensus.asked == [4, 5] * (len(rows) - len(alone))         # in validation, too: the same decoding
