"""Beam search against exhaustive search and a plain beam without cache, batch or tensors; sampling against chance."""

import math
from collections import Counter
from functools import cache
from itertools import pairwise

import pytest
import torch
from captioner_world import TAXONOMY, world

from pipeline import params
from pipeline.captioner.attributes import AttributeList
from pipeline.captioner.generation.beam_search import caption, search
from pipeline.captioner.generation.random_sampling import Draw, sample
from pipeline.captioner.inputs import Inputs
from pipeline.captioner.model.captioner import Captioner, Shape
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


def repeats(tokens: list[int], count: int) -> int:
    """Runs of `count` words that stand in the caption before."""
    runs = [tuple(tokens[i:i + count]) for i in range(len(tokens) - count + 1)]
    return len(runs) - len(set(runs))


@torch.no_grad()
def plain(model: Captioner, inputs: Inputs, video: int, beam: int, power: float, no_repeat: int = 0) -> Found:
    """Runs to the longest caption: no early end that could be wrong."""
    done: Found = []
    alive: list[tuple[list[int], float]] = [([BOS], 0.0)]
    while alive:
        grown = [([*tokens, token], total + gain) for tokens, total in alive
                 for token, gain in enumerate(log_p(model, inputs, video, tokens).tolist())
                 if gain > -math.inf]
        if no_repeat:
            full = model.section.max_words + 2      # what is ended at the limit can no longer avoid anything
            grown = [item for item in grown if len(item[0]) == full or repeats(item[0][1:], no_repeat) == 0]
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
    found = search(model, encoded, len(inputs), params.Generation(beam=50, length_power=power))
    for video in range(len(inputs)):
        truth = exhaustive(model, inputs, video, power)
        assert len(truth) == 3 + 6 + 12 + 24
        assert found[video][0][0] == truth[0][0]
        assert found[video][0][1] == pytest.approx(truth[0][1], abs=1e-4)


@pytest.mark.parametrize("beam", [1, 3, 5])
@pytest.mark.parametrize("power", [0.0, 1.0])
def test_equal_to_a_plain_beam(beam: int, power: float) -> None:
    model, _, _, inputs = talker(RICH, 8)
    found = search(model, model.encode(inputs), len(inputs), params.Generation(beam=beam, length_power=power))
    for video in range(len(inputs)):
        truth = plain(model, inputs, video, beam, power)
        assert found[video][0][0] == truth[0][0]
        assert found[video][0][1] == pytest.approx(truth[0][1], abs=1e-4)
    assert len({tuple(beams[0][0]) for beams in found}) > 1


@pytest.mark.parametrize("count", [1, 2, 3])
def test_no_words_come_twice_where_they_must_not(count: int) -> None:
    model, _, _, inputs = talker(("a b",), 8, sharp=1.0)          # two words: repetition is all it can do
    settings = params.Generation(beam=3, no_repeat=count)
    found = search(model, model.encode(inputs), len(inputs), settings)
    free = search(model, model.encode(inputs), len(inputs), params.Generation(beam=3))
    for video, beams in enumerate(found):
        truth = plain(model, inputs, video, 3, 1.0, count)
        assert [tokens for tokens, _ in beams] == [tokens for tokens, _ in truth[:len(beams)]]
        assert all(repeats(tokens, count) == 0 for tokens, _ in beams)
    assert any(repeats(tokens, count) for beams in free for tokens, _ in beams)
    texts, _ = sample(model, model.encode(inputs), len(inputs), Draw(4, no_repeat=count))
    drawn = [[token for token in text if token != PAD] for text in texts.flatten(0, 1).tolist()]
    assert all(repeats(tokens, count) == 0 for tokens in drawn)


def test_samples_are_drawn_by_the_models_probabilities() -> None:
    model, _, _, inputs = talker(TINY, 2, sharp=2.0)
    one = inputs.select([3])
    # log p under the rules: every step's probabilities are shared out anew among the words that are allowed.
    chances: dict[tuple[int, ...], float] = {}
    alive: list[tuple[list[int], float]] = [([BOS], 0.0)]
    with torch.no_grad():
        while alive:
            tokens, total = alive.pop()
            for token, gain in enumerate(log_p(model, one, 0, tokens).log_softmax(-1).tolist()):
                if gain > -math.inf and token == EOS:
                    chances[(*tokens[1:], EOS)] = math.exp(total + gain)
                elif gain > -math.inf:
                    alive.append(([*tokens, token], total + gain))
    assert sum(chances.values()) == pytest.approx(1)
    generator = torch.Generator().manual_seed(0)
    texts, sums = sample(model, model.encode(one), 1, Draw(4000), generator)
    drawn = Counter(tuple(token for token in text if token != PAD) for text in texts[0].tolist())
    for tokens, chance in chances.items():
        assert abs(drawn[tokens] / 4000 - chance) < 4 * math.sqrt(chance / 4000) + 1e-9
    for text, total in zip(texts[0].tolist()[:50], sums[0].tolist(), strict=False):
        assert math.exp(total) == pytest.approx(chances[tuple(t for t in text if t != PAD)], abs=1e-4)
    cold, _ = sample(model, model.encode(one), 1, Draw(50, temperature=1e-3), generator)
    likely, _ = sample(model, model.encode(one), 1, Draw(50, top_p=1e-6), generator)
    greedy = search(model, model.encode(one), 1, params.Generation(beam=1))[0][0][0]
    for texts in (cold, likely):
        assert all([t for t in text if t != PAD] == greedy for text in texts[0].tolist())


