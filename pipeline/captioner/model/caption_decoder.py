"""The Transformer decoder: causal self-attention over words, cross-attention over the memory.

Two ways through the same weights. Training runs all words of many captions at once, *packed*: layers that
look at one word at a time (most of the work) see only words that exist, and the two attentions see padded
views of them. Decoding runs one word a caption at a time against a cache of the earlier words' keys and
values.

The memory of a video is projected to keys and values once, whatever the number of its captions or beams:
their queries attend as one long sequence, for queries do not see each other.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline import params
from pipeline.captioner.model.dropout import Dropout


@dataclass(frozen=True)
class Packing:
    """Where each of N packed words stands in the padded views [rows, length] and [videos, queries].

    A slot of None says that the view is full and in order, so that looking at it is a reshape.
    """

    rows: int
    length: int
    videos: int
    queries: int
    row_slot: Tensor | None     # [N]
    video_slot: Tensor | None   # [N]

    def by_row(self, words: Tensor) -> Tensor:
        return _spread(words, self.row_slot, self.rows, self.length)

    def by_video(self, words: Tensor) -> Tensor:
        return _spread(words, self.video_slot, self.videos, self.queries)

    def from_rows(self, padded: Tensor) -> Tensor:
        return _collect(padded, self.row_slot)

    def from_videos(self, padded: Tensor) -> Tensor:
        return _collect(padded, self.video_slot)


def _spread(words: Tensor, slot: Tensor | None, outer: int, inner: int) -> Tensor:
    """[N, d] → [outer, inner, d], zero where no word is."""
    if slot is not None:
        words = words.new_zeros(outer * inner, words.shape[1]).index_copy(0, slot, words)
    return words.view(outer, inner, -1)


def _collect(padded: Tensor, slot: Tensor | None) -> Tensor:
    words = padded.flatten(0, 1)
    return words if slot is None else words.index_select(0, slot)


@dataclass(frozen=True)
class Memory:
    """Every layer's keys and values of V videos, and the additive bias of their attention."""

    keys: tuple[Tensor, ...]      # a layer: [V, h, S, d/h]
    values: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]    # a layer: [V, h, 1, S], -inf where nothing is
    parts: dict[str, int]         # what the S rows are, in their order, and how many of each

    def select(self, index: Tensor) -> "Memory":
        keys, values, biases = (tuple(tensor[index] for tensor in group)
                                for group in (self.keys, self.values, self.biases))
        return Memory(keys, values, biases, self.parts)


