"""Beam search against exhaustive search and a plain beam without cache, batch or tensors; sampling against chance."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

import pytest
import torch
from captioner_world import BEAM, TAXONOMY, captions_by, world

from pipeline import params
from pipeline.captioner.attributes import AttributeList
from pipeline.captioner.generation import candidate_hypotheses
from pipeline.captioner.generation.beam_search import search
from pipeline.captioner.generation.captions import Caption
from pipeline.captioner.generation.generator import CaptionGenerator
from pipeline.captioner.generation.random_sampling import SamplingSettings, sample
from pipeline.captioner.inputs import Inputs
from pipeline.captioner.model.captioner import Captioner, Encoded, Shape
from pipeline.captioner.vocabulary import BOS, EOS, PAD, UNK, Vocabulary

Beams = list[tuple[list[int], float]]


@dataclass(frozen=True, eq=False)
class Talker:
    model: Captioner
    vocabulary: Vocabulary
    attributes: AttributeList
    inputs: Inputs

    def search(self, **changes: object) -> list[Beams]:
        """The beams of all its inputs."""
        return search(self.model, self.model.encode(self.inputs), len(self.inputs), beam(**changes))


def beam(**changes: object) -> params.Generation:
    return BEAM.model_copy(update=changes)


@cache
def talker(sentences: tuple[str, ...], max_words: int, vtai: bool = True, sharpness: float = 6.0,
           decoder_modalities: tuple[str, ...] = ()) -> Talker:
    """An untrained model with peaked, video-dependent predictions."""
    inputs, _ = world(12, seed=4, silent=2)
    section = params.Captioner(decoder_modalities=decoder_modalities, hidden_size=16, num_heads=2, num_layers=2,
                               feedforward_size=32, min_word_count=1, universal_words=20, embedded_attributes=4,
                               max_words=max_words, vtai=vtai, cfb=vtai, aeb=vtai)
    vocabulary = Vocabulary.build(sentences, 1)
    attributes = AttributeList.build(sentences, TAXONOMY, 20)
    torch.manual_seed(5)
    model = Captioner(section, Shape.of(section, inputs, len(vocabulary)), attributes, vocabulary)
    with torch.no_grad():
        for layer in model.decoder.layers:
            layer.output.weight.mul_(4)
        model.decoder.output.weight.mul_(sharpness)
    return Talker(model.eval(), vocabulary, attributes, inputs)


def log_p(model: Captioner, encoded: Encoded, tokens: list[int]) -> torch.Tensor:
    """log p of the next token after `tokens` of the one encoded video, by the uncached path."""
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


def exhaustive(talker: Talker, video: int, power: float) -> Beams:
    """Every caption that is allowed, best first."""
    scored = [(tokens, total / len(tokens) ** power) for tokens, total in every_caption(talker, video)]
    return sorted(scored, key=lambda item: -item[1])


@cache
@torch.no_grad()
def every_caption(talker: Talker, video: int) -> Beams:
    """With its Σ log p."""
    encoded = talker.model.encode(talker.inputs.select([video]))
    done: Beams = []
    alive: list[tuple[list[int], float]] = [([BOS], 0.0)]
    while alive:
        tokens, total = alive.pop()
        for token, gain in enumerate(log_p(talker.model, encoded, tokens).tolist()):
            if gain == -math.inf:
                continue
            grown = [*tokens, token]
            if token == EOS:
                done.append((grown[1:], total + gain))
            else:
                alive.append((grown, total + gain))
    return done


def repeats(tokens: list[int], count: int) -> int:
    """Runs of `count` words that stand in the caption before."""
    runs = [tuple(tokens[i:i + count]) for i in range(len(tokens) - count + 1)]
    return len(runs) - len(set(runs))


@torch.no_grad()
def plain(model: Captioner, inputs: Inputs, video: int, width: int, power: float, no_repeat: int = 0) -> Beams:
    """One video, no cache, no batch; it ends by the same rule."""
    encoded = model.encode(inputs.select([video]))
    done: Beams = []
    alive: list[tuple[list[int], float]] = [([BOS], 0.0)]
    while alive:
        grown = [([*tokens, token], total + gain) for tokens, total in alive
                 for token, gain in enumerate(log_p(model, encoded, tokens).tolist())
                 if gain > -math.inf]
        if no_repeat:
            full = model.section.max_words + 2      # what is ended at the limit can no longer avoid anything
            grown = [item for item in grown if len(item[0]) == full or repeats(item[0][1:], no_repeat) == 0]
        grown.sort(key=lambda item: -item[1])
        done += [(tokens[1:], total / (len(tokens) - 1) ** power)
                 for tokens, total in grown[:width] if tokens[-1] == EOS]
        alive = [item for item in grown if item[0][-1] != EOS][:width]
        done = sorted(done, key=lambda item: -item[1])[:width]
        if len(done) == width and alive and alive[0][1] / (len(alive[0][0]) - 1) ** power <= done[-1][1]:
            break
    return done


TINY = ("man runs sadly",)
RICH = ("a man happily runs in the park", "the dog sadly sleeps on a street", "one robot waves angrily")


@pytest.mark.parametrize("power", [0.0, 0.7, 1.0])
def test_a_wide_beam_finds_the_best_of_all_captions(power: float) -> None:
    tiny = talker(TINY, 4)
    for video, beams in enumerate(tiny.search(num_beams=50, length_penalty=power)):
        truth = exhaustive(tiny, video, power)
        assert len(truth) == 3 + 6 + 12 + 24
        assert beams[0][0] == truth[0][0]
        assert beams[0][1] == pytest.approx(truth[0][1], abs=1e-4)


@pytest.mark.parametrize("width", [1, 3, 5])
@pytest.mark.parametrize("power", [0.0, 1.0])
def test_equal_to_a_plain_beam(width: int, power: float) -> None:
    rich = talker(RICH, 8)
    of_videos = rich.search(num_beams=width, length_penalty=power)
    for video, beams in enumerate(of_videos):
        truth = plain(rich.model, rich.inputs, video, width, power)
        assert beams[0][0] == truth[0][0]
        assert beams[0][1] == pytest.approx(truth[0][1], abs=1e-4)
    assert len({tuple(beams[0][0]) for beams in of_videos}) > 1


@pytest.mark.parametrize("count", [1, 2, 3])
def test_no_words_come_twice_where_they_must_not(count: int) -> None:
    poor = talker(("a b",), 8, sharpness=1.0)           # two words: repetition is all it can do
    model, inputs = poor.model, poor.inputs
    free = poor.search(num_beams=3, length_penalty=3.0)         # long ones are the better
    for video, beams in enumerate(poor.search(num_beams=3, no_repeat_ngram_size=count)):
        truth = plain(model, inputs, video, 3, 1.0, count)
        assert [tokens for tokens, _ in beams] == [tokens for tokens, _ in truth[:len(beams)]]
        assert all(repeats(tokens, count) == 0 for tokens, _ in beams)
    assert any(repeats(tokens, count) for beams in free for tokens, _ in beams)
    texts, _ = sample(model, model.encode(inputs), len(inputs), SamplingSettings(4, no_repeat_ngram_size=count))
    drawn = [[token for token in text if token != PAD] for text in texts.flatten(0, 1).tolist()]
    assert all(repeats(tokens, count) == 0 for tokens in drawn)


def test_samples_are_drawn_by_the_models_probabilities() -> None:
    tiny = talker(TINY, 2, sharpness=2.0)
    model, one = tiny.model, tiny.inputs.select([3])
    # log p under the rules: every step's probabilities are shared out anew among the words that are allowed.
    chances: dict[tuple[int, ...], float] = {}
    alive: list[tuple[list[int], float]] = [([BOS], 0.0)]
    with torch.no_grad():
        encoded = model.encode(one)
        while alive:
            tokens, total = alive.pop()
            for token, gain in enumerate(log_p(model, encoded, tokens).log_softmax(-1).tolist()):
                if gain > -math.inf and token == EOS:
                    chances[(*tokens[1:], EOS)] = math.exp(total + gain)
                elif gain > -math.inf:
                    alive.append(([*tokens, token], total + gain))
    assert sum(chances.values()) == pytest.approx(1)
    torch.manual_seed(0)
    texts, sums = sample(model, model.encode(one), 1, SamplingSettings(4000))
    drawn = Counter(tuple(token for token in text if token != PAD) for text in texts[0].tolist())
    for tokens, chance in chances.items():
        assert abs(drawn[tokens] / 4000 - chance) < 4 * math.sqrt(chance / 4000) + 1e-9
    for text, total in zip(texts[0].tolist()[:50], sums[0].tolist(), strict=False):
        assert math.exp(total) == pytest.approx(chances[tuple(t for t in text if t != PAD)], abs=1e-4)
    cold, _ = sample(model, model.encode(one), 1, SamplingSettings(50, temperature=1e-3))
    likely, _ = sample(model, model.encode(one), 1, SamplingSettings(50, top_p=1e-6))
    greedy = search(model, model.encode(one), 1, beam(num_beams=1))[0][0][0]
    for texts in (cold, likely):
        assert all([t for t in text if t != PAD] == greedy for text in texts[0].tolist())


def test_sampled_captions_are_seeded_ordered_and_scored_like_beams() -> None:
    rich = talker(RICH, 8, sharpness=2.0)
    one, two, other = (captions_by(rich, rich.inputs, beam(method="sample", num_beams=4, seed=seed))
                       for seed in (3, 3, 4))
    assert one == two and one != other
    for caption in one:
        scores = [hypothesis.score for hypothesis in caption.beams]
        assert len(scores) == 4 and scores == sorted(scores, reverse=True) and caption.text == caption.beams[0].text
        assert all(len(hypothesis.text.split()) in range(1, 9) for hypothesis in caption.beams)


def test_every_video_has_random_numbers_of_its_own_whatever_the_batch() -> None:
    rich = talker(RICH, 8, sharpness=2.0)
    alone, together = (captions_by(rich, rich.inputs, beam(method="sample", num_beams=4, batch_size=size))
                       for size in (1, 5))
    assert [caption.text for caption in alone] == [caption.text for caption in together]
    twins = captions_by(rich, rich.inputs.select([0, 0, 0]), beam(method="sample", num_beams=4, batch_size=1))
    assert len({caption.text for caption in twins}) > 1


def test_the_batch_changes_nothing() -> None:
    rich = talker(RICH, 8)
    one, many = (captions_by(rich, rich.inputs, beam(batch_size=size)) for size in (1, 5))
    turned = captions_by(rich, rich.inputs.select(range(len(rich.inputs) - 1, -1, -1)))
    for a, b, c in zip(one, many, reversed(turned), strict=True):
        assert a.video_id == b.video_id == c.video_id and a.text == b.text == c.text
        assert [h.text for h in a.beams] == [h.text for h in b.beams] == [h.text for h in c.beams]
        assert [h.score for h in a.beams] == pytest.approx([h.score for h in c.beams], abs=1e-4)


def test_the_odds_of_its_attributes_choose_among_the_beams() -> None:
    rich = talker(RICH, 8)
    attribute_logits = rich.model.encode(rich.inputs).attribute_logits
    assert attribute_logits is not None
    captions = captions_by(rich, rich.inputs, beam(attribute_odds=0.5, emotion_odds=0.25, length_penalty=0.7))
    moved = 0
    for caption, beams, logits in zip(captions, rich.search(length_penalty=0.7), attribute_logits.tolist(),
                                      strict=True):
        expected = {}
        for tokens, score in beams:
            said = {rich.vocabulary.entries[token] for token in tokens}
            logit_of = dict(zip(rich.attributes.words, logits, strict=True))
            odds = sum(logit_of[word] for word in rich.attributes.universal if word in said)
            for mood in {TAXONOMY.first_category(word) for word in said & set(rich.attributes.emotional)}:
                silent = math.prod(1 - 1 / (1 + math.exp(-logit_of[word])) for word in rich.attributes.emotional
                                   if mood in TAXONOMY.categories_of(word))
                odds += 0.5 * math.log((1 - silent) / silent)       # the model was not fitted: its base is 0
            expected[rich.vocabulary.decode(tokens)] = score + 0.5 * odds / len(tokens) ** 0.7
        assert {beam.text: beam.score for beam in caption.beams} == pytest.approx(expected, abs=1e-4)
        best = max(beam.score for beam in caption.beams)
        assert caption.score == best == pytest.approx(max(expected.values()), abs=1e-4)
        moved += caption.text != rich.vocabulary.decode(beams[0][0])
    assert moved


def test_without_vtai_there_are_no_odds() -> None:
    baseline = talker(RICH, 8, vtai=False)
    without, with_odds = (captions_by(baseline, baseline.inputs, beam(attribute_odds=weight, emotion_odds=weight))
                          for weight in (0, 1))
    assert without == with_odds


@pytest.mark.parametrize("words_at_once", [8192, 30])
def test_candidates_are_hypotheses_with_the_captioners_own_scores(monkeypatch: pytest.MonkeyPatch,
                                                                  words_at_once: int) -> None:
    monkeypatch.setattr(candidate_hypotheses, "_MOST_WORDS", words_at_once)
    rich = talker(RICH, 8)
    candidates = [["a man runs in the park", "one dog sleeps sadly", "a zebra runs", "man " * 9]] * len(rich.inputs)
    section = beam(candidates=3, length_penalty=0.7)
    chosen = CaptionGenerator(rich.model, rich.vocabulary, rich.attributes, section).generate(rich.inputs, candidates)
    alone = captions_by(rich, rich.inputs, beam(length_penalty=0.7))
    moods = set()
    for number, (caption, plain) in enumerate(zip(chosen, alone, strict=True)):
        score_of = {beam.text: beam.score for beam in caption.beams}
        assert {beam.text for beam in plain.beams} == {beam.text for beam in caption.beams if not beam.retrieved}
        assert caption.likeliest == caption.generated == plain.text
        assert caption.score == max(score_of.values()) and "a man runs in the park" in score_of
        assert not any("zebra" in text or "man man" in text for text in score_of)       # it cannot say these
        encoded = rich.model.encode(rich.inputs.select([number]))
        tokens = [BOS, *rich.vocabulary.encode(["one", "dog", "sleeps", "sadly"]), EOS]
        with torch.no_grad():
            out = rich.model.decode(encoded, torch.tensor([tokens[:-1]]), torch.zeros(1, dtype=torch.long))
        total = out[0].log_softmax(-1).gather(1, torch.tensor(tokens[1:])[:, None]).sum().item()
        assert score_of["one dog sleeps sadly"] == pytest.approx(total / 5 ** 0.7, abs=1e-4)
        moods |= {text.split()[-1] for text in score_of if text.startswith("one dog sleeps ")}
    assert moods <= {"sadly", "happily", "angrily"} and len(moods) > 1          # as VTAI sees the video


def test_a_model_without_candidates_or_vtai_corrects_none() -> None:
    for talking, expected in ((talker(RICH, 8, vtai=False), True),
                              (talker(RICH, 8, vtai=False, decoder_modalities=("appearance", "audio")), False)):
        generator = CaptionGenerator(talking.model, talking.vocabulary, talking.attributes, beam(candidates=2))
        captions = generator.generate(talking.inputs, [["one dog sleeps sadly"]] * len(talking.inputs))
        heard = {beam.text for caption in captions for beam in caption.beams if beam.text.startswith("one dog sleeps ")}
        assert ("one dog sleeps sadly" in heard) == expected
        assert not heard - {"one dog sleeps sadly"} or not expected


class Shout:
    """A consensus that says what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, Sequence[Sequence[str]], float]] = []

    def rerank(self, captions: Sequence[Caption], candidates: Sequence[Sequence[str]], weight: float) -> list[Caption]:
        self.asked.append((len(captions), candidates, weight))
        return [replace(caption, text="reranked") for caption in captions]


