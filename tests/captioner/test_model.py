"""The model as a whole: its switches, its two ways through the decoder, and what must not matter."""

import itertools

import pytest
import torch
from captioner_world import TAXONOMY, world

from pipeline import params
from pipeline.captioner.attributes import AttributeList
from pipeline.captioner.inputs import Inputs, Modality, word_keys
from pipeline.captioner.model.captioner import Captioner, Shape
from pipeline.captioner.training.batches import CaptionSet
from pipeline.captioner.vocabulary import BOS, EOS, PAD, Vocabulary

SMALL = {"decoder_modalities": [], "hidden_size": 16, "num_heads": 2, "num_layers": 2, "feedforward_size": 32,
         "dropout": 0.5, "min_word_count": 1, "universal_words": 20, "embedded_attributes": 4, "max_words": 10,
         "copying": True}


def model_of(inputs: Inputs, captions: dict[str, list[str]],
             **switches: object) -> tuple[Captioner, Vocabulary]:
    section = params.Captioner.model_validate(SMALL | switches)
    sentences = [sentence for texts in captions.values() for sentence in texts]
    vocabulary = Vocabulary.build(sentences, 1)
    torch.manual_seed(3)
    model = Captioner(section, Shape.of(section, inputs, len(vocabulary)),
                      AttributeList.build(sentences, TAXONOMY, section.universal_words), vocabulary)
    for parameter in model.decoder.biases.values():
        torch.nn.init.normal_(parameter)
    return model, vocabulary


def with_candidates(inputs: Inputs, texts: list[list[str]]) -> Inputs:
    """The inputs with the words of their candidates, and similarities."""
    text = inputs.modalities["text"]
    scores = torch.linspace(0.9, 0.1, text.mask.numel()).view(text.mask.shape)
    known = Modality(text.rows, text.mask, word_keys(texts), scores)
    return Inputs(inputs.ids, inputs.modalities | {"text": known}, inputs.prior_categories, inputs.prior_words)


SWITCHES = [dict(zip(("vtai", "cfb", "aeb"), on, strict=True))
            for on in itertools.product((True, False), repeat=3) if on[0] or not (on[1] or on[2])]


@pytest.mark.parametrize("switches", SWITCHES, ids=lambda s: "+".join(k for k in s if s[k]) or "baseline")
def test_every_switch_has_its_parts_and_trains_all_of_them(switches: dict[str, bool]) -> None:
    inputs, captions = world(4, seed=1, silent=1)
    inputs = with_candidates(inputs, [["a dog runs"] * 5] * 4)
    model, _ = model_of(inputs, captions, **switches)
    encoded = model.encode(inputs)
    assert (encoded.attribute_logits is not None) == switches["vtai"]
    assert (encoded.theme is not None) == switches["cfb"]
    assert encoded.memory.keys[0].shape[2] == 4 + 3 + 5 + (4 if switches["aeb"] else 0)
    loss = model.decode(encoded, torch.tensor([[BOS, 5, 6]] * 4), torch.arange(4)).square().sum()
    if encoded.attribute_logits is not None:
        loss = loss + encoded.attribute_logits.square().sum()
    loss.backward()  # type: ignore[no-untyped-call]
    idle = {name for name, p in model.named_parameters() if p.grad is None}
    assert not idle


def test_the_caption_loss_does_not_reach_the_attributes() -> None:
    inputs, captions = world(4, seed=1)
    model, _ = model_of(inputs, captions)
    encoded = model.encode(inputs)
    model.decode(encoded, torch.tensor([[BOS, 5, 6]] * 4), torch.arange(4)).sum().backward()  # type: ignore[no-untyped-call]
    assert model.detector is not None and all(p.grad is None for p in model.detector.parameters())


@pytest.mark.parametrize("layer_norm", ["after", "before"])
def test_packed_words_equal_padded_rows(layer_norm: str) -> None:
    inputs, captions = world(3, seed=2, silent=1)
    captions[inputs.ids[0]] = captions[inputs.ids[0]][:1]                # videos with 1, 3 and 3 captions
    model, vocabulary = model_of(inputs, captions, layer_norm=layer_norm)
    model.eval()
    batch = CaptionSet([captions[i] for i in inputs.ids], vocabulary, TAXONOMY, 10, 1.0).batch([2, 0, 1], "cpu")
    encoded = model.encode(inputs.select(batch.videos))
    packed = model.decode_packed(encoded, batch.words, batch.positions, batch.video_of_word, batch.packing)
    tokens = torch.full((batch.packing.rows, batch.packing.length), PAD)
    tokens.view(-1)[batch.packing.row_slot] = batch.words
    padded = model.decode(encoded, tokens, torch.tensor([0, 0, 0, 1, 2, 2, 2]))
    assert torch.allclose(packed, padded.flatten(0, 1)[batch.packing.row_slot], atol=1e-5)


