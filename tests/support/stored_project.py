"""A small project whose features are there, for tests of the stages after extraction: random rows, random weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from project import ROOT

from pipeline.common.files import fingerprint
from pipeline.datasets.manifest import Caption, Manifest, Video
from pipeline.encoders import open_clip_model
from pipeline.params import Params, load
from pipeline.params.paths import Paths
from pipeline.store.shard import Shard, shard_name, shard_of, write_shard
from pipeline.store.store_file import write_store_file

VIDEOS = {"train": 24, "validation": 4, "test": 5}
_WHO, _HOW, _WHERE = ("man", "woman", "dog", "robot"), ("happy", "sad", "angry", "calm"), ("park", "kitchen", "street")
_SHARDS = 2


def parameters(*overrides: str) -> Params:
    return load([
        "machine.device=cpu", "encoders.appearance.weights=random", "machine.search_batch_size=8", "retrieval.stored=6",
        "retrieval.used=4", "captioner.hidden_size=16", "captioner.num_heads=2", "captioner.feedforward_size=32",
        "captioner.embedded_attributes=3", "captioner.universal_words=10", "captioner.min_word_count=1",
        "training.epochs=2", "training.attribute_folds=0", "training.videos_per_batch=12", "generation.num_beams=2",
        *overrides], ROOT / "params.yaml")


def make(*overrides: str) -> None:
    """Makes the manifest, the encoder and the stores in the current folder."""
    params = parameters(*overrides)
    paths, rng = Paths.of(params), np.random.default_rng(0)
    videos = [Video(f"{split}{number}", "", split) for split, count in VIDEOS.items()      # type: ignore[arg-type]
              for number in range(count)]
    captions = tuple(
        Caption(video.id, f"a {_HOW[(number + way) % 4]} {_WHO[number % 4]} in the {_WHERE[way]} {number}")
        for number, video in enumerate(videos) for way in range(3))
    training = tuple(caption for caption in captions if caption.video_id.startswith("train"))
    Manifest(tuple(videos), captions, training).write(paths.data)
    encoder = open_clip_model.prepare(params.encoders.appearance, paths.encoder, params.seed)
    frames = {"kind": "open_clip", "model": encoder["model"], "weights": encoder["sha256"], "untrained": True}
    ids = [video.id for video in videos]
    write_store(paths.appearance, "appearance", frames, ids, rng.standard_normal((len(ids), 3, encoder["dim"])))
    write_store(paths.audio, "audio", {"kind": "test"}, ids, rng.standard_normal((len(ids), 2, 4)))


def write_store(folder: Path, modality: str, recipe: dict[str, Any], ids: Sequence[str], rows: np.ndarray) -> None:
    """A store of rows [V, T, D]."""
    counts = {}
    for shard in range(_SHARDS):
        own = sorted(position for position, video in enumerate(ids) if shard_of(video, _SHARDS) == shard)
        own.sort(key=lambda position: ids[position])
        packed = rows[own].astype(np.float16).reshape(-1, rows.shape[2])
        write_shard(folder / shard_name(shard), Shard(
            tuple(ids[position] for position in own), np.arange(len(own) + 1) * rows.shape[1], packed,
            np.zeros(len(packed)), ("0" * 64,) * len(own), np.ones(len(own), np.float32)), fingerprint(recipe))
        counts[shard] = (len(own), len(packed))
    write_store_file(folder, modality, recipe, rows.shape[2], counts, _SHARDS, [])
