"""The captioner's parts, each alone: inputs, vocabulary, features, attributes, theme, dropout, losses."""

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from captioner_world import TAXONOMY, world

from pipeline import params
from pipeline.captioner.attributes import AttributeList, category_probabilities
from pipeline.captioner.inputs import Inputs, Modality, pack, word_key, word_keys
from pipeline.captioner.model.dropout import Dropout
from pipeline.captioner.model.feu import FeatureEncoder
from pipeline.captioner.model.hcot import AttributeEmbedding, CoarseToFine, LinearTheme
from pipeline.captioner.model.vtai import AttributeDetector, LinearDetector
from pipeline.captioner.training.losses import attribute_loss, caption_loss
from pipeline.captioner.vocabulary import BOS, EOS, PAD, UNK, Vocabulary
from pipeline.common.errors import SpectrumError


def test_pack_keeps_every_row_and_masks_the_rest() -> None:
    rows = np.arange(12, dtype=np.float16).reshape(6, 2)
    modality = pack(rows, np.array([0, 2, 2, 6], dtype=np.uint64))
    assert modality.rows.shape == (3, 4, 2) and modality.rows.dtype == torch.float16
    assert modality.mask.tolist() == [[True, True, False, False], [False] * 4, [True] * 4]
    assert modality.rows[modality.mask].tolist() == rows.tolist()


@pytest.mark.parametrize("offsets", [[0, 5], [1, 6], [0, 7, 6]])
def test_pack_refuses_offsets_that_do_not_fit(offsets: list[int]) -> None:
    with pytest.raises(SpectrumError, match="offsets"):
        pack(torch.zeros(6, 2), torch.tensor(offsets))


def test_pack_of_nothing_has_no_slots() -> None:
    assert pack(torch.zeros(0, 3), torch.tensor([0, 0, 0])).rows.shape == (2, 0, 3)


def test_inputs_select_in_order() -> None:
    inputs, _ = world(5, seed=1)
    chosen = inputs.select([3, 0])
    assert chosen.ids == (inputs.ids[3], inputs.ids[0]) and len(chosen) == 2
    for name, modality in chosen.modalities.items():
        assert torch.equal(modality.rows, inputs.modalities[name].rows[[3, 0]])
    assert torch.equal(chosen.prior_words, inputs.prior_words[[3, 0]])


def test_inputs_refuse_a_video_without_pictures_and_wrong_lengths() -> None:
    inputs, _ = world(3, seed=1)
    pictures = inputs.modalities["appearance"]
    blind = Modality(pictures.rows, pictures.mask & torch.tensor([True, False, True])[:, None])
    with pytest.raises(SpectrumError, match=inputs.ids[1]):
        Inputs(inputs.ids, {"appearance": blind}, inputs.prior_categories, inputs.prior_words)
    with pytest.raises(SpectrumError, match="picture features"):
        Inputs(inputs.ids, {"audio": inputs.modalities["audio"]}, inputs.prior_categories, inputs.prior_words)
    with pytest.raises(SpectrumError, match="prior_words"):
        Inputs(inputs.ids, inputs.modalities, inputs.prior_categories, inputs.prior_words[:2])
    with pytest.raises(SpectrumError, match="boolean mask"):
        Modality(pictures.rows, pictures.mask[:, :1])


def test_vocabulary_orders_counts_and_round_trips() -> None:
    vocabulary = Vocabulary.build(["A dog runs.", "a cat runs", "a bird"], min_count=2)
    assert vocabulary.entries[4:] == ("a", "runs")
    assert vocabulary.encode(["a", "cat", "runs"]) == [4, UNK, 5]
    assert vocabulary.decode([BOS, 4, UNK, 5, EOS, 4, PAD]) == "a runs"


def test_vocabulary_refuses_nothing_and_nonsense() -> None:
    with pytest.raises(SpectrumError, match="captioner.min_word_count"):
        Vocabulary.build(["one two"], min_count=2)
    with pytest.raises(SpectrumError, match="distinct words"):
        Vocabulary(("a", "b"))


