"""Inputs from the stores: real shards in, and what is trained on them equals what is trained on tensors in memory."""

from pathlib import Path

import numpy as np
import pytest
import torch
from captioner_world import SECTION, train_on

from pipeline.captioner.cached_dataset import Budget
from pipeline.captioner.inputs import Inputs, InputSource, pack, select_blocks, word_keys
from pipeline.captioner.model.feu import FeatureEncoder
from pipeline.captioner.splits import Split
from pipeline.captioner.stored_inputs import CandidateRows, StoredInputs, StoredRows, padded_slots
from pipeline.common.errors import SpectrumError
from pipeline.common.files import fingerprint
from pipeline.emotion.taxonomy import Taxonomy
from pipeline.retrieval import index
from pipeline.retrieval.sentences import Sentence
from pipeline.store.feature_store import FeatureStore
from pipeline.store.shard import Shard, shard_name, shard_of, write_shard
from pipeline.store.store_file import write_store_file

VIDEOS, SHARDS, DIM = 24, 3, 6
IDS = tuple(f"v{number}" for number in range(VIDEOS))
TEXTS = [f"a {actor} {action} {mood}" for actor in ("man", "dog") for action in ("runs", "sings", "sleeps")
         for mood in ("happily", "sadly")]
LENGTHS = np.random.default_rng(0).integers(1, 6, VIDEOS)
MODELS = fingerprint({"kind": "test"})
SMALL = SECTION.model_copy(update={"hidden_size": 16, "feedforward_size": 16})


def make_store(folder: Path, lengths: np.ndarray) -> FeatureStore:
    """Random rows in several shards, as many a video as `lengths` says."""
    rng = np.random.default_rng(1)
    rows_of = {video: rng.normal(3, 2, (int(count), DIM)).astype(np.float16)
               for video, count in zip(IDS, lengths, strict=True)}
    counts, recipe = {}, {"kind": "test"}
    for number in range(SHARDS):
        mine = sorted(video for video in IDS if shard_of(video, SHARDS) == number)
        rows = np.concatenate([np.empty((0, DIM), np.float16), *(rows_of[video] for video in mine)])
        offsets = np.cumsum([0, *(len(rows_of[video]) for video in mine)])
        write_shard(folder / shard_name(number), Shard(tuple(mine), offsets, rows, np.zeros(len(rows)),
                                                       ("0" * 64,) * len(mine), np.ones(len(mine), np.float32)),
                    fingerprint(recipe))
        counts[number] = (len(mine), len(rows))
    write_store_file(folder, "appearance", recipe, DIM, counts, SHARDS, [])
    return FeatureStore.open(folder)


class World:
    """The same videos in memory, padded as a whole, and in stores; the last two have no sound."""

    def __init__(self, folder: Path) -> None:
        rng = np.random.default_rng(2)
        self.frames = make_store(folder / "frames", LENGTHS)
        self.sounding = np.where(np.arange(VIDEOS) < VIDEOS - 2, LENGTHS, 0)
        self.sound = make_store(folder / "sound", self.sounding)
        index.build_index([Sentence(text, ("x",)) for text in TEXTS],
                          [rng.standard_normal((len(TEXTS), DIM), np.float32)], MODELS, folder / "index")
        self.captions = index.open_index(folder / "index", MODELS)
        self.rows = rng.integers(0, len(TEXTS), (VIDEOS, 4))
        self.scores = np.sort(rng.random((VIDEOS, 4), np.float32))[:, ::-1].copy()
        taxonomy = Taxonomy.load("evc-179")
        self.priors = [torch.from_numpy(rng.random((VIDEOS, size), np.float32))
                       for size in (len(taxonomy.categories), len(taxonomy.words))]
        self.written = [[TEXTS[row] for row in own[:2]] for own in self.rows]

    def stored(self, resident: bool) -> StoredInputs:
        return StoredInputs(IDS, {
            "appearance": StoredRows.of(self.frames, IDS, LENGTHS, resident),
            "audio": StoredRows.of(self.sound, IDS, self.sounding, resident),
            "text": CandidateRows.of(self.captions, self.rows, self.scores, resident)}, *self.priors)

    def in_memory(self) -> Inputs:
        frames, sound = (pack(rows.astype(np.float32), offsets)
                         for rows, offsets in (store.load(IDS) for store in (self.frames, self.sound)))
        text = pack(self.captions.embeddings[self.rows.flatten()], np.arange(VIDEOS + 1) * 4)
        text = type(text)(text.rows, text.mask, word_keys([[TEXTS[row] for row in own] for own in self.rows]),
                          torch.from_numpy(self.scores))
        return Inputs(IDS, {"appearance": frames, "audio": sound, "text": text}, *self.priors)

    def weights(self, inputs: InputSource) -> dict[str, bytes]:
        split = Split(inputs, tuple(map(tuple, self.written)))
        trained = train_on(split, section=SMALL, epochs=2, videos_per_batch=5, attribute_folds=2,
                           self_critical_epochs=1)
        return {name: tensor.numpy().tobytes() for name, tensor in trained.model.state_dict().items()}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World(tmp_path_factory.mktemp("stores"))


