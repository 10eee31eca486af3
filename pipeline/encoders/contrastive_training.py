"""Trains an open_clip model on the frames and captions of a small training split, from random weights.

Every step sees some videos, a random frame and a random caption of each. A frame's captions are all those
of its video, and any other of the same wording: both directions of InfoNCE share the mass among them. A batch
is made of groups of videos with similar captions, which differ only in details. Beside InfoNCE a head, thrown
away afterwards, names the words of a video's captions from its picture.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from pipeline.common import text
from pipeline.common.progress import Bar
from pipeline.params import EncoderTraining

_WORD_COUNT = 3         # a word is a class when the captions of so many videos have it
_WORD_SCALE = 10.0      # of the head's logits: it reads unit vectors
Model = Any             # an open_clip model, which has no types
Tokenizer = Callable[[list[str]], Tensor]

_GROUP = 5              # videos with similar captions
_NOISE = 0.1            # of their likeness, so that groups differ from epoch to epoch
_WARMUP = 0.1           # share of the steps
_WEIGHT_DECAY = 0.2
_MAX_SCALE = math.log(100.0)
_ZOOM, _SHIFT, _TURN = 0.15, 0.15, 0.1      # of the picture's side; radians
_HIDDEN = 0.3           # of the picture's side: the largest patch that is hidden


def train(
    model: Model, frames: NDArray[np.uint8], captions: Sequence[Sequence[str]], tokenizer: Tokenizer,
    section: EncoderTraining, seed: int, device: torch.device,
) -> list[float]:
    """Trains `model` in place and returns the mean loss of every epoch.

    `frames` is [V, F, H, W, 3] at the model's own size, `captions` has those of every video. On processors of one
    kind the same seed and the same initial weights give the same result, whatever the number of threads.
    """
    with _one_thread(device):
        return _train(model, frames, captions, tokenizer, section, seed, device)


@contextmanager
def _one_thread(device: torch.device) -> Iterator[None]:
    """On the CPU several threads add up parts in an order that depends on how many they are.

    The matrices of a small model gain little from a second thread; beside other programs, one is three times as fast.
    """
    threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _train(
    model: Model, frames: NDArray[np.uint8], captions: Sequence[Sequence[str]], tokenizer: Tokenizer,
    section: EncoderTraining, seed: int, device: torch.device,
) -> list[float]:
    bank = _Captions(captions, tokenizer, device)
    pictures = torch.from_numpy(frames)                                         # stays on the host
    mirrors = torch.tensor([not _names_a_side(of_video) for of_video in captions])
    model.to(device=device, memory_format=torch.channels_last).train()
    head = _WordHead(captions, model, device)
    parameters = [*_groups(model), {"params": list(head.parameters()), "weight_decay": 0.0}]
    # Fused: of a small model most is the vocabulary, and a plain step takes as long as the pictures.
    optimizer = torch.optim.AdamW(parameters, lr=section.learning_rate, betas=(0.9, 0.98), eps=1e-6, fused=True)
    random = torch.Generator().manual_seed(seed)
    likeness = _likeness(captions)
    batches = math.ceil(len(frames) / section.batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _schedule(section.epochs * batches))
    losses = []
    with Bar("train encoder", section.epochs, "epochs") as bar:
        for _ in range(section.epochs):
            total = 0.0
            for videos in _batches(likeness, batches, random):
                chosen = torch.randint(frames.shape[1], (len(videos),), generator=random)
                images = _augment(pictures[videos, chosen], mirrors[videos], random).to(device)
                texts, matches = bank.draw(videos, random)
                encoded = model.encode_image(_normalise(images, model), normalize=True)    # [B, D]
                loss = _contrast(model, encoded, texts, matches) + head(encoded, videos)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
                with torch.no_grad():
                    model.logit_scale.clamp_(max=_MAX_SCALE)
                total += float(loss.detach()) * len(videos)
            losses.append(total / len(frames))
            bar.advance(note=f"loss {losses[-1]:.3f}")
    model.eval()
    return losses


class _Captions:
    """All captions as tokens, with the number of their wording: equal sentences have the same number."""

    def __init__(self, captions: Sequence[Sequence[str]], tokenizer: Tokenizer, device: torch.device) -> None:
        wordings: dict[str, int] = {}
        self._of_video = [[wordings.setdefault(" ".join(text.words(caption)), len(wordings)) for caption in of_video]
                          for of_video in captions]
        self._tokens = tokenizer(list(wordings)).to(device)                     # [wordings, context]
        self._device = device

    def draw(self, videos: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Tokens of a caption of every video, [N, context], and whose they may be, bool [len(videos), N]."""
        drawn = torch.rand(len(videos), generator=random).tolist()
        wordings = sorted({own[int(share * len(own))] for share, own in
                           zip(drawn, (self._of_video[video] for video in videos.tolist()), strict=True)})
        matches = torch.tensor([[wording in self._of_video[video] for wording in wordings]
                                for video in videos.tolist()], device=self._device)
        return self._tokens[wordings], matches


