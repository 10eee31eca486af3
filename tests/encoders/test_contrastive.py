"""Training a CLIP of our own: it learns, it retrieves better than chance, it is the same every time."""

import numpy as np
import open_clip
import pytest
import torch
from numpy.typing import NDArray

from pipeline.encoders import contrastive_training as contrastive
from pipeline.encoders import open_clip_model
from pipeline.params import EncoderTraining

COLOURS = {"red": (220, 40, 30), "green": (30, 200, 60), "blue": (40, 60, 220), "yellow": (230, 220, 40)}
PLACES = {"above": (8, 24), "below": (40, 56)}


def world(rng: np.random.Generator, copies: int) -> tuple[NDArray[np.uint8], list[list[str]]]:
    """Coloured bars above or below, [V, 2, 64, 64, 3], with two captions each."""
    frames, captions = [], []
    for colour, rgb in COLOURS.items():
        for place, (top, bottom) in PLACES.items():
            for _ in range(copies):
                clip = rng.integers(90, 160, (2, 64, 64, 3))
                clip[:, top:bottom, 8:56] = rgb
                frames.append(np.clip(clip + rng.integers(-20, 20, clip.shape), 0, 255).astype(np.uint8))
                captions.append([f"a {colour} bar {place}", f"{place} there is a {colour} bar"])
    return np.stack(frames), captions


def trained(seed: int, epochs: int = 30) -> tuple[torch.nn.Module, list[float]]:
    model, tokenizer, _ = open_clip_model.create("spectrum-sample", seed)
    frames, captions = world(np.random.default_rng(0), copies=4)
    section = EncoderTraining(epochs=epochs, batch_size=8, learning_rate=2e-3)
    return model, contrastive.train(model, frames, captions, tokenizer, section, seed, torch.device("cpu"))


def test_the_loss_falls_and_unseen_clips_find_their_captions() -> None:
    model, losses = trained(seed=0)
    assert losses[-1] < 0.6 * losses[0]
    assert not model.training
    frames, captions = world(np.random.default_rng(1), copies=1)
    tokenizer = open_clip.get_tokenizer("spectrum-sample")
    with torch.no_grad():
        images = torch.from_numpy(frames[:, 0]).permute(0, 3, 1, 2).float()
        pictures = model.encode_image(contrastive._normalise(images, model), normalize=True)
        texts = model.encode_text(tokenizer([of_video[0] for of_video in captions]), normalize=True)
    found = (texts @ pictures.T).argmax(1)
    assert (found == torch.arange(len(frames))).float().mean() >= 0.5      # by chance 0.125


def test_the_same_seed_gives_the_same_weights() -> None:
    (first, losses), (second, again) = trained(0, epochs=1), trained(0, epochs=1)
    assert losses == again
    for one, other in zip(first.state_dict().values(), second.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    assert trained(1, epochs=1)[1] != losses


def test_the_number_of_threads_changes_no_bit() -> None:
    usual = torch.get_num_threads()
    weights = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        try:
            weights.append(trained(0, epochs=1)[0].state_dict())
            assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(usual)
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_the_word_head_asks_for_the_share_of_captions_that_use_a_word() -> None:
    model, _, _ = open_clip_model.create("spectrum-sample", 0)
    captions = [["a red bar", "a bar"], ["a blue bar", "a bar"], ["a red bar", "red"]] * 3
    head = contrastive._WordHead(captions, model, torch.device("cpu"))
    assert head.shares[:3].tolist() == [[1.0, 1.0, 0.0, 0.5], [1.0, 1.0, 0.5, 0.0], [0.5, 0.5, 0.0, 1.0]]
    unit = torch.nn.functional.normalize(torch.ones(1, 128), dim=1)
    of_mean = head.shares.mean(0).clamp(1e-3, 1 - 1e-3)       # where it starts, whatever the picture
    expected = torch.nn.functional.binary_cross_entropy(of_mean, head.shares[0], reduction="sum")
    assert head(unit, torch.tensor([0])).item() == pytest.approx(expected.item(), rel=1e-4)


def test_equal_sentences_match_every_video_that_has_them() -> None:
    captions = [["A dog runs.", "a cat"], ["a dog runs"], ["a bird"]]
    bank = contrastive._Captions(captions, lambda texts: torch.arange(len(texts))[:, None], torch.device("cpu"))
    for seed in range(8):
        tokens, matches = bank.draw(torch.tensor([1, 0, 2]), torch.Generator().manual_seed(seed))
        rows = {int(token): column.tolist() for token, column in zip(tokens, matches.T, strict=True)}
        assert rows[0] == [True, True, False] and rows[2] == [False, False, True]
        assert rows.get(1, [False, True, False]) == [False, True, False]


def test_a_shared_target_is_met_best_by_equal_logits() -> None:
    matches = torch.tensor([[True, True, False], [False, False, True]])
    best = contrastive._shared_cross_entropy(torch.tensor([[9.0, 9.0, -9.0], [-9.0, -9.0, 9.0]]), matches)
    uneven = contrastive._shared_cross_entropy(torch.tensor([[9.0, 0.0, -9.0], [-9.0, -9.0, 9.0]]), matches)
    assert best == pytest.approx(np.log(2) / 2, abs=1e-3)
    assert uneven > best


def test_pictures_move_but_keep_their_colours_and_mirror_only_where_allowed() -> None:
    images = torch.zeros(64, 32, 32, 3, dtype=torch.uint8)
    images[:, :, 16:, 0] = 200
    moved = contrastive._augment(images, torch.arange(64) < 32, torch.Generator().manual_seed(0))
    assert moved.shape == (64, 3, 32, 32)
    assert moved[:, 0].max() <= 200.01 and moved[:, 1:].abs().max() == 0
    left, right = moved[:, 0, :, :12].mean((1, 2)), moved[:, 0, :, 20:].mean((1, 2))
    assert 8 < (left > right)[:32].sum() < 24
    assert not (left > right)[32:].any()


def test_videos_whose_captions_name_a_side_are_not_mirrored() -> None:
    assert contrastive._names_a_side(["a car turns left", "a car"])
    assert not contrastive._names_a_side(["a leftover", "bright"])


def test_batches_are_of_about_equal_size_and_hold_every_video_once() -> None:
    parts = list(contrastive._batches(torch.eye(65), 2, torch.Generator().manual_seed(0)))
    assert sorted(len(part) for part in parts) == [32, 33]
    assert sorted(torch.cat(parts).tolist()) == list(range(65))


def test_videos_with_similar_captions_come_in_one_batch() -> None:
    animals = ("dog", "cat", "bird", "fish", "goat", "bear")
    captions = [[f"a {animal} eats", f"{how} a {animal}"]
                for animal in animals for how in ("now", "soon", "now", "soon", "now")]
    likeness = contrastive._likeness(captions)
    assert likeness.shape == (30, 30)
    assert likeness[0, 2] == pytest.approx(1) and likeness[0, 1] > 2 * likeness[0, 5]
    together = 0
    for seed in range(5):
        for part in contrastive._batches(likeness, 3, torch.Generator().manual_seed(seed)):
            kinds = [int(video) // 5 for video in part]
            together += sum(kinds.count(kind) - 1 for kind in kinds)
    assert together / (5 * 30) > 3      # of four; at random 1.2


def test_the_learning_rate_warms_up_and_ends_at_nothing() -> None:
    factor = contrastive._schedule(100)
    rates = [factor(step) for step in range(101)]
    assert rates[0] == pytest.approx(0.1) and max(rates) == rates[9] == 1
    assert rates[100] == pytest.approx(0, abs=1e-6)