def test_sampled_captions_are_seeded_ordered_and_scored_like_beams() -> None:
    model, vocabulary, attributes, inputs = talker(RICH, 8, sharp=2.0)
    settings = params.Generation(method="sample", beam=4, seed=3)
    one, two = (caption(model, vocabulary, attributes, inputs, settings) for _ in range(2))
    assert one == two
    assert one != caption(model, vocabulary, attributes, inputs, settings.model_copy(update={"seed": 4}))
    for found in one:
        scores = [beam.score for beam in found.beams]
        assert len(scores) == 4 and scores == sorted(scores, reverse=True) and found.text == found.beams[0].text
        assert all(len(beam.text.split()) in range(1, 9) for beam in found.beams)


def test_the_batch_changes_nothing() -> None:
    model, vocabulary, attributes, inputs = talker(RICH, 8)
    one = caption(model, vocabulary, attributes, inputs, params.Generation(batch=1))
    many = caption(model, vocabulary, attributes, inputs, params.Generation(batch=5))
    backwards = inputs.select(range(len(inputs) - 1, -1, -1))
    turned = caption(model, vocabulary, attributes, backwards, params.Generation())
    for a, b, c in zip(one, many, reversed(turned), strict=True):
        assert a.video_id == b.video_id == c.video_id and a.text == b.text == c.text
        assert [h.text for h in a.beams] == [h.text for h in b.beams] == [h.text for h in c.beams]
        assert [h.score for h in a.beams] == pytest.approx([h.score for h in c.beams], abs=1e-4)


def test_the_odds_of_its_attributes_choose_among_the_beams() -> None:
    model, vocabulary, attributes, inputs = talker(RICH, 8)
    encoded = model.encode(inputs)
    assert encoded.attribute_logits is not None
    told = caption(model, vocabulary, attributes, inputs, params.Generation(attribute_odds=0.5, length_power=0.7))
    moved = 0
    for found, beams, logits in zip(told, search(model, encoded, len(inputs), params.Generation(length_power=0.7)),
                                    encoded.attribute_logits.tolist(), strict=True):
        wanted = {}
        for tokens, score in beams:
            named = {vocabulary.entries[token] for token in tokens}
            odds = sum(logit for word, logit in zip(attributes.words, logits, strict=True) if word in named)
            wanted[vocabulary.decode(tokens)] = score + 0.5 * odds / len(tokens) ** 0.7
        assert {beam.text: beam.score for beam in found.beams} == pytest.approx(wanted, abs=1e-4)
        assert found.score == max(beam.score for beam in found.beams) == pytest.approx(max(wanted.values()), abs=1e-4)
        moved += found.text != vocabulary.decode(beams[0][0])
    assert moved


def test_without_vtai_there_are_no_odds() -> None:
    model, vocabulary, attributes, inputs = talker(RICH, 8, vtai=False)
    told = [caption(model, vocabulary, attributes, inputs, params.Generation(attribute_odds=weight)) for weight in (0, 1)]
    assert told[0] == told[1]


def test_hypotheses_are_sound() -> None:
    model, _, _, inputs = talker(RICH, 8, sharp=1.0)        # flat: everything is tried
    for beams in search(model, model.encode(inputs), len(inputs), params.Generation(beam=4)):
        assert beams == sorted(beams, key=lambda item: -item[1])
        assert len({tuple(tokens) for tokens, _ in beams}) == len(beams)
        for tokens, score in beams:
            assert tokens[-1] == EOS and 2 <= len(tokens) <= 9 and math.isfinite(score)
            assert not {PAD, BOS, UNK, EOS} & set(tokens[:-1])
            assert all(a != b for a, b in pairwise(tokens))


def test_a_model_that_never_ends_is_ended_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    model, _, _, inputs = talker(RICH, 8)
    step = model.step
    endless = torch.zeros(model.shape.vocabulary).index_fill(0, torch.tensor([EOS]), 1000)
    monkeypatch.setattr(model, "step", lambda *given: step(*given) - endless)
    found = search(model, model.encode(inputs), len(inputs), params.Generation(beam=3))
    assert all(len(tokens) == 9 for beams in found for tokens, _ in beams)
    texts, _ = sample(model, model.encode(inputs), len(inputs), Draw(3))
    assert (texts[..., -1] == EOS).all() and not (texts[..., :-1] == EOS).any()


def test_captions_carry_attributes_and_emotions() -> None:
    model, vocabulary, attributes, inputs = talker(RICH, 8)
    for found in caption(model, vocabulary, attributes, inputs, params.Generation()):
        assert found.text == found.beams[0].text and found.score == found.beams[0].score
        told = found.as_json([("a man", 0.51239)])
        assert [beam["score"] for beam in told["beams"]] == pytest.approx([b.score for b in found.beams], abs=1e-4)
        assert told["candidates"] == [{"text": "a man", "score": 0.5124}]
        assert len(found.attributes) == 4
        assert all(a.emotional == bool(TAXONOMY.categories_of(a.word)) for a in found.attributes)
        chances = [p for _, p in found.emotions]
        assert chances == sorted(chances, reverse=True)
        assert {category for category, _ in found.emotions} == set(TAXONOMY.categories)
    assert not model.training


def test_without_vtai_the_emotions_are_the_prior() -> None:
    model, vocabulary, attributes, inputs = talker(RICH, 8, vtai=False)
    for i, found in enumerate(caption(model, vocabulary, attributes, inputs, params.Generation(beam=1))):
        assert found.attributes == ()
        assert dict(found.emotions) == pytest.approx(
            dict(zip(TAXONOMY.categories, inputs.prior_categories[i].tolist(), strict=True)))
