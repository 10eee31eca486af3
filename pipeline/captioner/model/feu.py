"""FEU, the Feature Encoder Unit: every modality projected to the model's width."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.captioner.inputs import Inputs
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

    def fit(self, inputs: Inputs) -> None:
        """Take mean and deviation of every modality from the rows that exist in `inputs`."""
        for name in self.dims if self.standardise else ():
            modality = inputs.modalities[name]
            rows = modality.rows[modality.mask].double()    # [n, D]
            if len(rows) < 2:
                continue
            deviation = rows.std(0)
            # A column that is constant here must not blow up on a new video.
            floor = 1e-3 * deviation.mean().clamp(min=1e-6)
            self.get_buffer(f"mean_{name}").copy_(rows.mean(0))
            self.get_buffer(f"scale_{name}").copy_(1 / deviation.clamp(min=float(floor)))
        if "text" in self.dims and (scores := inputs.modalities["text"].scores) is not None:
            known = scores[inputs.modalities["text"].mask].double()
            self.get_buffer("score_statistics").copy_(torch.stack([known.mean(), known.std().clamp(min=1e-6)]))

    def forward(self, inputs: Inputs) -> Features:
        """Rows [V, T, D] of every modality → [V, T, d]; SpectrumError where one lacks or has another dimension."""
        rows = {name: self.projections[name](self._standardised(name, inputs)) for name in self.dims}
        return Features(rows, {name: inputs.modalities[name].mask for name in self.dims}, self._scores(inputs))

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