class Cache:
    """Keys and values of the words that R captions have so far, a layer each: [R, h, max length, d/h]."""

    def __init__(self, layers: int, rows: int, heads: int, length: int, dim: int, like: Tensor) -> None:
        self.keys = [like.new_zeros(rows, heads, length, dim) for _ in range(layers)]
        self.values = [like.new_zeros(rows, heads, length, dim) for _ in range(layers)]
        self.length = 0

    def append(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Put one word's keys and values [R, h, 1, d/h] behind the others; all of them come back."""
        self.keys[layer][:, :, self.length] = keys[:, :, 0]
        self.values[layer][:, :, self.length] = values[:, :, 0]
        end = self.length + 1
        return self.keys[layer][:, :, :end], self.values[layer][:, :, :end]

    def select(self, rows: Tensor) -> None:
        """Keep the captions `rows`, in this order; one caption may be kept several times."""
        for tensors in (self.keys, self.values):
            for layer, tensor in enumerate(tensors):
                if len(rows) == len(tensor):   # same size: only the part in use has to move
                    tensor[:, :, :self.length] = tensor[:, :, :self.length].index_select(0, rows)
                else:
                    tensors[layer] = tensor.index_select(0, rows)


class Layer(nn.Module):
    """Self-attention, cross-attention, feed-forward; LayerNorm before each (Pre-LN, paper) or after its sum (CARE)."""

    def __init__(self, section: params.Captioner) -> None:
        super().__init__()
        width = section.hidden_size
        self.heads = section.num_heads
        self.before = section.layer_norm == "before"
        self.attention_dropout = section.attention_dropout
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(3))
        self.self_projection = nn.Linear(width, 3 * width)           # queries, keys and values of the words
        self.self_output = nn.Linear(width, width)
        self.query = nn.Linear(width, width)
        self.memory = nn.Linear(width, 2 * width)        # keys and values of the memory
        self.output = nn.Linear(width, width)
        self.feedforward = nn.Sequential(nn.Linear(width, section.feedforward_size), nn.ReLU(),
                                         nn.Linear(section.feedforward_size, width))
        self.dropout = Dropout(section.dropout)

    def project(self, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [V, h, S, d/h] of memory rows [V, S, d]."""
        keys, values = self.memory(memory).chunk(2, -1)
        return self._split(keys), self._split(values)

    def forward(self, words: Tensor, memory: tuple[Tensor, Tensor, Tensor], packing: Packing,
                cache: Cache | None, number: int) -> Tensor:
        """[N, d] → [N, d]; `number` is the layer's place in the cache."""
        words = self._residual(0, words, lambda state: self._self_attention(state, packing, cache, number))
        words = self._residual(1, words, lambda state: self._cross_attention(memory, state, packing))
        return self._residual(2, words, self.feedforward)

    def _residual(self, number: int, words: Tensor, block: Callable[[Tensor], Tensor]) -> Tensor:
        norm = self.norms[number]
        if self.before:
            return words + self.dropout(block(norm(words)))           # type: ignore[no-any-return]
        return norm(words + self.dropout(block(words)))               # type: ignore[no-any-return]

    def _self_attention(self, words: Tensor, packing: Packing, cache: Cache | None, number: int) -> Tensor:
        queries, keys, values = (self._split(part) for part in packing.by_row(self.self_projection(words)).chunk(3, -1))
        if cache is not None:
            keys, values = cache.append(number, keys, values)
        # Padding stands behind every word of its row, so the causal order alone hides it.
        attended = F.scaled_dot_product_attention(queries, keys, values, is_causal=cache is None,
                                              dropout_p=self.attention_dropout if self.training else 0.0)
        return self.self_output(packing.from_rows(_join(attended)))   # type: ignore[no-any-return]

    def _cross_attention(self, memory: tuple[Tensor, Tensor, Tensor], words: Tensor, packing: Packing) -> Tensor:
        keys, values, bias = memory
        queries = self._split(packing.by_video(self.query(words)))              # [V, h, Q, d/h]
        attended = F.scaled_dot_product_attention(queries, keys, values, attn_mask=bias,
                                              dropout_p=self.attention_dropout if self.training else 0.0)
        return self.output(packing.from_videos(_join(attended)))     # type: ignore[no-any-return]

    def weigh(self, queries: Tensor, keys: Tensor, bias: Tensor, packing: Packing) -> Tensor:
        """How much each word looks at each row of the memory [N, S], the mean over the heads; `queries` [N, d]."""
        own = self._split(packing.by_video(queries))                            # [V, h, Q, d/h]
        weights = (own @ keys.transpose(2, 3) / math.sqrt(own.shape[3]) + bias).softmax(-1)
        return packing.from_videos(weights.mean(1))

    def _split(self, rows: Tensor) -> Tensor:
        """[B, L, d] → [B, h, L, d/h]"""
        return rows.view(*rows.shape[:2], self.heads, -1).transpose(1, 2)


def _join(heads: Tensor) -> Tensor:
    """[B, h, L, d/h] → [B, L, d]"""
    return heads.transpose(1, 2).flatten(2)


class CaptionDecoder(nn.Module):
    """Words so far, theme and memory → logits of the next word.

    `slots` names the parts of the memory and how many rows each may have. Where attributes are among them, every
    slot has a learned bias for each head and layer, for rows of two kinds compete under one softmax. The longest
    input is <bos> and `max_words` words.
    """

    def __init__(self, section: params.Captioner, vocabulary: int, slots: dict[str, int]) -> None:
        super().__init__()
        self.width, self.heads, self.length = section.hidden_size, section.num_heads, section.max_words + 1
        self.before = section.layer_norm == "before"
        self.words = nn.Embedding(vocabulary, self.width)
        self.positions = nn.Embedding(self.length, self.width)
        self.biases = nn.ParameterDict({name: nn.Parameter(torch.zeros(section.num_layers, self.heads, count))
                                        for name, count in slots.items() if "attributes" in slots})
        # How much a candidate's similarity to the video counts for a head.
        self.similarity = (nn.Parameter(torch.zeros(section.num_layers, self.heads))
                           if section.similarity and "text" in slots else None)
        self.dropout = Dropout(section.dropout)
        self.layers = nn.ModuleList(Layer(section) for _ in range(section.num_layers))
        self.norm = nn.LayerNorm(self.width)
        self.output = nn.Linear(self.width, vocabulary, bias=False)

    def project_memory(self, rows: dict[str, Tensor], masks: dict[str, Tensor], scores: Tensor | None) -> Memory:
        """Memory of V videos from the rows [V, S_m, d] and masks [V, S_m] of each part, and the candidates' scores."""
        mask = torch.cat([masks[name] for name in rows], 1)[:, None, None]              # [V, 1, 1, S]
        videos = mask.shape[0]
        bias = torch.cat([self._bias(name, part.shape[1], scores).expand(-1, videos, -1, -1)
                          for name, part in rows.items()], -1)                          # [layers, V, h, S]
        together = torch.cat(list(rows.values()), 1)                                    # [V, S, d]
        projected = [layer.project(together) for layer in self.layers]                  # type: ignore[operator]
        return Memory(
            tuple(keys for keys, _ in projected), tuple(values for _, values in projected),
            tuple(part[:, :, None].masked_fill(~mask, float("-inf")) for part in bias),
            {name: part.shape[1] for name, part in rows.items()},
        )

    def forward(self, words: Tensor, positions: Tensor, theme: Tensor | None, memory: Memory,
                packing: Packing, cache: Cache | None = None) -> Tensor:
        """Packed words and positions [N], their videos' theme [N, d] → states [N, d]; `output` makes logits of them."""
        state = self.words(words)
        if theme is not None:
            state = state + theme
        state = state + self.positions(positions)
        state = self.dropout(state if self.before else self.norm(state))
        for number, layer in enumerate(self.layers):
            layer_memory = (memory.keys[number], memory.values[number], memory.biases[number])
            state = layer(state, layer_memory, packing, cache, number)
        if cache is not None:
            cache.length += 1
        return self.dropout(self.norm(state) if self.before else state)    # type: ignore[no-any-return]

    def attend(self, words: Tensor, positions: Tensor, theme: Tensor | None, memory: Memory,
               packing: Packing) -> Tensor:
        """As `forward`, but where each word looked in the memory comes back: [N, S], the mean over layers and heads.

        The fast attention of `forward` has no weights to give. They are computed from its queries, which are seen here
        alone, so that nothing else is slower.
        """
        queries: list[Tensor] = []
        hooks = [layer.get_submodule("query").register_forward_hook(lambda _module, _given, made: queries.append(made))
                 for layer in self.layers]
        try:
            self(words, positions, theme, memory, packing)
        finally:
            for hook in hooks:
                hook.remove()
        weights = [layer.weigh(*parts, packing)     # type: ignore[operator]
                   for layer, *parts in zip(self.layers, queries, memory.keys, memory.biases, strict=True)]
        return torch.stack(weights).mean(0)

    def _bias(self, name: str, count: int, scores: Tensor | None) -> Tensor:
        """[layers, V or 1, h, count]. A video may have more rows than those trained on: they get the mean bias."""
        bias = self.words.weight.new_zeros(len(self.layers), self.heads, count)
        if name in self.biases:
            known = self.biases[name]
            more = known.mean(-1, keepdim=True).expand(-1, -1, max(0, count - known.shape[-1]))
            bias = torch.cat([known[..., :count], more], -1)
        if name == "text" and self.similarity is not None and scores is not None:
            return bias[:, None] + self.similarity[:, None, :, None] * scores[None, :, None]
        return bias[:, None]

    def cache(self, rows: int) -> Cache:
        return Cache(len(self.layers), rows, self.heads, self.length, self.width // self.heads,
                     self.words.weight)