class _WordHead(nn.Module):
    """Names, from a picture, the words of its video's captions; thrown away after training.

    InfoNCE needs only what separates the few videos of a batch; this head needs all words (caption
    words as classes: Huang et al. 2024, SuperClass). The loss is the cross entropy summed over the words.
    """

    def __init__(self, captions: Sequence[Sequence[str]], model: Model, device: torch.device) -> None:
        super().__init__()
        of_video = [[set(text.words(caption)) for caption in own] for own in captions]
        counts = Counter(word for own in of_video for word in set().union(*own))
        classes = sorted(word for word, count in counts.items() if count >= _WORD_COUNT)
        shares = torch.tensor([[sum(word in caption for caption in own) / len(own) for word in classes]
                               for own in of_video])
        self.register_buffer("shares", shares)                                  # [V, W] of the video's captions
        self.linear = nn.Linear(model.text_projection.shape[1], len(classes))
        nn.init.zeros_(self.linear.weight)
        self.linear.bias.data = torch.logit(shares.mean(0).clamp(1e-3, 1 - 1e-3)) / _WORD_SCALE
        self.to(device)

    def forward(self, pictures: Tensor, videos: Tensor) -> Tensor:
        target = self.get_buffer("shares")[videos.to(pictures.device)]          # [B, W]
        logits = self.linear(pictures) * _WORD_SCALE
        return F.binary_cross_entropy_with_logits(logits, target, reduction="sum") / len(videos)


def _contrast(model: Model, pictures: Tensor, tokens: Tensor, matches: Tensor) -> Tensor:
    texts = model.encode_text(tokens, normalize=True)                           # [N, D]
    logits = model.logit_scale.exp() * pictures @ texts.T                       # [B, N]
    return (_shared_cross_entropy(logits, matches) + _shared_cross_entropy(logits.T, matches.T)) / 2


def _shared_cross_entropy(logits: Tensor, matches: Tensor) -> Tensor:
    """Cross entropy against a target that is uniform over each row's matches."""
    target = matches / matches.sum(1, keepdim=True)
    return -(target * logits.log_softmax(1)).sum(1).mean()


def _augment(images: Tensor, mirror: Tensor, random: torch.Generator) -> Tensor:
    """uint8 [B, H, W, 3] → float [B, 3, H, W] of 0 to 255: zoomed, shifted, turned a little; colours stay."""
    def uniform(limit: float) -> Tensor:
        return (2 * torch.rand(len(images), generator=random) - 1) * limit

    zoom, turn = 1 + uniform(_ZOOM), uniform(_TURN)
    flip = torch.where(mirror & (torch.rand(len(images), generator=random) < 0.5), -1.0, 1.0)
    across = torch.stack([zoom * flip * turn.cos(), -zoom * turn.sin(), uniform(_SHIFT)], 1)
    down = torch.stack([zoom * flip * turn.sin(), zoom * turn.cos(), uniform(_SHIFT)], 1)
    planes = images.permute(0, 3, 1, 2).float()
    grid = F.affine_grid(torch.stack([across, down], 1), list(planes.shape), align_corners=False)
    moved = F.grid_sample(planes, grid, padding_mode="reflection", align_corners=False)
    return _hide(moved, random)


