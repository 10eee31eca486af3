"""Beam search against exhaustive search and against a plain beam without cache, batch or tensors."""

import math
from functools import cache
from itertools import pairwise

import pytest
import torch
from captioner_world import TAXONOMY, world

from pipeline import params
from pipeline.captioner.attributes import AttributeList
from pipeline.captioner.beam import caption, search, sentences
from pipeline.captioner.inputs import Inputs
from pipeline.captioner.model import Captioner, Shape
from pipeline.captioner.vocabulary import BOS, EOS, PAD, UNK, Vocabulary

Found = list[tuple[list[int], float]]


@cache
def talker(said: tuple[str, ...], max_words: int, vtai: bool = True, sharp: float = 6.0,
           ) -> tuple[Captioner, Vocabulary, AttributeList, Inputs]:
    """An untrained model with peaked, video-dependent predictions."""
    inputs, _ = world(12, seed=4, silent=2)
    section = params.Captioner(width=16, heads=2, layers=2, feedforward=32, word_count=1, universal_words=20,
                               embedded_attributes=4, max_words=max_words, vtai=vtai, cfb=vtai, aeb=vtai)
    vocabulary = Vocabulary.build(said, 1)
    attributes = AttributeList.build(said, TAXONOMY, 20)
    torch.manual_seed(5)
    model = Captioner(section, Shape.of(section, inputs, len(vocabulary)), attributes)
    with torch.no_grad():
        for layer in model.decoder.layers:
            layer.output.weight.mul_(4)
        model.decoder.output.weight.mul_(sharp)
    return model.eval(), vocabulary, attributes, inputs


def log_p(model: Captioner, inputs: Inputs, video: int, tokens: list[int]) -> torch.Tensor:
    """log p of the next token after `tokens`, by the uncached path."""
    encoded = model.encode(inputs.select([video]))
    out = model.decode(encoded, torch.tensor([tokens]), torch.zeros(1, dtype=torch.long))[0, -1]
    out = out.log_softmax(-1)
    out[[PAD, BOS, UNK]] = -math.inf
    if len(tokens) == 1:
        out[EOS] = -math.inf
    else:
        out[tokens[-1]] = -math.inf
    if len(tokens) == model.section.max_words + 1:
        out[:EOS] = out[EOS + 1:] = -math.inf
    return out


@torch.no_grad()
def exhaustive(model: Captioner, inputs: Inputs, video: int, power: float) -> Found:
    done: Found = []
    alive: list[tuple[list[int], float]] = [([BOS], 0.0)]
    while alive:
        tokens, total = alive.pop()
        for token, gain in enumerate(log_p(model, inputs, video, tokens).tolist()):
            if gain == -math.inf:
                continue
            grown = [*tokens, token]
            if token == EOS:
                done.append((grown[1:], (total + gain) / (len(grown) - 1) ** power))
            else:
                alive.append((grown, total + gain))
    return sorted(done, key=lambda item: -item[1])


@torch.no_grad()
def plain(model: Captioner, inputs: Inputs, video: int, beam: int, power: float) -> Found:
    """Runs to the longest caption: no early end that could be wrong."""
    done: Found = []
    alive: list[tuple[list[int], float]] = [([BOS], 0.0)]
    while alive:
        grown = [([*tokens, token], total + gain) for tokens, total in alive
                 for token, gain in enumerate(log_p(model, inputs, video, tokens).tolist())
                 if gain > -math.inf]
        grown.sort(key=lambda item: -item[1])
        done += [(tokens[1:], total / (len(tokens) - 1) ** power)
                 for tokens, total in grown[:beam] if tokens[-1] == EOS]
        alive = [item for item in grown if item[0][-1] != EOS][:beam]
    return sorted(done, key=lambda item: -item[1])[:beam]


TINY = ("man runs sadly",)
RICH = ("a man happily runs in the park", "the dog sadly sleeps on a street", "one robot waves angrily")