def test_a_batch_says_the_next_word_and_cuts_long_captions() -> None:
    vocabulary = Vocabulary.build(["one two three four five"], 1)
    ids = vocabulary.encode(["one", "two", "three", "four", "five"])
    captions = [["one two three four five", "two"], ["three four"]]
    batch = CaptionSet(captions, vocabulary, TAXONOMY, 3, 1.0).batch([0, 1], "cpu")
    assert batch.captions == 3
    assert batch.words.tolist() == [BOS, *ids[:3], BOS, ids[1], BOS, *ids[2:4]]
    assert batch.targets.tolist() == [*ids[:4], ids[1], EOS, *ids[2:4], EOS]
    assert batch.positions.tolist() == [0, 1, 2, 3, 0, 1, 0, 1, 2]
    assert batch.video_of_word.tolist() == [0] * 6 + [1] * 3


def test_captions_that_leave_the_emotion_out_weigh_less_where_others_name_it() -> None:
    vocabulary = Vocabulary.build(["a happy dog runs sadly"], 1)
    captions = [["a happy dog", "a dog"], ["a dog", "dog runs"]]
    batch = CaptionSet(captions, vocabulary, TAXONOMY, 9, 0.25).batch([0, 1], "cpu")
    assert batch.weights.tolist() == [1.0] * 4 + [0.25] * 3 + [1.0] * 6
    assert batch.captions == 3.25


def test_the_future_is_not_seen() -> None:
    inputs, captions = world(1, seed=1)
    model, _ = model_of(inputs, captions)
    model.eval()
    encoded, row = model.encode(inputs), torch.zeros(1, dtype=torch.long)
    one = model.decode(encoded, torch.tensor([[BOS, 5, 6, 7]]), row)
    other = model.decode(encoded, torch.tensor([[BOS, 5, 9, 4]]), row)
    assert torch.allclose(one[:, :2], other[:, :2], atol=1e-6) and not torch.allclose(one[:, 2], other[:, 2])


@pytest.mark.parametrize("layer_norm", ["after", "before"])
def test_steps_with_a_cache_equal_the_whole_sentence(layer_norm: str) -> None:
    inputs, captions = world(2, seed=1, silent=1)
    inputs = with_candidates(inputs, [texts[:1] * 5 for texts in captions.values()])
    model, vocabulary = model_of(inputs, captions, layer_norm=layer_norm)
    model.eval()
    tokens = torch.randint(4, len(vocabulary), (2, 3, 6), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        encoded = model.encode(inputs)
        whole = model.decode(encoded, tokens.flatten(0, 1), torch.tensor([0, 0, 0, 1, 1, 1]))
        cache = model.decoder.cache(6)
        steps = torch.stack([model.step(encoded, tokens[..., :i + 1], cache) for i in range(6)], 2)
    assert torch.allclose(whole.view(2, 3, 6, -1), steps, atol=1e-5)


def test_a_masked_modality_is_as_good_as_absent_rows() -> None:
    """What stands behind a mask is never seen, not even as zeros."""
    inputs, captions = world(3, seed=1, silent=3)
    model, _ = model_of(world(3, seed=1)[0], captions)
    model.eval()
    audio = inputs.modalities["audio"]

    def logits_with(version: Modality) -> torch.Tensor:
        changed = Inputs(inputs.ids, inputs.modalities | {"audio": version}, inputs.prior_categories,
                         inputs.prior_words)
        return model.decode(model.encode(changed), torch.tensor([[BOS, 5, 6]] * 3), torch.arange(3))

    expected = logits_with(audio)
    assert torch.isfinite(expected).all()
    assert torch.allclose(expected, logits_with(Modality(torch.randn_like(audio.rows), audio.mask)), atol=1e-6)
    assert torch.allclose(expected, logits_with(Modality(audio.rows[:, :0], audio.mask[:, :0])), atol=1e-5)


def test_a_modality_the_data_set_lacks_is_no_part_of_the_model() -> None:
    inputs, captions = world(3, seed=1, silent=3)
    model, _ = model_of(inputs, captions)
    assert set(model.shape.dims) == {"appearance", "text"}
    model.encode(inputs)


def test_candidates_off_means_no_prior() -> None:
    inputs, captions = world(3, seed=1)
    model, _ = model_of(inputs, captions, modalities=["appearance", "audio"])
    model.eval()
    other = Inputs(inputs.ids, inputs.modalities, 1 - inputs.prior_categories, 1 - inputs.prior_words)
    one, two = model.encode(inputs).attribute_logits, model.encode(other).attribute_logits
    assert one is not None and two is not None and torch.equal(one, two)


def test_more_rows_than_trained_on_get_the_mean_bias() -> None:
    inputs, captions = world(2, seed=1)
    model, _ = model_of(inputs, captions)
    longer, _ = world(2, seed=1, rows=(7, 3, 5))
    bias = model.encode(longer).memory.biases[0]
    known = model.decoder.biases["appearance"][0]
    assert torch.allclose(bias[0, :, 0, :4], known) and torch.allclose(bias[0, :, 0, 6], known.mean(-1))