@pytest.mark.parametrize(("vtai", "decoder_modalities", "weight", "reranked"), [
    (True, (), 0.7, True),
    (True, ("appearance", "audio"), 0.7, True),             # VTAI reads the candidates
    (False, (), 0.7, True),                                 # the decoder does
    (False, ("appearance", "audio"), 0.7, False),           # nothing does
    (True, (), 0.0, False),                                 # it is off
])
def test_the_candidates_rerank_where_the_model_reads_them(vtai: bool, decoder_modalities: tuple[str, ...],
                                                          weight: float, reranked: bool) -> None:
    reader = talker(RICH, 8, vtai=vtai, decoder_modalities=decoder_modalities)
    consensus, candidates = Shout(), [["a man runs"]] * len(reader.inputs)
    section = beam(num_beams=2, consensus=weight)
    generator = CaptionGenerator(reader.model, reader.vocabulary, reader.attributes, section,
                                 lambda: consensus)         # type: ignore[arg-type, return-value]
    captions = generator.generate(reader.inputs, candidates)
    assert {caption.text == "reranked" for caption in captions} == {reranked}
    assert consensus.asked == [(12, candidates, 0.7)] * reranked


def test_hypotheses_are_sound() -> None:
    for beams in talker(RICH, 8, sharpness=1.0).search(num_beams=4):        # flat: everything is tried
        assert beams == sorted(beams, key=lambda item: -item[1])
        assert len({tuple(tokens) for tokens, _ in beams}) == len(beams)
        for tokens, score in beams:
            assert tokens[-1] == EOS and 2 <= len(tokens) <= 9 and math.isfinite(score)
            assert not {PAD, BOS, UNK, EOS} & set(tokens[:-1])
            assert all(a != b for a, b in pairwise(tokens))