@pytest.mark.parametrize("power", [0.0, 0.7, 1.0])
def test_a_wide_beam_finds_the_best_of_all_captions(power: float) -> None:
    model, _, _, inputs = talker(TINY, 4)
    encoded = model.encode(inputs)
    found = search(model, encoded, len(inputs), params.Decoding(beam=50, length_power=power))
    for video in range(len(inputs)):
        truth = exhaustive(model, inputs, video, power)
        assert len(truth) == 3 + 6 + 12 + 24
        assert found[video][0][0] == truth[0][0]
        assert found[video][0][1] == pytest.approx(truth[0][1], abs=1e-4)


@pytest.mark.parametrize("beam", [1, 3, 5])
@pytest.mark.parametrize("power", [0.0, 1.0])
def test_equal_to_a_plain_beam(beam: int, power: float) -> None:
    model, _, _, inputs = talker(RICH, 8)
    found = search(model, model.encode(inputs), len(inputs), params.Decoding(beam=beam, length_power=power))
    for video in range(len(inputs)):
        truth = plain(model, inputs, video, beam, power)
        assert found[video][0][0] == truth[0][0]
        assert found[video][0][1] == pytest.approx(truth[0][1], abs=1e-4)
    assert len({tuple(beams[0][0]) for beams in found}) > 1


def test_the_batch_changes_nothing() -> None:
    model, vocabulary, attributes, inputs = talker(RICH, 8)
    one = caption(model, vocabulary, attributes, inputs, params.Decoding(batch=1))
    many = caption(model, vocabulary, attributes, inputs, params.Decoding(batch=5))
    backwards = inputs.select(range(len(inputs) - 1, -1, -1))
    turned = caption(model, vocabulary, attributes, backwards, params.Decoding())
    for a, b, c in zip(one, many, reversed(turned), strict=True):
        assert a.video_id == b.video_id == c.video_id and a.text == b.text == c.text
        assert [h.text for h in a.beams] == [h.text for h in b.beams] == [h.text for h in c.beams]
        assert [h.score for h in a.beams] == pytest.approx([h.score for h in c.beams], abs=1e-4)
    assert sentences(model, vocabulary, inputs, params.Decoding()) == [c.text for c in one]


def test_hypotheses_are_sound() -> None:
    model, _, _, inputs = talker(RICH, 8, sharp=1.0)        # flat: everything is tried
    for beams in search(model, model.encode(inputs), len(inputs), params.Decoding(beam=4)):
        assert beams == sorted(beams, key=lambda item: -item[1])
        assert len({tuple(tokens) for tokens, _ in beams}) == len(beams)
        for tokens, score in beams:
            assert tokens[-1] == EOS and 2 <= len(tokens) <= 9 and math.isfinite(score)
            assert not {PAD, BOS, UNK, EOS} & set(tokens[:-1])
            assert all(a != b for a, b in pairwise(tokens))


def test_a_model_that_never_ends_is_ended_at_the_limit() -> None:
    model, _, _, inputs = talker(RICH, 8)
    with torch.no_grad():
        model.decoder.output.bias[EOS] -= 1000
        found = search(model, model.encode(inputs), len(inputs), params.Decoding(beam=3))
        model.decoder.output.bias[EOS] += 1000
    assert all(len(tokens) == 9 for beams in found for tokens, _ in beams)


def test_captions_carry_attributes_and_emotions() -> None:
    model, vocabulary, attributes, inputs = talker(RICH, 8)
    for found in caption(model, vocabulary, attributes, inputs, params.Decoding()):
        assert found.text == found.beams[0].text and found.score == found.beams[0].score
        assert len(found.attributes) == 4
        assert all(a.emotional == bool(TAXONOMY.categories_of(a.word)) for a in found.attributes)
        chances = [p for _, p in found.emotions]
        assert chances == sorted(chances, reverse=True)
        assert {category for category, _ in found.emotions} == set(TAXONOMY.categories)
    assert not model.training


def test_without_vtai_the_emotions_are_the_prior() -> None:
    model, vocabulary, attributes, inputs = talker(RICH, 8, vtai=False)
    for i, found in enumerate(caption(model, vocabulary, attributes, inputs, params.Decoding(beam=1))):
        assert found.attributes == ()
        assert dict(found.emotions) == pytest.approx(
            dict(zip(TAXONOMY.categories, inputs.prior_categories[i].tolist(), strict=True)))
