"""FEU, the Feature Encoder Unit: every modality projected to the model's width."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pipeline.captioner.inputs import Inputs
from pipeline.captioner.model.dropout import Dropout
from pipeline.common.errors import SpectrumError


@dataclass(frozen=True)
class Features:
    """F_enc, modality by modality: what VTAI pools and what the decoder's memory is made of."""

    rows: dict[str, Tensor]     # modality → [V, T, d]
    masks: dict[str, Tensor]    # modality → [V, T] bool
    scores: Tensor | None       # [V, K] how similar the candidates are, standardised; None without any


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
        rows: dict[str, Tensor] = {}
        masks: dict[str, Tensor] = {}
        for name, dim in self.dims.items():
            if name not in inputs.modalities or inputs.modalities[name].dim != dim:
                actual = inputs.modalities[name].dim if name in inputs.modalities else "none"
                raise SpectrumError(f"{name}: expected features of dimension {dim}, found {actual}; "
                                    "use the stores that the captioner was trained on")
            modality = inputs.modalities[name]
            centred = modality.rows.float() - self.get_buffer(f"mean_{name}")
            rows[name] = self.projections[name](centred * self.get_buffer(f"scale_{name}"))    # [V, T, d]
            masks[name] = modality.mask
        text = inputs.modalities["text"] if "text" in self.dims else None
        if text is None or text.scores is None:
            return Features(rows, masks, None)
        mean, deviation = self.get_buffer("score_statistics")
        return Features(rows, masks, ((text.scores.float() - mean) / deviation).masked_fill(~text.mask, 0.0))