def detector_of(**settings: object) -> tuple[FeatureEncoder, AttributeDetector, AttributeList]:
    """FEU and VTAI of the test world, without dropout."""
    small = {"hidden_size": 8, "num_heads": 2, "dropout": 0.0, "universal_words": 20}
    section = params.Captioner.model_validate(small | settings)
    inputs, captions = world(6, seed=1, silent=2)
    attributes = AttributeList.build([text for own in captions.values() for text in own], TAXONOMY, 20)
    named = [name for name in section.modalities if name in inputs.modalities]
    torch.manual_seed(0)
    dims: dict[str, int] = {name: inputs.modalities[name].dim for name in named}
    encoder = FeatureEncoder(dims, 8, 0.0)
    slots: dict[str, int] = {name: inputs.modalities[name].slots for name in named}
    return encoder, AttributeDetector(section, dims, slots, attributes).eval(), attributes


def test_a_missing_modality_weighs_nothing() -> None:
    inputs, _ = world(6, seed=1, silent=2)
    encoder, detector, _ = detector_of()
    encoder.fit(inputs)
    sound = inputs.modalities["audio"]
    polluted = Inputs(inputs.ids, inputs.modalities | {"audio": Modality(
        sound.rows.masked_fill(~sound.mask[..., None], 1e4), sound.mask)},
        inputs.prior_categories, inputs.prior_words)
    clean = detector(encoder.pool(inputs), inputs)
    assert torch.allclose(clean, detector(encoder.pool(polluted), polluted), atol=1e-5)
    with torch.no_grad():
        detector.missing["audio"].fill_(7.0)
    change = (detector(encoder.pool(inputs), inputs) - clean).abs().sum(1)
    assert torch.all(change[:2] > 0) and torch.all(change[2:] == 0)     # only the silent videos have what stands for it
    heard = encoder.pool(inputs).means["audio"]
    assert torch.all(heard[:2] == 0) and torch.all(heard[2:].any(1))


def test_features_are_standardised_by_rows_that_exist() -> None:
    rows = torch.randn(20, 4, 3) * torch.tensor([1.0, 50.0, 0.0]) + torch.tensor([0.0, 300.0, 5.0])
    mask = torch.ones(20, 4, dtype=torch.bool)
    mask[:, 3] = False
    rows[:, 3] = 1e6
    inputs = Inputs(tuple("abcdefghijklmnopqrst"), {"appearance": Modality(rows, mask)},
                    torch.zeros(20, 34), torch.zeros(20, 3))
    encoder = FeatureEncoder({"appearance": 3}, 4, 0.0)
    encoder.fit(inputs)
    standard = (rows[mask] - encoder.get_buffer("mean_appearance")) * encoder.get_buffer("scale_appearance")
    assert torch.allclose(standard.mean(0), torch.zeros(3), atol=1e-3)
    assert torch.allclose(standard[:, :2].std(0), torch.ones(2), atol=1e-3)
    assert standard[:, 2].abs().max() < 1e-2


def test_features_of_another_dimension_are_refused() -> None:
    inputs, _ = world(2, seed=1)
    with pytest.raises(SpectrumError, match="appearance: expected features of dimension 31, found 32"):
        FeatureEncoder({"appearance": 31}, 4, 0.0)(inputs)


def test_what_few_of_many_captions_name_is_learned_as_unlikely() -> None:
    attributes = AttributeList.build(["a man runs", "a dog"], TAXONOMY, universal_words=3)
    captions = [["a man"] * 2 + ["a dog runs"] * 8, ["a man"], ["a dog", "a dog", "a man"]]
    man, dog = map(attributes.words.index, ("man", "dog"))
    targets = attributes.targets(captions)
    some = [any(name in "mm" for name in drawn) for drawn in combinations("mm" + 8 * "d", 3)]
    assert targets[0, man] == pytest.approx(sum(some) / len(some)) and targets[0, dog] == 1
    assert targets[1:, [man, dog]].tolist() == [[1, 0], [1, 1]]     # up to three captions: any of them
    assert attributes.counts(captions)[:, man].tolist() == [2, 1, 1]


