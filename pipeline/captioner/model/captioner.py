"""The captioner as one module: FEU, VTAI, HCOT and the decoder, each part on or off by its parameter."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pipeline import params
from pipeline.captioner.attributes import AttributeList
from pipeline.captioner.inputs import Inputs
from pipeline.captioner.model.caption_decoder import Cache, CaptionDecoder, Memory, Packing
from pipeline.captioner.model.feu import FeatureEncoder
from pipeline.captioner.model.hcot import AttributeEmbedding, CoarseToFine, LinearTheme
from pipeline.captioner.model.vtai import AttributeDetector, LinearDetector


@dataclass(frozen=True)
class Shape:
    """What a model's size depends on beside its parameters."""

    dims: dict[str, int]        # modality → dimension of a row
    slots: dict[str, int]       # modality → rows that a training video has at most
    vocabulary: int

    @classmethod
    def of(cls, section: params.Captioner, inputs: Inputs, vocabulary: int) -> "Shape":
        """A modality that the data set does not have at all, or no part of the model reads, is no part of it."""
        wanted = section.modalities if section.vtai else section.attended_modalities
        used = {name: inputs.modalities[name] for name in wanted
                if name in inputs.modalities and inputs.modalities[name].mask.any()}
        return cls({name: modality.dim for name, modality in used.items()},
                   {name: modality.slots for name, modality in used.items()}, vocabulary)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Encoded:
    """All that decoding needs of V videos."""

    memory: Memory
    attribute_logits: Tensor | None    # [V, N]
    theme: Tensor | None               # [V, d]

    def select(self, index: Tensor) -> "Encoded":
        return Encoded(self.memory.select(index),
                       None if self.attribute_logits is None else self.attribute_logits[index],
                       None if self.theme is None else self.theme[index])


class Captioner(nn.Module):
    """FEU (`features`), VTAI (`detector`), HCOT: AEB (`embedding`) and CFB (`theme`), and the `decoder`."""

    def __init__(self, section: params.Captioner, shape: Shape, attributes: AttributeList) -> None:
        super().__init__()
        self.section, self.shape = section, shape
        width, dropout = section.hidden_size, section.dropout
        self.features = FeatureEncoder(shape.dims, width, dropout, section.standardise)
        self.detector: AttributeDetector | LinearDetector | None = None
        self.embedding: AttributeEmbedding | None = None
        self.theme: CoarseToFine | LinearTheme | None = None
        slots: dict[str, int] = {name: shape.slots[name] for name in shape.slots if name in section.attended_modalities}
        if section.vtai:
            detector = AttributeDetector if section.detector == "layered" else LinearDetector
            self.detector = detector(section, shape.slots, attributes)
        if section.aeb:
            self.embedding = AttributeEmbedding(len(attributes), section.embedded_attributes, width, dropout)
            slots["attributes"] = self.embedding.count
        if section.cfb and section.theme == "linear":
            self.theme = LinearTheme(len(attributes), width)
        elif section.cfb:
            self.theme = CoarseToFine(len(attributes.universal), attributes.membership, width, dropout)
        self.decoder = CaptionDecoder(section, shape.vocabulary, slots)
        self.apply(_initialise)

    @property
    def device(self) -> torch.device:
        return self.decoder.words.weight.device

    def encode(self, inputs: Inputs) -> Encoded:
        """All about the videos that does not depend on words; SpectrumError for features of a wrong shape."""
        features = self.features(inputs)                                        # FEU
        rows = {name: part for name, part in features.rows.items() if name in self.section.attended_modalities}
        masks = {name: features.masks[name] for name in rows}
        logits = theme = None
        if self.detector is not None:
            logits = self.detector(features, inputs)                            # VTAI [V, N]
            detached = logits.detach()
            if self.embedding is not None:
                rows["attributes"] = self.embedding(detached)                       # AEB [V, n, d]
                masks["attributes"] = torch.ones(rows["attributes"].shape[:2], dtype=torch.bool, device=detached.device)
            if self.theme is not None:
                theme = self.theme(detached)                                        # CFB [V, d]
        return Encoded(self.decoder.project_memory(rows, masks), logits, theme)

    def decode_packed(self, encoded: Encoded, words: Tensor, positions: Tensor, video_of_word: Tensor,
                      packing: Packing) -> Tensor:
        """Packed words, positions and videos [N] → logits of the words after them [N, vocabulary]."""
        theme = None if encoded.theme is None else encoded.theme.index_select(0, video_of_word)
        return self.decoder(words, positions, theme, encoded.memory, packing)    # type: ignore[no-any-return]

    def decode(self, encoded: Encoded, tokens: Tensor, video_of_row: Tensor) -> Tensor:
        """Tokens [R, L], each row about one of the encoded videos [R] → logits [R, L, vocabulary]."""
        rows, length = tokens.shape
        encoded = encoded.select(video_of_row)
        packing = Packing(rows, length, rows, length, None, None)
        positions = torch.arange(length, device=tokens.device).expand(rows, length)
        videos = torch.arange(rows, device=tokens.device)[:, None].expand(rows, length)
        return self.decode_packed(encoded, tokens.flatten(), positions.flatten(), videos.flatten(),
                                  packing).view(rows, length, -1)

    def step(self, encoded: Encoded, tokens: Tensor, cache: Cache) -> Tensor:
        """Newest tokens [V, B], B beams a video → logits [V, B, vocabulary]; the cache grows by one word."""
        videos, beams = tokens.shape
        packing = Packing(videos * beams, 1, videos, beams, None, None)
        theme = None if encoded.theme is None else encoded.theme.repeat_interleave(beams, 0)
        positions = torch.full((videos * beams,), cache.length, device=tokens.device)
        logits = self.decoder(tokens.flatten(), positions, theme, encoded.memory, packing, cache)
        return logits.view(videos, beams, -1)    # type: ignore[no-any-return]


def _initialise(module: nn.Module) -> None:
    """Xavier's uniform start of every layer and table, as CARE's."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.xavier_uniform_(module.weight)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
