"""The captioner as one module: FEU, VTAI, HCOT and the decoder, each part on or off by its parameter."""

from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pipeline import params
from pipeline.captioner.attributes import AttributeList, base_logits
from pipeline.captioner.inputs import Inputs, InputSource
from pipeline.captioner.model.caption_decoder import Cache, CaptionDecoder, Memory, Packing
from pipeline.captioner.model.copying import CONTEXT, Copying, Places
from pipeline.captioner.model.feu import FeatureEncoder, Features
from pipeline.captioner.model.hcot import AttributeEmbedding, CoarseToFine, LinearTheme
from pipeline.captioner.model.vtai import AttributeDetector, LinearDetector
from pipeline.captioner.vocabulary import PAD, Vocabulary


@dataclass(frozen=True)
class Shape:
    """What a model's size depends on beside its parameters."""

    dims: dict[str, int]        # modality → dimension of a row
    slots: dict[str, int]       # modality → rows that a training video has at most
    vocabulary: int

    @classmethod
    def of(cls, section: params.Captioner, inputs: InputSource, vocabulary: int) -> "Shape":
        """A modality that the data set does not have at all, or no part of the model reads, is no part of it."""
        wanted = section.modalities if section.vtai else section.attended_modalities
        dims, slots = inputs.dims, inputs.slots
        used = [name for name in wanted if name in dims]
        return cls({name: dims[name] for name in used}, {name: slots[name] for name in used}, vocabulary)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Encoded:
    """All that decoding needs of V videos."""

    memory: Memory
    attribute_logits: Tensor | None    # [V, N]
    theme: Tensor | None               # [V, d]
    places: Places | None                       # in the candidates, to copy from

    def select(self, index: Tensor) -> "Encoded":
        return Encoded(self.memory.select(index),
                       None if self.attribute_logits is None else self.attribute_logits[index],
                       None if self.theme is None else self.theme[index],
                       None if self.places is None else self.places.select(index))


