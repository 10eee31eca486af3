"""One phase of a training: optimizer, schedule, and the steps of an epoch.

Its `Objective` says what a phase minimises and what a batch is: cross_entropy.py or self_critical.py.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from pipeline import params
from pipeline.captioner.model.captioner import Captioner
from pipeline.captioner.packing import Ids
from pipeline.captioner.training.state import Tensors, with_prefix, without_prefix
from pipeline.common.errors import SpectrumError


class Objective(Protocol):
    epochs: int
    learning_rate: float
    batches: int                # an epoch
    seed: list[int]             # of the batches' order

    def order(self, rng: np.random.Generator) -> list[Ids]:
        """The batches of an epoch."""
        ...

    def prepare(self, batch: Ids) -> None:
        """This batch comes next: what has to be read for it may be read now."""
        ...

    def losses(self, batch: Ids) -> tuple[Tensor, Tensor]:
        """Caption and attribute loss, with their gradients; puts the model in the mode that it needs."""
        ...


class Phase:
    def __init__(self, model: Captioner, objective: Objective, training: params.Training) -> None:
        self.model, self.objective, self.training = model, objective, training
        self.parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.optimizer = _optimizer(self.parameters, training, objective.learning_rate)
        self.step = 0
        self.losses: list[Tensor] = []          # [2] each, of the epoch under way
        self._rng = np.random.default_rng(objective.seed)

    @property
    def epochs(self) -> int:
        """Whole epochs that are done."""
        return self.step // self.objective.batches

    def epoch(self, pause: Callable[[], None], tick: Callable[[float], None]) -> dict[str, float]:
        """The rest of an epoch: means of the losses over all its steps. `pause` is called before every step, `tick`
        with its share of the epoch after it."""
        epoch = self.epochs + 1
        batches = self.objective.order(self._rng)
        for number, batch in enumerate(batches[len(self.losses):], start=len(self.losses) + 1):
            pause()
            self.learn(batch, batches[number] if number < len(batches) else None)
            tick(1 / len(batches))
        caption, attribute = torch.stack(self.losses).mean(0).tolist()
        self.losses = []
        if not math.isfinite(caption + attribute):
            raise SpectrumError(f"epoch {epoch}: the loss is {caption + attribute}; lower "
                                "training.learning_rate, and check the features with "
                                "`python -m pipeline.store verify`")
        return {"loss": caption + self.training.attribute_weight * attribute, "caption_loss": caption,
                "attribute_loss": attribute, "learning_rate": self._rate((epoch - 1) * self.objective.batches)}

    def learn(self, batch: Ids, following: Ids | None = None) -> None:
        """One step; no wait for the device. The `following` batch is read beside it."""
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate(self.step)
        caption, attribute = self.objective.losses(batch)
        if following is not None:
            self.objective.prepare(following)
        self.optimizer.zero_grad()
        (caption + self.training.attribute_weight * attribute).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.parameters, self.training.max_grad_norm)
        self.optimizer.step()
        self.step += 1
        self.losses.append(torch.stack([caption.detach(), attribute.detach()]))

    def _rate(self, step: int) -> float:
        steps = self.objective.epochs * self.objective.batches
        warm = max(1, round(self.training.warmup_ratio * steps))
        if self.training.lr_schedule == "decay":
            share = min(1.0, (step + 1) / warm) * self.training.lr_decay ** (step // self.objective.batches)
        else:
            share = cosine(step, warm, steps)
        return self.objective.learning_rate * share

    def state(self) -> Tensors:
        moments = {f"{number}/{name}": value for number, of in self.optimizer.state_dict()["state"].items()
                   for name, value in of.items()}
        return (with_prefix("model", self.model.state_dict()) | with_prefix("optimizer", moments)
                | with_prefix("losses", {str(number): value for number, value in enumerate(self.losses)}))

    def restore(self, tensors: Tensors, step: int) -> None:
        """Go on where `state` was taken, after `step` steps."""
        self.model.load_state_dict(without_prefix("model", tensors))
        moments: dict[int, Tensors] = {}
        for name, value in without_prefix("optimizer", tensors).items():
            number, _, key = name.partition("/")
            moments.setdefault(int(number), {})[key] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": moments, "param_groups": groups})
        losses = without_prefix("losses", tensors)
        self.losses = [losses[str(number)].to(self.model.device) for number in range(len(losses))]
        self.step = step
        for _ in range(self.epochs):
            self.objective.order(self._rng)


def cosine(step: int, warm: int, steps: int) -> float:
    """Linear warm-up, then half a cosine down to a hundredth."""
    if step < warm:
        return (step + 1) / warm
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def half_precision(device: torch.device) -> AbstractContextManager[object]:
    """bf16 where the device has it; on a CPU it is several times slower than fp32."""
    return torch.autocast("cuda", torch.bfloat16) if device.type == "cuda" else nullcontext()


def _optimizer(parameters: Sequence[nn.Parameter], training: params.Training,
               learning_rate: float) -> torch.optim.Optimizer:
    if training.optimizer == "adam":
        return torch.optim.Adam(parameters, learning_rate, weight_decay=training.weight_decay, fused=True)
    matrices = [p for p in parameters if p.dim() > 1]
    others = [p for p in parameters if p.dim() <= 1]
    return torch.optim.AdamW(
        [{"params": matrices, "weight_decay": training.weight_decay}, {"params": others, "weight_decay": 0.0}],
        lr=learning_rate, betas=(0.9, 0.98), fused=True)