def test_attribute_list_and_targets() -> None:
    captions = [["a man happily runs", "the man runs"], ["A man, sadly!"]]
    attributes = AttributeList.build([text for texts in captions for text in texts], TAXONOMY, universal_words=2)
    assert attributes.universal == ("man", "runs") and attributes.emotional == ("happily", "sadly")
    assert attributes.targets(captions).tolist() == [[1, 1, 1, 0], [1, 0, 0, 1]]
    assert [TAXONOMY.words[i] for i in attributes.emotional_index] == ["happily", "sadly"]
    joy, sad = (attributes.categories.index(TAXONOMY.categories_of(word)[0]) for word in ("happily", "sadly"))
    assert attributes.membership[joy].tolist() == [1, 0] and attributes.membership[sad].tolist() == [0, 1]
    assert attributes.membership.sum() == sum(len(TAXONOMY.categories_of(word)) for word in attributes.emotional)


def test_noisy_or() -> None:
    p = torch.tensor([[0.5, 0.2, 0.9]])
    membership = torch.tensor([[1.0, 1, 0], [0, 0, 1], [0, 0, 0]])
    assert torch.allclose(category_probabilities(torch.logit(p), membership), torch.tensor([[0.6, 0.9, 0.0]]))
    assert torch.isfinite(category_probabilities(torch.full((1, 3), 200.0), membership)).all()


def test_the_emotional_prior_raises_its_word_alone() -> None:
    encoder, detector, attributes = detector_of()
    inputs, _ = world(1, seed=1)
    with torch.no_grad():
        detector.embed_prior.weight.zero_()      # leaves the residual
    nothing = torch.zeros_like(inputs.prior_words)
    without = Inputs(inputs.ids, inputs.modalities, inputs.prior_categories, nothing)
    word = attributes.emotional_index[1]
    emotional = Inputs(inputs.ids, inputs.modalities, inputs.prior_categories,
                       nothing.index_fill(1, torch.tensor([word]), 0.9))
    change = (detector(encoder.pool(emotional), emotional) - detector(encoder.pool(without), without))[0]
    place = len(attributes.universal) + 1
    assert change[place].item() == pytest.approx(0.5 * (math.log(9) + math.log(99)), rel=1e-4)
    assert torch.allclose(change.index_fill(0, torch.tensor([place]), 0.0), torch.zeros(len(attributes)), atol=1e-6)


def word_shares(texts: list[str], **settings: object) -> tuple[torch.Tensor, AttributeDetector, AttributeList]:
    """Prior of the universal words of one video whose candidates are `texts`."""
    _, detector, attributes = detector_of(**settings)
    keys = word_keys([texts])
    rows = Modality(torch.zeros(1, len(texts), 24), torch.ones(1, len(texts), dtype=torch.bool), keys)
    return detector._word_shares(rows, None)[0], detector, attributes


def test_the_candidates_words_are_the_prior_of_universal_attributes() -> None:
    texts = ["The MAN!", "a man, a man", "nothing known", "a robot and his man", "zebra"]
    shares, detector, attributes = word_shares(texts)
    expected = {"man": 3 / 5, "robot": 1 / 5}
    assert shares.tolist() == pytest.approx([expected.get(word, 0.0) for word in attributes.universal])
    with torch.no_grad():
        detector.ranks[0] = math.log(4)         # the first candidate counts as four of the others
    keys = word_keys([texts])
    rows = Modality(torch.zeros(1, 5, 24), torch.tensor([[True, True, False, True, True]]), keys)
    assert detector._word_shares(rows, None)[0, attributes.universal.index("man")].item() == pytest.approx(6 / 7)


def test_more_candidates_than_trained_on_and_none_at_all() -> None:
    shares, _, attributes = word_shares(["man"] * 6 + ["robot"])               # five were trained on
    assert shares[attributes.universal.index("man")].item() == pytest.approx(6 / 7)
    _, detector, attributes = detector_of()
    without_words = Modality(torch.zeros(2, 3, 24), torch.ones(2, 3, dtype=torch.bool))
    assert torch.equal(detector._word_shares(without_words, None), torch.zeros(2, len(attributes.universal)))


def test_word_keys_are_the_same_in_every_run_and_in_the_order_of_the_words() -> None:
    keys = word_keys([["A dog's dog, a dog", "a"], []])
    assert keys.shape == (2, 2, 5) and (keys[1] == 0).all() and (keys >= 0).all()
    assert keys[0, 0].tolist() == [word_key(word) for word in ("a", "dogs", "dog", "a", "dog")]
    assert keys[0, 1].tolist() == [word_key("a"), 0, 0, 0, 0]
    assert word_key("dog") == 2072328596179865167
    with pytest.raises(SpectrumError, match="word keys"):
        Modality(torch.zeros(2, 3, 4), torch.ones(2, 3, dtype=torch.bool), keys)


