"""Where the decoder looked: the weights of the finished caption are those that the decoding itself used."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from captioner_world import world
from test_model import model_of

from pipeline.captioner.generation.attention import read_attention
from pipeline.captioner.inputs import Inputs
from pipeline.captioner.vocabulary import BOS
from pipeline.common.files import read_jsonl
from pipeline.store.feature_store import FeatureStore


def weights_of_decoding(model: Any, inputs: Inputs, ids: list[int], monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """[words, memory rows] of one video, decoded word by word with a cache, by an attention that shows its weights."""
    seen: list[torch.Tensor] = []

    def plain(queries: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, attn_mask: torch.Tensor | None = None,
              dropout_p: float = 0.0, is_causal: bool = False) -> torch.Tensor:
        scores = queries @ keys.transpose(-1, -2) / queries.shape[-1] ** 0.5
        weights = torch.softmax(scores if attn_mask is None else scores + attn_mask, -1)
        if attn_mask is not None:       # the words' attention to each other has none
            seen.append(weights)
        return weights @ values

    with monkeypatch.context() as patch, torch.inference_mode():
        patch.setattr(F, "scaled_dot_product_attention", plain)
        encoded, cache = model.encode(inputs), model.decoder.cache(1)
        words = []
        for length in range(1, len(ids) + 1):
            seen.clear()
            model.step(encoded, torch.tensor([[[BOS, *ids][:length]]]), cache)
            words.append(torch.stack(seen).mean((0, 1, 2))[0])      # over layers, videos (one) and heads
    return torch.stack(words).numpy()


@pytest.mark.parametrize("layer_norm", ["after", "before"])
def test_the_weights_are_those_of_decoding_word_by_word(layer_norm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, captions = world(3, seed=4, silent=1)
    model, vocabulary = model_of(inputs, captions, layer_norm=layer_norm)
    model.eval()
    sentences = ["a dog", captions[inputs.ids[1]][2], captions[inputs.ids[2]][0]]
    found = list(read_attention(model, vocabulary, inputs, sentences, batch_size=2))
    assert [" ".join(attention.words) for attention in found] == sentences
    assert [*found[0].weights] == ["appearance", "text", "attributes"]           # the first video is silent
    assert [*found[1].weights] == ["appearance", "audio", "text", "attributes"]
    assert [own.shape[1] for own in found[1].weights.values()] == [4, 3, 5, 4]
    for video, (attention, sentence) in enumerate(zip(found, sentences, strict=True)):
        together = np.concatenate([*attention.weights.values()], 1)
        assert together.sum(1) == pytest.approx(1, abs=1e-5)
        expected = weights_of_decoding(model, inputs.select([video]), vocabulary.encode(sentence.split()), monkeypatch)
        assert together == pytest.approx(expected[:, expected.sum(0) > 0], abs=1e-5)
        assert together.std() > 1e-3        # or equal weights would pass


def test_decoding_is_as_it_was_once_the_weights_are_read() -> None:
    inputs, captions = world(2, seed=4)
    model, vocabulary = model_of(inputs, captions)
    model.train()
    list(read_attention(model, vocabulary, inputs, ["a dog", "a man"], batch_size=64))
    assert model.training and not any(layer.query._forward_hooks for layer in model.decoder.layers)


def test_predictions_say_where_each_word_looked_and_when(undisturbed: Path) -> None:
    """Of the tiny project: its clips have sound and 2 frames."""
    folder = undisturbed / "features/tiny"
    frames, sound = FeatureStore.open(folder / "sample-clip"), FeatureStore.open(folder / "logmel")
    rows = [row for _, row in read_jsonl(undisturbed / "reports/tiny/predictions.jsonl")]
    assert rows
    for row in rows:
        attention = row["attention"]
        assert " ".join(attention["words"]) == row["caption"]
        assert [*attention["parts"]] == ["appearance", "audio", "text", "attributes"]
        for name, store in (("appearance", frames), ("audio", sound)):
            assert attention["parts"][name]["seconds"] == pytest.approx(store.times(row["video_id"]), abs=0.006)
        assert attention["parts"]["text"]["seconds"] == attention["parts"]["attributes"]["seconds"] == []
        shares = [list(part["weights"]) for part in attention["parts"].values()]
        assert all(len(own) == len(attention["words"]) for own in shares)
        for word in zip(*shares, strict=True):
            assert sum(map(sum, word)) == pytest.approx(1, abs=0.01)
        for name, listed in (("text", "candidates"), ("attributes", "attributes")):
            assert len(attention["parts"][name]["weights"][0]) == len(row[listed])
