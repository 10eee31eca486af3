"""The ablation: its rows, what is trained once, killed and continued, and what is told of it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import typer
from captioner_stage import params_file, stand_in
from captioner_world import TAXONOMY, world

from pipeline import params
from pipeline.ablation import rows as ablation
from pipeline.ablation.rows import BASELINE, ROWS, SCORES, Data, Result, compare, kendall, train_rows
from pipeline.ablation.table import markdown
from pipeline.captioner.generation.beam_search import Caption
from pipeline.captioner.inputs import Inputs
from pipeline.captioner.training.trainer import Epoch
from pipeline.params import load
from stages import ablate

SECTION = params.Captioner(modalities=("appearance", "audio", "text"), width=16, heads=2, feedforward=32, dropout=0.1,
                           word_count=1, universal_words=20, embedded_attributes=4, max_words=8)
TRAINING = params.Training(epochs=1, videos=6, learning_rate=4e-3)
CPU = torch.device("cpu")

Blocks = dict[str, dict[str, dict[str, float | None]]]


def data_of(silent: bool = False) -> Data:
    captions: dict[str, list[str]] = {}
    splits: list[Inputs] = []
    for seed, videos in enumerate((12, 4, 5), start=1):
        inputs, said = world(videos, seed=seed, silent=videos if silent else 0)
        splits.append(inputs)
        captions |= said
    return Data(splits[0], splits[1], splits[2], captions)


def rows_of(folder: Path, data: Data, seeds: range = range(2), training: params.Training = TRAINING,
            ) -> tuple[list[Result], list[tuple[str, Epoch]]]:
    told: list[tuple[str, Epoch]] = []
    found = train_rows(SECTION, training, params.Generation(beam=2), data, TAXONOMY, seeds, CPU, folder,
                       lambda row, epoch: told.append((row, epoch)))
    return found, told


def test_the_seven_rows_are_the_papers() -> None:
    section = SECTION.model_copy(update={"memory": ("appearance", "text")})
    sections = {row.name: row.of(section) for row in ROWS}
    assert list(sections) == ["full", "CFB only", "AEB only", "no text", "no audio", "visual only", "baseline"]
    assert sections["full"] == section
    assert [(s.vtai, s.cfb, s.aeb) for s in sections.values()] == [
        (True, True, True), (True, True, False), (True, False, True), *[(True, True, True)] * 3, (False, False, False)]
    assert sections["no text"].modalities == ("appearance", "audio") and sections["no text"].memory == ("appearance",)
    assert sections["no audio"].modalities == ("appearance", "text")
    assert sections["visual only"].modalities == ("appearance",)
    assert sections["baseline"].modalities == section.modalities
    assert dict(zip(ablation.PAPER_SCORES, BASELINE.paper, strict=True))["CFS"] == 44.1
    assert all(len(row.paper) == 8 for row in ROWS)


def test_what_is_done_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = data_of()
    trained: list[params.Captioner] = []
    train = ablation.train

    def dies(section: params.Captioner, *args: object, **more: object) -> object:
        if len(trained) == 4:
            raise KeyboardInterrupt
        trained.append(section)
        return train(section, *args, **more)    # type: ignore[arg-type]

    monkeypatch.setattr(ablation, "train", dies)
    with pytest.raises(KeyboardInterrupt):
        rows_of(tmp_path, data)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "AEB-only-seed-0.json", "CFB-only-seed-0.json", "full-seed-0.json", "no-text-seed-0.json"]
    trained.clear()
    monkeypatch.setattr(ablation, "train", lambda *args, **more: trained.append(args[0]) or train(*args, **more))
    found, told = rows_of(tmp_path, data)
    assert len(trained) == 10 and len(found) == len(told) == 14
    assert [(one.row, one.seed) for one in found] == [(row.name, seed) for seed in (0, 1) for row in ROWS]
    assert all(set(one.captions) == set(data.test.ids) and not one.same_as for one in found)
    assert not list(tmp_path.glob(".*"))                        # no state is left

    trained.clear()
    ticks: list[tuple[float, bool]] = []
    again = train_rows(SECTION, TRAINING, params.Generation(beam=2), data, TAXONOMY, range(2), CPU, tmp_path,
                       tick=lambda *done: ticks.append(done))
    assert again == found and not trained
    assert ticks == [(TRAINING.epochs, False)] * 14
    path = tmp_path / "baseline-seed-1.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"fingerprint": "of other settings"}))
    again, _ = rows_of(tmp_path, data)
    assert len(trained) == 1 and [one.captions for one in again] == [one.captions for one in found]
    rows_of(tmp_path, data, range(1), TRAINING.model_copy(update={"learning_rate": 1e-3}))
    assert len(trained) == 8                                    # other settings: all of them anew


def test_rows_that_are_one_model_are_trained_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained: list[object] = []
    train = ablation.train
    monkeypatch.setattr(ablation, "train", lambda *args, **more: trained.append(args[0]) or train(*args, **more))
    found, _ = rows_of(tmp_path, data_of(silent=True), range(1))
    assert {one.row: one.same_as for one in found if one.same_as} == {"no audio": "full", "visual only": "no text"}
    assert len(trained) == 5
    by_row = {one.row: one for one in found}
    assert by_row["no audio"].captions == by_row["full"].captions
    assert rows_of(tmp_path, data_of(silent=True), range(1))[0] == found and len(trained) == 5


def results_of(cfs: dict[str, list[float]]) -> tuple[list[Result], Blocks]:
    results: list[Result] = []
    blocks: Blocks = {}
    for row in ROWS:
        for seed, score in enumerate(cfs[row.name]):
            result = Result(row.name, seed, "f", "", 10, {"epoch": 1.0}, {})
            results.append(result)
            block: dict[str, dict[str, float | None]] = {"coco": {}, "emotion": {}}
            for part, metric in SCORES.values():
                block[part][metric] = score
            blocks[result.name] = block
    return results, blocks


def test_rows_are_compared_over_seeds() -> None:
    scores = {row.name: [row.paper[-1] / 100, row.paper[-1] / 100 + 0.02] for row in ROWS}
    found = compare(*results_of(scores))
    assert found["order"]["CFS"]["kendall"] == 1 and found["order"]["CFS"]["here"] == found["order"]["CFS"]["paper"]
    full, cfb = found["rows"][:2]
    assert full["scores"]["CFS"] == pytest.approx({"mean": 0.551, "deviation": 0.02 / 2 ** 0.5})
    assert cfb["full_is_ahead_by"] == pytest.approx({"mean": 0.03, "deviation": 0}, abs=1e-9)
    assert kendall([1, 2, 3], [3, 2, 1]) == -1 and kendall([1, 2, 3], [1, 3, 2]) == pytest.approx(1 / 3)
    assert kendall([1, 1], [1, 2]) == 0


def page_of(found: dict[str, object]) -> str:
    lines = {"nearest_caption": {"coco": {"CIDEr": 0.7, "Bleu_4": None, "METEOR": None, "ROUGE_L": 0.5},
                                 "emotion": dict.fromkeys(("acc_sw", "acc_c", "bfs", "cfs", "balanced_accuracy"), 0.1)}}
    return markdown(found | {"dataset": "world", "videos": 5, "seeds": [0, 1], "epochs": 1, "reference_lines": lines})


def test_the_table_is_honest() -> None:
    scores = {row.name: [row.paper[-1] / 100] * 2 for row in ROWS}
    results, blocks = results_of(scores | {"AEB only": [0.6, 0.7]})
    for block in blocks.values():
        block["coco"]["METEOR"] = None
    page = page_of(compare(results, blocks))
    assert "| AEB only | **world** | 65.0 ± 7.1 | - | 65.0 ± 7.1 |" in page
    assert "| | *paper* | 29.4 | 22.3 | 48.1 | 43.1 | 64.9 | 64.1 | 47.5 | 47.4 |  | 6.7 |" in page
    assert "another data set" in page and "**not** above AEB only in CFS" in page
    assert "nearest caption: R-L 50.0, C 70.0, Acc_sw 10.0" in page
    assert "above every other row in CFS" in page_of(compare(*results_of(scores)))


def test_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = data_of()
    stand_in(monkeypatch, ablate, {"train": data.train, "validation": data.validation, "test": data.test},
             data.captions)
    params_file(tmp_path, monkeypatch, "training.epochs=1")
    ablate.run(load([]), ablate.Paths.of(load([])), range(1))
    found = json.loads((tmp_path / "reports/sample/ablation.json").read_text())
    assert [row["row"] for row in found["rows"]] == [row.name for row in ROWS] and found["videos"] == 5
    assert all(row["scores"]["CFS"]["mean"] is not None for row in found["rows"])
    assert "human" in found["reference_lines"] and found["seeds"] == [0]
    assert (tmp_path / "reports/sample/ablation.md").read_text().startswith("# Ablation: sample")
    assert len(list((tmp_path / "reports/sample/ablation").iterdir())) == 7

    ablate.run(load([]), ablate.Paths.of(load([])), range(1), ablate.rows_of("baseline"))
    fewer = json.loads((tmp_path / "reports/sample/ablation.json").read_text())
    assert fewer["rows"] == [found["rows"][0], found["rows"][-1]]
    assert fewer["order"]["CFS"]["paper"] == ["full", "baseline"]
    ablate.run(load([]), ablate.Paths.of(load([])), range(1), ablate.rows_of("full"))
    assert "Order" not in (tmp_path / "reports/sample/ablation.md").read_text()


def test_rows_are_chosen_by_name() -> None:
    assert [row.name for row in ablate.rows_of(" no text,CFB only")] == ["full", "CFB only", "no text"]
    assert ablate.rows_of("") == list(ROWS)
    with pytest.raises(typer.BadParameter, match="'bare' is none of full, CFB only"):
        ablate.rows_of("bare")


def test_only_rows_with_retrieved_captions_choose_among_beams_by_them(tmp_path: Path) -> None:
    data, seen = data_of(), []

    def rerank(captions: list[Caption]) -> list[Caption]:
        seen.append(len(captions))
        return [replace(caption, text="chosen") for caption in captions]

    found = train_rows(SECTION, TRAINING, params.Generation(beam=2), data, TAXONOMY, range(1), CPU, tmp_path,
                       rerank=rerank)
    assert {one.row for one in found if set(one.captions.values()) != {"chosen"}} == {"no text", "visual only"}
    assert seen == [5] * 5