def _hide(images: Tensor, random: torch.Generator) -> Tensor:
    """A rectangle of every picture turned into its mean colour."""
    count, _, height, width = images.shape
    size, centre = torch.rand(2, 2, count, 1, generator=random)
    down, across = torch.arange(height) / height, torch.arange(width) / width
    rows, columns = ((axis - middle).abs() < _HIDDEN / 2 * extent                   # [B, H], [B, W]
                     for axis, middle, extent in zip((down, across), centre, size, strict=True))
    hidden = (rows[:, :, None] & columns[:, None, :])[:, None]                      # [B, 1, H, W]
    return torch.where(hidden, images.mean((2, 3), keepdim=True), images)


def _normalise(images: Tensor, model: Model) -> Tensor:
    """0 to 255 → what the model's own preprocessing gives."""
    mean, std = (torch.tensor(part, device=images.device)[:, None, None]
                 for part in (model.visual.image_mean, model.visual.image_std))
    return (images / 255 - mean) / std


def _names_a_side(captions: Sequence[str]) -> bool:
    """Whether a mirrored video would make one of its captions wrong."""
    return any({"left", "right"} & set(text.words(caption)) for caption in captions)


def _likeness(captions: Sequence[Sequence[str]]) -> Tensor:
    """How alike the captions of two videos are, [V, V]: the cosine of their words, rare ones weighing more."""
    bags = [Counter(text.words(" ".join(of_video))) for of_video in captions]
    column = {word: n for n, word in enumerate(sorted({word for bag in bags for word in bag}))}
    counts = torch.zeros(len(bags), len(column))
    for row, bag in zip(counts, bags, strict=True):
        row[[column[word] for word in bag]] = torch.tensor(list(bag.values()), dtype=torch.float32)
    weighted = F.normalize(counts * (len(bags) / (counts > 0).sum(0)).log(), dim=1)
    return weighted @ weighted.T


def _batches(likeness: Tensor, batches: int, random: torch.Generator) -> Iterator[Tensor]:
    """The videos in groups of those alike, the groups in random order, cut into parts of about equal size.

    So there is no last batch of one, which would have no negatives.
    """
    videos = len(likeness)
    noisy = likeness + _NOISE * torch.randn(videos, videos, generator=random)
    free = torch.ones(videos, dtype=torch.bool)
    groups = []
    for video in torch.randperm(videos, generator=random).tolist():
        if free[video]:
            free[video] = False
            mates = noisy[video].masked_fill(~free, -math.inf).topk(min(_GROUP - 1, int(free.sum()))).indices
            free[mates] = False
            groups.append(torch.cat([torch.tensor([video]), mates]))
    order = torch.randperm(len(groups), generator=random).tolist()
    yield from torch.cat([groups[n] for n in order]).tensor_split(batches)


def _groups(model: Model) -> list[dict[str, object]]:
    """Weight decay for matrices and kernels alone."""
    decayed = [parameter for parameter in model.parameters() if parameter.ndim >= 2]
    rest = [parameter for parameter in model.parameters() if parameter.ndim < 2]
    return [{"params": decayed, "weight_decay": _WEIGHT_DECAY}, {"params": rest, "weight_decay": 0.0}]


def _schedule(steps: int) -> Callable[[int], float]:
    """Linear warm-up, then a cosine to zero."""
    warm = max(1, round(_WARMUP * steps))

    def factor(step: int) -> float:
        if step < warm:
            return (step + 1) / warm
        return 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))

    return factor
