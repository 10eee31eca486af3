"""FEU, the Feature Encoder Unit: every modality projected to the model's width."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.captioner.inputs import Inputs, InputSource, select_blocks
from pipeline.captioner.model.dropout import Dropout
from pipeline.common.errors import SpectrumError


@dataclass(frozen=True)
class Features:
    """F_enc, modality by modality: what the decoder's memory is made of."""

    rows: dict[str, Tensor]     # modality → [V, T, d]
    masks: dict[str, Tensor]    # modality → [V, T] bool
    scores: Tensor | None       # [V, K] how similar the candidates are, standardised; None without any


@dataclass(frozen=True)
class Pooled:
    """A vector a modality and video: what VTAI reads."""

    means: dict[str, Tensor]        # modality → [V, D], zero where a video has none
    present: dict[str, Tensor]      # modality → [V, 1] bool
    scores: Tensor | None           # as of Features

    def select(self, index: Tensor) -> "Pooled":
        return Pooled({name: mean[index] for name, mean in self.means.items()},
                      {name: mask[index] for name, mask in self.present.items()},
                      None if self.scores is None else self.scores[index])

    @classmethod
    def joined(cls, parts: "Sequence[Pooled]") -> "Pooled":
        scores = [part.scores for part in parts if part.scores is not None]
        return cls({name: torch.cat([part.means[name] for part in parts]) for name in parts[0].means},
                   {name: torch.cat([part.present[name] for part in parts]) for name in parts[0].present},
                   torch.cat(scores) if scores else None)


class _Moments:
    """Mean and deviation of rows that come in parts (Chan et al., 1979), in double precision."""

    def __init__(self) -> None:
        self.count = 0
        self.mean = self._squares = torch.zeros(())         # [D]; squares: Σ (x - mean)²

    def add(self, rows: Tensor) -> None:
        """rows [n, D]"""
        if not len(rows):
            return
        own = rows.double()
        mean = own.mean(0)
        squares = (own - mean).square_().sum(0)
        if self.count:
            apart, total = mean - self.mean, self.count + len(own)
            mean = self.mean + apart * (len(own) / total)
            squares = self._squares + squares + apart.square() * (self.count * len(own) / total)
        self.count, self.mean, self._squares = self.count + len(own), mean, squares

    @property
    def deviation(self) -> Tensor:
        """[D] of a sample."""
        return (self._squares / (self.count - 1)).sqrt()


class FeatureEncoder(nn.Module):
    """Standardise (or not), Linear, LayerNorm, dropout for each modality of `dims` (name → dimension of a row).

    Standardising by the training rows' mean and deviation is ours: log-mel rows are far from zero and CLIP
    rows share one large direction; a Linear layer could learn to undo both, but spends its first epochs on it.
    """

    def __init__(self, dims: dict[str, int], width: int, dropout: float, standardise: bool = True) -> None:
        super().__init__()
        self.dims, self.standardise = dict(dims), standardise
        self.projections = nn.ModuleDict({
            name: nn.Sequential(nn.Linear(dim, width), nn.LayerNorm(width), Dropout(dropout))
            for name, dim in dims.items()
        })
        for name, dim in dims.items():
            self.register_buffer(f"mean_{name}", torch.zeros(dim))
            self.register_buffer(f"scale_{name}", torch.ones(dim))
        self.register_buffer("score_statistics", torch.tensor([0.0, 1.0]))      # mean and deviation

    def fit(self, inputs: InputSource) -> None:
        """Take mean and deviation of every modality from the rows that exist in `inputs`, in one pass over them."""
        of_rows = {name: _Moments() for name in self.dims}
        of_scores = _Moments()
        for _, block in select_blocks(inputs):
            for name, moments in of_rows.items():
                modality = block.modalities[name]
                if self.standardise:
                    moments.add(modality.rows[modality.mask])
                if name == "text" and modality.scores is not None:
                    of_scores.add(modality.scores[modality.mask][:, None])
        for name, moments in of_rows.items():
            if moments.count < 2:
                continue
            deviation = moments.deviation
            # A column that is constant here must not blow up on a new video.
            floor = 1e-3 * deviation.mean().clamp(min=1e-6)
            self.get_buffer(f"mean_{name}").copy_(moments.mean)
            self.get_buffer(f"scale_{name}").copy_(1 / deviation.clamp(min=float(floor)))
        if of_scores.count:
            self.get_buffer("score_statistics").copy_(torch.cat([of_scores.mean, of_scores.deviation.clamp(min=1e-6)]))

    def forward(self, inputs: Inputs) -> Features:
        """Rows [V, T, D] of every modality → [V, T, d]; SpectrumError where one lacks or has another dimension."""
        rows = {name: self.projections[name](self._standardised(name, inputs)) for name in self.dims}
        return Features(rows, {name: inputs.modalities[name].mask for name in self.dims}, self._scores(inputs))

    def pool_all(self, inputs: InputSource) -> Pooled:
        """`pool` of all videos, part by part."""
        return Pooled.joined([self.pool(block) for _, block in select_blocks(inputs)])

    def pool(self, inputs: Inputs) -> Pooled:
        """The mean over the standardised rows of every modality; errors as `forward`."""
        means, present = {}, {}
        for name in self.dims:
            rows, mask = self._standardised(name, inputs), inputs.modalities[name].mask
            means[name] = (rows * mask[..., None]).sum(1) / mask.sum(1, keepdim=True).clamp(min=1)
            present[name] = mask.any(1, keepdim=True)
        return Pooled(means, present, self._scores(inputs))

    def _standardised(self, name: str, inputs: Inputs) -> Tensor:
        """[V, T, D]"""
        if name not in inputs.modalities or inputs.modalities[name].dim != self.dims[name]:
            actual = inputs.modalities[name].dim if name in inputs.modalities else "none"
            raise SpectrumError(f"{name}: expected features of dimension {self.dims[name]}, found {actual}; "
                                "use the stores that the captioner was trained on")
        centred = inputs.modalities[name].rows.float() - self.get_buffer(f"mean_{name}")
        return centred * self.get_buffer(f"scale_{name}")

    def _scores(self, inputs: Inputs) -> Tensor | None:
        text = inputs.modalities["text"] if "text" in self.dims else None
        if text is None or text.scores is None:
            return None
        mean, deviation = self.get_buffer("score_statistics")
        standardised: Tensor = (text.scores.float() - mean) / deviation
        return standardised.masked_fill(~text.mask, 0.0)
