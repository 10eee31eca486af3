"""A project folder of a synthetic data set of any size: manifest, encoder and feature stores, as the stages leave them.

Frames are random rows of 28 x 512 float16 a video, there is no sound or motion, and every video has ten captions of
9 ± 3 words whose frequencies are those of a language (Zipf) over 10,000 words, emotion words among them. The text tower
is as small as open_clip allows, for what it costs is known (docs/clusters.md) and no question here.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pipeline.captioner.training.cross_entropy import CrossEntropy
from pipeline.common.files import fingerprint
from pipeline.datasets.manifest import Caption, Manifest, Split, Video
from pipeline.emotion.taxonomy import Taxonomy
from pipeline.encoders import open_clip_model
from pipeline.encoders.text_encoder import OpenClipTextEncoder
from pipeline.params import Params, load, override, read
from pipeline.params.paths import Paths
from pipeline.retrieval import candidates
from pipeline.store.shard import Shard, shard_name, shard_of, shards_by_size, write_shard
from pipeline.store.store_file import write_store_file

ROWS, DIM, CAPTIONS, WORDS = 28, 512, 10, 10_000
_HELD_OUT = 200         # videos of validation, and of test
_MODEL = "benchmark-text"
_CONFIG = {"embed_dim": DIM,
           "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 32, "patch_size": 32},
           "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 32, "heads": 1, "layers": 1}}
_PARAMS = (
    "dataset=synthetic", "machine.device=cpu", f"encoders.appearance.model={_MODEL}",
    "encoders.appearance.weights=random", f"encoders.appearance.num_frames={ROWS}", "encoders.audio.kind=none",
    "emotion.modalities=[appearance]", "captioner.modalities=[appearance,text]",
    "captioner.decoder_modalities=[appearance]", "captioner.hidden_size=32", "captioner.num_heads=1",
    "captioner.feedforward_size=64", "training.epochs=1", "training.videos_per_batch=32", "training.attribute_folds=2")


def register_model(folder: Path) -> None:
    """Makes the text tower known to open_clip in this process."""
    open_clip_model.names()         # makes open_clip importable beside this torch, with the project's own models
    import open_clip

    config = folder / f"{_MODEL}.json"
    config.write_text(json.dumps(_CONFIG))
    open_clip.add_model_config(config)


def parameters() -> Params:
    """Those of the folder where we are."""
    return load([])


def shorten(captions: int, queries: int, steps: int) -> None:
    """In this process only the first `captions` are encoded (or a little more), only the first `queries` videos are
    searched for, and an epoch has at most `steps` steps."""
    nearest, begin, order, searched = candidates.nearest, CrossEntropy.__post_init__, CrossEntropy.order, 0
    encode, rng, left = OpenClipTextEncoder.encode_texts, np.random.default_rng(0), captions

    def encode_some(encoder: OpenClipTextEncoder, texts: Sequence[str]) -> NDArray[np.float32]:
        nonlocal left
        left -= len(texts)
        return encode(encoder, texts) if left >= 0 else rng.standard_normal((len(texts), DIM), np.float32)

    def nearest_some(videos: NDArray[np.float32], vectors: NDArray[np.float32], depth: int, batch: int,
                     device: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        nonlocal searched
        if searched < queries:
            searched += len(videos)
            return nearest(videos, vectors, depth, batch, device)
        return rng.integers(0, len(vectors), (len(videos), depth)), rng.random((len(videos), depth), np.float32)

    def begin_short(objective: CrossEntropy) -> None:
        begin(objective)
        objective.batches = min(objective.batches, steps)

    OpenClipTextEncoder.encode_texts = encode_some                          # type: ignore[method-assign]
    candidates.nearest = nearest_some
    CrossEntropy.__post_init__ = begin_short                                # type: ignore[method-assign]
    CrossEntropy.order = lambda objective, rng: order(objective, rng)[:steps]     # type: ignore[method-assign]


def make(folder: Path, defaults: Path, videos: int, longest: int = ROWS) -> None:
    """Makes the current folder, `folder`, the project of so many videos, the last of which has `longest` rows.

    defaults: params.yaml of the project that this is a part of.
    """
    (folder / "params.yaml").write_text(json.dumps(override(read(defaults), list(_PARAMS))))
    register_model(folder)
    params = parameters()
    paths = Paths.of(params)
    ids = [f"video{number}" for number in range(videos)]
    splits: list[Split] = ["validation"] * _HELD_OUT + ["test"] * _HELD_OUT
    splits += ["train"] * (videos - len(splits))
    captions = tuple(Caption(video, text) for video, texts in zip(ids, _captions(videos), strict=True)
                     for text in texts)
    training = {video for video, split in zip(ids, splits, strict=True) if split == "train"}
    Manifest(tuple(Video(video, "", split) for video, split in zip(ids, splits, strict=True)), captions,
             tuple(caption for caption in captions if caption.video_id in training)).write(paths.data)
    encoder = open_clip_model.prepare(params.encoders.appearance, paths.encoder, params.seed)
    recipe = {"kind": "open_clip", "model": _MODEL, "weights": encoder["sha256"], "untrained": True}
    rows_of = dict.fromkeys(ids, ROWS) | {ids[-1]: longest}
    _write_store(paths.appearance, "appearance", recipe, rows_of, DIM)
    _write_store(paths.audio, "audio", {"kind": "none"}, dict.fromkeys(ids, 0), 1)


def _captions(videos: int) -> Iterator[list[str]]:
    rng = np.random.default_rng(0)
    names = [*Taxonomy.load("evc-179").words, *(f"w{number}" for number in range(WORDS))][:WORDS]
    names = rng.permutation(names).tolist()
    chance = 1 / np.arange(1, len(names) + 1)
    chance /= chance.sum()
    for _ in range(videos):
        lengths = np.clip(rng.normal(9, 3, CAPTIONS).round().astype(int), 3, 20)
        words = iter(rng.choice(len(names), int(lengths.sum()), p=chance).tolist())
        yield [" ".join(names[next(words)] for _ in range(length)) for length in lengths.tolist()]


def _write_store(folder: Path, modality: str, recipe: dict[str, object], rows_of: dict[str, int], dim: int) -> None:
    shards = shards_by_size(len(rows_of), sum(rows_of.values()) * dim * 2)
    videos_of: dict[int, list[str]] = {number: [] for number in range(shards)}
    for video in sorted(rows_of):
        videos_of[shard_of(video, shards)].append(video)
    counts = {}
    for number, mine in videos_of.items():
        offsets = np.cumsum([0, *(rows_of[video] for video in mine)])
        rows = int(offsets[-1])
        values = np.random.default_rng(number).standard_normal((rows, dim), np.float32)
        write_shard(folder / shard_name(number), Shard(
            tuple(mine), offsets, values.astype(np.float16), np.zeros(rows), ("0" * 64,) * len(mine),
            np.ones(len(mine), np.float32)), fingerprint(recipe))
        counts[number] = (len(mine), rows)
    write_store_file(folder, modality, recipe, dim, counts, shards, [])