def test_training_from_the_store_gives_the_weights_of_training_from_memory(world: World) -> None:
    expected = world.weights(world.in_memory())
    assert world.weights(world.stored(resident=True)) == expected
    assert world.weights(world.stored(resident=False)) == expected


def test_a_batch_that_is_read_ahead_is_the_one_that_was_asked_for(world: World) -> None:
    streamed, whole = world.stored(resident=False), world.in_memory()
    for asked, prepared in (([3, 1], [3, 1]), ([5, 0], [7, 8]), ([7, 8], [2])):     # not what comes: it is read anew
        streamed.prepare(prepared)
        found, expected = streamed.select(asked), whole.select(asked)
        assert found.ids == expected.ids
        for name, modality in expected.modalities.items():
            assert torch.equal(found.modalities[name].rows, modality.rows)
            assert torch.equal(found.modalities[name].mask, modality.mask)
    streamed.prepare([0])
    streamed.select([0])        # nothing is read any more when this returns


def test_rows_that_are_streamed_are_not_in_memory_and_shards_are_read_by_batch(world: World,
                                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    streamed = world.stored(resident=False)
    read: list[int] = []
    load = FeatureStore.load
    monkeypatch.setattr(FeatureStore, "load", lambda store, ids: (read.append(len(ids)), load(store, ids))[1])
    streamed.select([0, 4])
    assert read == [2, 2]


def test_the_first_videos_of_a_set_are_padded_as_all_of_it(world: World) -> None:
    for inputs in (world.in_memory(), world.stored(True), world.stored(False)):
        some = inputs.first(3)
        assert some.ids == IDS[:3]
        assert torch.equal(some.select([2, 0]).modalities["appearance"].rows,
                           inputs.select([2, 0]).modalities["appearance"].rows)


def test_a_long_video_costs_its_own_rows_alone(tmp_path: Path) -> None:
    lengths = np.where(np.arange(VIDEOS) == 9, 3600, 28)
    rows = StoredRows.of(make_store(tmp_path / "long", lengths), IDS, lengths, resident=True)
    assert rows.resident is not None and rows.resident.dtype == torch.float16
    assert len(rows.resident) == 28 * (VIDEOS - 1) + 3600
    assert rows.select(np.array([0, 1])).rows.shape == (2, 32, DIM)
    assert rows.select(np.array([9, 1])).rows.shape == (2, 3600, DIM)
    assert max(map(len, StoredInputs(IDS, {"appearance": rows}, *[torch.zeros(VIDEOS, 1)] * 2).blocks())) > 1


def test_padding_has_few_shapes_and_one_for_short_videos() -> None:
    assert [padded_slots(longest, 28) for longest in (0, 1, 28)] == [28, 28, 28]
    assert [padded_slots(longest, 300) for longest in (0, 32, 33, 64, 65, 300)] == [32, 32, 64, 64, 128, 300]


def test_what_is_resident_is_decided_by_the_budget() -> None:
    budget = Budget(3)
    assert [budget.take(megabytes << 20) for megabytes in (2, 2, 1, 1)] == [True, False, True, False]
    assert budget.summary() == {"resident": 3, "streamed": 3}


def test_statistics_in_parts_are_those_of_all_rows(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.captioner.inputs._BLOCK", 20)
    inputs = world.stored(resident=False)
    assert len(list(select_blocks(inputs))) > 4
    encoder = FeatureEncoder(inputs.dims, 8, 0.0)
    encoder.fit(inputs)
    for name, modality in world.in_memory().modalities.items():
        rows = modality.rows[modality.mask].double()
        assert torch.allclose(encoder.get_buffer(f"mean_{name}"), rows.mean(0).float(), rtol=1e-6)
        assert torch.allclose(encoder.get_buffer(f"scale_{name}"), 1 / rows.std(0).float(), rtol=1e-6)
    scores = torch.from_numpy(world.scores).double()
    assert torch.allclose(encoder.get_buffer("score_statistics"), torch.stack([scores.mean(), scores.std()]).float())


def test_equal_inputs_have_equal_digests(world: World) -> None:
    resident, streamed = world.stored(True), world.stored(False)
    assert resident.digest() == streamed.digest() == world.stored(True).digest()
    assert resident.first(9).digest() != resident.digest()
    assert resident.with_priors(world.priors[0] + 1, world.priors[1]).digest() != resident.digest()


def test_a_video_without_frames_is_named(world: World) -> None:
    none = StoredRows.of(world.sound, IDS, world.sounding, resident=False)
    with pytest.raises(SpectrumError, match=f"'{IDS[-2]}': no appearance rows"):
        StoredInputs(IDS, {"appearance": none}, *world.priors)