@pytest.mark.parametrize("settings", [{"modalities": ["appearance", "audio"]}, {"prior": False}])
def test_a_detector_without_candidates_or_prior_does_not_see_it(settings: dict[str, object]) -> None:
    encoder, detector, attributes = detector_of(**settings)
    inputs, _ = world(4, seed=1)
    detector.initialise_bias(torch.linspace(0, 1, len(attributes)))
    other = Inputs(inputs.ids, inputs.modalities, 1 - inputs.prior_categories, 1 - inputs.prior_words)
    assert torch.equal(detector(encoder.pool(inputs), inputs), detector(encoder.pool(other), other))
    assert torch.isfinite(detector.output.bias).all() and not detector.prior


def test_the_linear_detector_is_one_layer_over_the_pooled_modalities() -> None:
    encoder, _, attributes = detector_of()
    inputs, _ = world(3, seed=1)
    section = params.Captioner(hidden_size=8, num_heads=2, detector="linear")
    detector = LinearDetector(section, {"appearance": 4, "audio": 3, "text": 5}, attributes)
    features = encoder(inputs)
    mean = torch.cat([rows.mean(1) for rows in features.rows.values()], -1)
    assert torch.allclose(detector(features), detector.output(mean), atol=1e-5)


def test_the_linear_theme_weighs_every_attribute() -> None:
    theme = LinearTheme(5, 4)
    logits = torch.randn(2, 5)
    assert torch.allclose(theme(logits), torch.sigmoid(logits) @ theme.layer.weight.T)


def test_attribute_embedding_follows_rank() -> None:
    block = AttributeEmbedding(4, 3, 8, 0.0)
    rows = block(torch.tensor([[0.1, 3.0, -1.0, 2.0]]))
    assert torch.allclose(rows[0], block.norm(block.words.weight[[1, 3, 0]] + block.ranks.weight))
    assert AttributeEmbedding(2, 30, 8, 0.0).count == 2


def test_theme_has_coarse_and_fine_emotions() -> None:
    membership = torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    block = CoarseToFine(3, membership, 4, 0.0)
    logits = torch.randn(2, 5)
    p = torch.sigmoid(logits)
    both = 1 - (1 - p[:, 3]) * (1 - p[:, 4])
    emotional = torch.stack([both, p[:, 4], p[:, 3], p[:, 4]], 1)
    universal = block.universal_weights(p[:, :3]) @ block.field
    expected = universal + block.emotional_weights(emotional) @ block.emotion
    assert torch.allclose(block(logits), expected, atol=1e-5)


def test_dropout_share_scale_and_evaluation() -> None:
    torch.manual_seed(0)
    ones = torch.ones(300, 333)
    dropped = Dropout(0.3)(ones)
    assert (dropped == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.01)
    assert torch.equal(Dropout(0.3).eval()(ones), ones) and torch.equal(Dropout(0.0)(ones), ones)
    assert torch.isfinite(Dropout(0.999)(ones)).all()


def test_dropout_gradient_is_its_mask() -> None:
    x = torch.randn(7, 5, requires_grad=True)
    y = Dropout(0.5)(x)
    y.sum().backward()
    assert x.grad is not None and torch.allclose(x.grad * x, y)


def test_attribute_loss_by_hand() -> None:
    logits = torch.tensor([[2.0, -1.0, 0.0], [0.0, 0.0, 0.0]])
    targets = torch.tensor([[1.0, 1, 0], [0, 0, 0]])
    first = (math.log(1 + math.exp(-2)) + math.log(1 + math.exp(1)) + math.log(2)) / 2
    assert attribute_loss(logits, targets).item() == pytest.approx((first + 3 * math.log(2)) / 2)


def test_caption_loss_sums_tokens_and_skips_unknown_words() -> None:
    logits = torch.zeros(3, 10)
    targets = torch.tensor([5, UNK, EOS])
    weights = torch.ones(3)
    assert caption_loss(logits, targets, weights, torch.tensor(2.0), 0.1).item() == pytest.approx(math.log(10))
    weights[2] = 0.5
    assert caption_loss(logits, targets, weights, torch.tensor(1.5), 0.1).item() == pytest.approx(math.log(10))