class Captioner(nn.Module):
    """FEU (`features`), VTAI (`detector`), HCOT: AEB (`embedding`) and CFB (`theme`), `copying`, and the `decoder`."""

    base: Tensor
    membership: Tensor

    def __init__(self, section: params.Captioner, shape: Shape, attributes: AttributeList,
                 vocabulary: Vocabulary) -> None:
        super().__init__()
        self.section, self.shape = section, shape
        width, dropout = section.hidden_size, section.dropout
        self.features = FeatureEncoder(shape.dims, width, dropout, section.standardise)
        self.detector: AttributeDetector | LinearDetector | None = None
        self.embedding: AttributeEmbedding | None = None
        self.theme: CoarseToFine | LinearTheme | None = None
        slots: dict[str, int] = {name: shape.slots[name] for name in shape.slots if name in section.attended_modalities}
        if section.vtai:
            self.detector = (AttributeDetector(section, shape.dims, shape.slots, attributes)
                             if section.detector == "layered" else LinearDetector(section, shape.slots, attributes))
        if section.aeb:
            self.embedding = AttributeEmbedding(len(attributes), section.embedded_attributes, width, dropout)
            slots["attributes"] = self.embedding.count
        if section.cfb and section.theme == "linear":
            self.theme = LinearTheme(len(attributes), width)
        elif section.cfb:
            self.theme = CoarseToFine(len(attributes.universal), attributes.membership, width, dropout)
        self.copying = (Copying(vocabulary, shape.slots["text"], width)
                        if section.copying and "text" in shape.dims else None)
        self.decoder = CaptionDecoder(section, shape.vocabulary, slots)
        self.register_buffer("base", torch.zeros(len(attributes) + len(attributes.categories)))     # see base_logits
        self.register_buffer("membership", attributes.membership, persistent=False)
        self.apply(_initialise)

    def fit(self, inputs: InputSource, targets: Tensor) -> None:
        """Take from the training videos and their attributes [V, N] what does not have to be learned."""
        self.features.fit(inputs)
        if self.detector is not None:
            self.detector.initialise_bias(targets.mean(0))
            self.base.copy_(base_logits(targets, self.membership.to(targets.device)))

    @property
    def device(self) -> torch.device:
        return self.decoder.words.weight.device

    def encode(self, inputs: Inputs, attribute_logits: Tensor | None = None) -> Encoded:
        """All about the videos that does not depend on words; SpectrumError for features of a wrong shape.

        attribute_logits [V, N]: those that VTAI gave before, in place of what it gives now.
        """
        features = self.features(inputs)                                        # FEU
        rows = {name: part for name, part in features.rows.items() if name in self.section.attended_modalities}
        masks = {name: features.masks[name] for name in rows}
        theme = None
        logits = self._investigate(inputs, features) if attribute_logits is None else attribute_logits    # VTAI [V, N]
        if logits is not None:
            detached = logits.detach()
            if self.embedding is not None:
                rows["attributes"] = self.embedding(detached)                       # AEB [V, n, d]
                masks["attributes"] = torch.ones(rows["attributes"].shape[:2], dtype=torch.bool, device=detached.device)
            if self.theme is not None:
                theme = self.theme(detached)                                        # CFB [V, d]
        places = None if self.copying is None else self.copying.places(inputs.modalities["text"], features.scores)
        return Encoded(self.decoder.project_memory(rows, masks, features.scores), logits, theme, places)

    def _investigate(self, inputs: Inputs, features: Features) -> Tensor | None:
        """VTAI: the attribute logits [V, N]; None of a model without it."""
        if isinstance(self.detector, AttributeDetector):
            return self.detector(self.features.pool(inputs), inputs)    # type: ignore[no-any-return]
        return None if self.detector is None else self.detector(features)

    def decode_packed(self, encoded: Encoded, words: Tensor, positions: Tensor, video_of_word: Tensor,
                      packing: Packing) -> Tensor:
        """Packed words, positions and videos [N] → logits of the words after them [N, vocabulary]."""
        theme = None if encoded.theme is None else encoded.theme.index_select(0, video_of_word)
        states = self.decoder(words, positions, theme, encoded.memory, packing)
        return self._logits(states, encoded, _contexts(words, positions), video_of_word)

    def attend_packed(self, encoded: Encoded, words: Tensor, positions: Tensor, video_of_word: Tensor,
                      packing: Packing) -> Tensor:
        """As `decode_packed`, but where each word looked in the memory [N, S] comes back."""
        theme = None if encoded.theme is None else encoded.theme.index_select(0, video_of_word)
        return self.decoder.attend(words, positions, theme, encoded.memory, packing)

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
        """All tokens so far [V, B, L], B beams a video → logits [V, B, vocabulary]; the cache grows by the newest."""
        videos, beams, _ = tokens.shape
        packing = Packing(videos * beams, 1, videos, beams, None, None)
        theme = None if encoded.theme is None else encoded.theme.repeat_interleave(beams, 0)
        positions = torch.full((videos * beams,), cache.length, device=tokens.device)
        rows = tokens.flatten(0, 1)
        states = self.decoder(rows[:, -1], positions, theme, encoded.memory, packing, cache)
        context = F.pad(rows.flip(1)[:, :CONTEXT], (0, max(0, CONTEXT - rows.shape[1])), value=PAD)
        video_of_row = torch.arange(videos, device=tokens.device).repeat_interleave(beams)
        return self._logits(states, encoded, context, video_of_row).view(videos, beams, -1)

    def _logits(self, states: Tensor, encoded: Encoded, context: Tensor, video_of_word: Tensor) -> Tensor:
        """States [N, d], the words before [N, CONTEXT] and their videos [N] → logits [N, vocabulary]."""
        logits: Tensor = self.decoder.output(states)
        if self.copying is not None and encoded.places is not None:
            logits = self.copying(states, context, encoded.places.select(video_of_word), logits)
        return logits


def _contexts(words: Tensor, positions: Tensor) -> Tensor:
    """Packed words and their positions [N] → each with those before it in its caption [N, CONTEXT], newest first."""
    before = [torch.cat([words.new_full((back,), PAD), words])[:len(words)].masked_fill(positions < back, PAD)
              for back in range(CONTEXT)]
    return torch.stack(before, -1)


def _initialise(module: nn.Module) -> None:
    """Xavier's uniform start of every layer and table, as CARE's."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.xavier_uniform_(module.weight)
    if isinstance(module, nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)