def test_a_model_that_never_ends_is_ended_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    rich = talker(RICH, 8)
    model, step = rich.model, rich.model.step
    endless = torch.zeros(model.shape.vocabulary).index_fill(0, torch.tensor([EOS]), 1000)
    monkeypatch.setattr(model, "step", lambda *given: step(*given) - endless)
    assert all(len(tokens) == 9 for beams in rich.search(num_beams=3) for tokens, _ in beams)
    texts, _ = sample(model, model.encode(rich.inputs), len(rich.inputs), SamplingSettings(3))
    assert (texts[..., -1] == EOS).all() and not (texts[..., :-1] == EOS).any()


def test_captions_carry_attributes_and_emotions() -> None:
    rich = talker(RICH, 8)
    for caption in captions_by(rich, rich.inputs):
        assert caption.text == caption.beams[0].text and caption.score == caption.beams[0].score
        row = caption.as_json([("a man", 0.51239)])
        assert [beam["score"] for beam in row["beams"]] == pytest.approx([b.score for b in caption.beams], abs=1e-4)
        assert row["candidates"] == [{"text": "a man", "score": 0.5124}]
        assert len(caption.attributes) == 4
        assert all(a.emotional == bool(TAXONOMY.categories_of(a.word)) for a in caption.attributes)
        chances = [p for _, p in caption.emotions]
        assert chances == sorted(chances, reverse=True)
        assert {category for category, _ in caption.emotions} == set(TAXONOMY.categories)
    assert not rich.model.training


def test_without_vtai_the_emotions_are_the_prior() -> None:
    baseline = talker(RICH, 8, vtai=False)
    for i, caption in enumerate(captions_by(baseline, baseline.inputs, beam(num_beams=1))):
        assert caption.attributes == ()
        assert dict(caption.emotions) == pytest.approx(
            dict(zip(TAXONOMY.categories, baseline.inputs.prior_categories[i].tolist(), strict=True)))
