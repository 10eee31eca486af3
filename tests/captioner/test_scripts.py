"""Captions in ten scripts: prepared, indexed, learned by a small captioner, scored by both protocols; no word torn."""

import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from captioner_world import TAXONOMY, captions_by, train_on

from pipeline import params
from pipeline.captioner.inputs import Inputs, Modality
from pipeline.captioner.splits import Split
from pipeline.common.text import words
from pipeline.datasets import folder
from pipeline.datasets.manifest import Manifest, check_trainable
from pipeline.metrics.captions import CaptionSet, score_all
from pipeline.retrieval.index import build_index, open_index
from pipeline.retrieval.sentences import distinct_sentences

# A girl, a boy, a cat; each sings, runs.
SCRIPTS = {
    "latin": (["girl", "boy", "cat"], ["sings", "runs"]),
    "cyrillic": (["девочка", "мальчик", "кошка"], ["поёт", "бежит"]),
    "devanagari": (["लड़की", "लड़का", "बिल्ली"], ["गाती", "दौड़ती"]), "arabic": (["فَتَاةٌ", "وَلَدٌ", "قِطَّةٌ"], ["تُغَنِّي", "تَرْكُضُ"]),
    "hebrew": (["יַלְדָּה", "יֶלֶד", "חָתוּל"], ["שָׁרָה", "רָצָה"]), "tamil": (["பெண்", "சிறுவன்", "பூனை"], ["பாடுகிறாள்", "ஓடுகிறாள்"]),
    "hangul": (["소녀", "소년", "고양이"], ["노래한다", "달린다"]),
    "greek": (["κορίτσι", "αγόρι", "γάτα"], ["τραγουδά", "τρέχει"]),
    "han": (["女孩", "男孩", "猫"], ["唱歌", "跑步"]), "thai": (["เด็กหญิง", "เด็กชาย", "แมว"], ["ร้องเพลง", "วิ่ง"]),
}
SECTION = params.Captioner(hidden_size=32, num_heads=2, feedforward_size=32, modalities=("appearance",),
                           decoder_modalities=(), vtai=False, cfb=False, aeb=False, min_word_count=1, dropout=0.0)


def prepared(root: Path, script: str) -> Manifest:
    """Six videos a split with two captions each, spelled as a Mac would (decomposed)."""
    rows = []
    for split in ("train", "validation", "test"):
        for number, (who, what) in enumerate((who, what) for who in SCRIPTS[script][0] for what in SCRIPTS[script][1]):
            video = root / "clips" / f"{split}-{number}.mp4"
            video.parent.mkdir(exist_ok=True)
            video.write_bytes(b"x")
            rows += [{"video": video.name, "caption": unicodedata.normalize("NFD", text), "split": split}
                     for text in (f"{who} {what}", f"{who} {what}!")]
    (root / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    manifest, _ = folder.prepare(params.Data(videos=str(root / "clips"), captions=str(root / "captions.jsonl"),
                                             corpus=str(root / "captions.jsonl")), 0)
    check_trainable(manifest)
    return manifest


@pytest.fixture(scope="module")
def captioned(tmp_path_factory: pytest.TempPathFactory) -> dict[str, CaptionSet]:
    """Of every script the test videos' captions by a captioner that learned it, and their references."""
    return {script: caption_test_videos(tmp_path_factory.mktemp(script), script) for script in SCRIPTS}


def caption_test_videos(root: Path, script: str) -> CaptionSet:
    manifest = prepared(root, script)
    expected = {unicodedata.normalize("NFC", word) for group in SCRIPTS[script] for word in group}
    sentences = distinct_sentences(manifest.corpus)
    assert len(sentences) == 6                              # the same sentence with and without ! counts once
    build_index(sentences, [np.eye(6, dtype=np.float32)], "recipe", root / "index")
    assert {word for text in open_index(root / "index", "recipe").texts for word in words(text)} == expected
    trained = train_on(split(manifest, "train"), split(manifest, "validation"), section=SECTION, epochs=60,
                       learning_rate=0.02, videos_per_batch=6, label_smoothing=0.0)
    assert set(trained.vocabulary.entries[4:]) == expected
    inputs = split(manifest, "test").inputs
    generated = {caption.video_id: caption.text for caption in captions_by(trained, inputs)}
    return generated, {video: manifest.captions_of[video] for video in inputs.ids}


def split(manifest: Manifest, name: Any) -> Split:
    """A split whose rows tell who and what at once."""
    inputs = Inputs(tuple(manifest.ids(name)),
                    {"appearance": Modality(torch.eye(6)[:, None] * 4, torch.ones(6, 1, dtype=torch.bool))},
                    torch.zeros(6, len(TAXONOMY.categories)), torch.zeros(6, len(TAXONOMY.words)))
    return Split.of(name, inputs, manifest.captions_of)


@pytest.mark.parametrize("script", SCRIPTS)
def test_no_word_is_torn_on_the_way(captioned: dict[str, CaptionSet], script: str) -> None:
    generated, references = captioned[script]
    assert all(generated[video] == unicodedata.normalize("NFC", texts[0]) for video, texts in references.items())


def test_both_protocols_score_every_script(captioned: dict[str, CaptionSet]) -> None:
    for script, scores in score_all(captioned, timeout=120).by_set.items():
        assert (scores["evc"]["Bleu_1"], scores["coco"]["Bleu_1"]) == pytest.approx((1.0, 1.0), abs=1e-4), script
