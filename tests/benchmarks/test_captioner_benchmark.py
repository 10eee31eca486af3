"""The plain loop of the benchmark computes what the captioner does: the same losses, gradients and beams."""

import numpy as np
import pytest
import torch

from benchmarks import captioner as bench

SMALL = bench.CARE.model_copy(update={"hidden_size": 32, "num_heads": 2, "feedforward_size": 64, "dropout": 0.0,
                                      "attention_dropout": 0.0, "universal_words": 20, "embedded_attributes": 4,
                                      "max_words": 12})


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> bench.World:
    return bench.make(tmp_path_factory.mktemp("bench"), SMALL, 6, vocabulary=300)


def test_both_learn_the_same(world: bench.World) -> None:
    model, other = world.model(), world.model()
    videos = [4, 1, 2]
    own = world.objective(model, bench.TRAINING).losses(np.array(videos))
    plain = bench.PlainLoop(world, other).losses(videos)
    for a, b in zip(own, plain, strict=True):
        assert a.item() == pytest.approx(b.item(), rel=1e-5)
    (own[0] + own[1]).backward()        # type: ignore[no-untyped-call]
    (plain[0] + plain[1]).backward()    # type: ignore[no-untyped-call]
    # The rows of float16 files and our resident ones are the same numbers, so only rounding differs.
    for p, q in zip(model.parameters(), other.parameters(), strict=True):
        if p.grad is not None and q.grad is not None:
            assert torch.allclose(p.grad, q.grad, atol=1e-4)


def test_both_generate_the_same(world: bench.World) -> None:
    model = world.model()
    with torch.no_grad():
        bench._end_like_people(model)
    settings = bench.BEAM.model_copy(update={"num_beams": 3})
    ours = bench.our_beams(model, world.inputs, settings)
    plain = bench.plain_beams(model, world.inputs, settings)
    for a, b in zip(ours, plain, strict=True):
        assert [tokens for tokens, _ in a] == [tokens for tokens, _ in b]
        assert [score for _, score in a] == pytest.approx([score for _, score in b], abs=1e-4)
    assert 3 < np.mean([len(beams[0][0]) for beams in ours]) < 13       # they end by themselves


def test_it_measures(world: bench.World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "TRAINING", bench.TRAINING.model_copy(update={"videos_per_batch": 3}))
    monkeypatch.setattr(bench, "SIZES", (4, 8))
    found = bench.training_speed(world, 1) | bench.beam_speed(world, 1)
    assert found["train_speedup"] > 0 and found["beam_speedup"] > 0 and found["captions_a_step"] == 60
    assert [size["captions"] for size in bench.batch_sizes(world, 1)] == [4, 8]
    assert bench.peak_memory(SMALL, 3, ours=True) > 0
