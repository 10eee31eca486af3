"""How fast the captioner trains and generates captions, against a plain loop over the same model that does the same.

    python -m benchmarks.captioner                    # at CARE's size; 7 minutes on two slow cores
    python -m benchmarks.captioner --videos 32 --rounds 1

The plain loop is what published captioners do: a row of a batch is one caption, padded to 30 words; its features are
read from HDF5 files with one data set a video, caption by caption, and its video is encoded for it alone; beam
search has no key/value cache, so that every step runs over all words so far and projects the memory again. Both use
the same weights: with dropout off their losses and their beams are equal
(tests/benchmarks/test_captioner_benchmark.py).

Writes reports/bench/captioner.json: `train_speedup`, `beam_speedup` (medians of runs in turn), the raw figures, cost
against batch size, peak memory.
"""

import json
import multiprocessing
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import h5py
import numpy as np
import torch
import torch.nn.functional as F
import typer
from torch import Tensor, nn

from benchmarks.memory import forget_peak, peak_mb
from benchmarks.timing import in_turn, machine
from pipeline import params
from pipeline.captioner.attributes import AttributeList
from pipeline.captioner.generation.beam_search import search
from pipeline.captioner.inputs import Inputs, Modality
from pipeline.captioner.model.caption_decoder import Memory
from pipeline.captioner.model.captioner import Captioner, Encoded, Shape
from pipeline.captioner.model.dropout import Dropout
from pipeline.captioner.training.batches import CaptionSet, Ids
from pipeline.captioner.training.cross_entropy import CrossEntropy
from pipeline.captioner.training.losses import attribute_loss
from pipeline.captioner.training.optimization import Phase, half_precision
from pipeline.captioner.vocabulary import BOS, EOS, PAD, UNK, Vocabulary
from pipeline.common.device import cpu_cores
from pipeline.common.files import write_json
from pipeline.common.text import words
from pipeline.emotion.taxonomy import Taxonomy

CARE = params.Captioner(modalities=("appearance", "audio", "text"), decoder_modalities=(), hidden_size=512, num_heads=8,
                        feedforward_size=2048, dropout=0.5, attention_dropout=0.1, universal_words=500,
                        embedded_attributes=30, min_word_count=1, max_words=30)
TRAINING = params.Training(epochs=50, videos_per_batch=16, learning_rate=5e-4, attribute_weight=1.0,
                           neutral_caption_weight=1.0)
BEAM = params.Generation(num_beams=5, batch_size=64, attribute_odds=0.0, emotion_odds=0.0, consensus=0.0)
WORDS, CAPTIONS = 10_000, 20            # a vocabulary and captions a video like MSR-VTT's
ROWS = {"appearance": (28, 512), "audio": (28, 128), "text": (20, 512)}     # rows and dimension of each modality
STEPS = 2                               # training steps a round
SIZES = (16, 64, 256, 640)              # captions a batch

Beams = list[tuple[list[int], float]]


@dataclass(frozen=True)
class World:
    """Random videos and captions, resident for our training and in files for the plain one."""

    section: params.Captioner
    inputs: Inputs
    texts: list[list[str]]
    files: dict[str, Path]
    taxonomy: Taxonomy
    vocabulary: Vocabulary
    attributes: AttributeList
    device: str

    def model(self) -> Captioner:
        torch.manual_seed(0)
        return Captioner(self.section, Shape.of(self.section, self.inputs, len(self.vocabulary)), self.attributes,
                         self.vocabulary).to(self.device)

    def objective(self, model: Captioner, settings: params.Training) -> CrossEntropy:
        captions = CaptionSet(self.texts, self.vocabulary, self.taxonomy, self.section.max_words, 1.0)
        return CrossEntropy(model, settings, self.inputs, captions, self.targets(), None, 0)

    def targets(self) -> Tensor:
        return self.attributes.targets(self.texts).to(self.device)


def make(folder: Path, section: params.Captioner, videos: int, vocabulary: int = WORDS, device: str = "cpu") -> World:
    """Captions of 9 ± 3 words whose words are as unequal as those of a language (Zipf)."""
    rng = np.random.default_rng(0)
    taxonomy = Taxonomy.load("evc-179")
    # Every word once, so that the vocabulary has its size; the rest by their rank.
    names = [*taxonomy.words, *(f"w{number}" for number in range(vocabulary - len(taxonomy.words)))]
    chance = 1 / np.arange(1, len(names) + 1)
    lengths = np.clip(rng.normal(9, 3, (videos, CAPTIONS)).round().astype(int), 3, section.max_words)
    drawn = rng.choice(len(names), int(lengths.sum()), p=chance / chance.sum()).tolist()
    rest = iter(rng.permutation(drawn).tolist())
    texts = [[" ".join(names[next(rest)] for _ in range(length)) for length in own] for own in lengths.tolist()]
    modalities, files = {}, {}
    for name, (rows, dim) in ROWS.items():
        values = rng.standard_normal((videos, rows, dim)).astype(np.float16)
        files[name] = folder / f"{name}.h5"
        with h5py.File(files[name], "w") as file:
            for video, own in enumerate(values):
                file[f"video{video}"] = own
        modalities[name] = Modality(torch.from_numpy(values.astype(np.float32)),
                                    torch.ones(videos, rows, dtype=torch.bool))
    prior = [torch.from_numpy(rng.random((videos, size), np.float32))
             for size in (len(taxonomy.categories), len(taxonomy.words))]
    inputs = Inputs(tuple(f"video{video}" for video in range(videos)), modalities, *prior).to(device)
    everything = [text for own in texts for text in own]
    return World(section, inputs, texts, files, taxonomy, Vocabulary.build([*everything, *names], 1),
                 AttributeList.build(everything, taxonomy, section.universal_words), device)


class PlainLoop:
    """The plain training step over our model's own weights."""

    def __init__(self, world: World, model: Captioner) -> None:
        self.world, self.model = world, plain_dropout(model)
        self.files = {name: h5py.File(path) for name, path in world.files.items()}
        self.encoded = [[world.vocabulary.encode(words(text)) for text in own] for own in world.texts]
        self.targets = world.targets()
        self.optimiser = torch.optim.AdamW(model.parameters(), 5e-4)

    def losses(self, videos: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Caption and attribute loss of all captions of `videos`, as `CrossEntropy.losses` defines them."""
        rows = [(video, ids) for video in videos for ids in self.encoded[video]]
        longest, device = self.world.section.max_words + 1, self.model.device
        read = torch.tensor([[BOS, *ids, *[PAD] * longest][:longest] for _, ids in rows], device=device)
        following = torch.tensor([[*ids, EOS, *[PAD] * longest][:longest] for _, ids in rows], device=device)
        with half_precision(device):
            encoded = self.model.encode(self.features([video for video, _ in rows]))
            logits = self.model.decode(encoded, read, torch.arange(len(rows), device=device)).float()
        target = following.masked_fill(following == UNK, PAD).flatten()
        caption = F.cross_entropy(logits.flatten(0, 1), target, ignore_index=PAD, reduction="sum",
                                  label_smoothing=TRAINING.label_smoothing) / len(rows)
        assert encoded.attribute_logits is not None
        return caption, attribute_loss(encoded.attribute_logits.float(), self.targets[[video for video, _ in rows]])

    def features(self, videos: Sequence[int]) -> Inputs:
        """One entry a caption, each read from the files."""
        found = {name: torch.from_numpy(np.stack([file[f"video{video}"][()] for video in videos]).astype(np.float32)
                                        ).to(self.world.device)
                 for name, file in self.files.items()}
        chosen = self.world.inputs.select(list(videos))
        return Inputs(chosen.ids, {name: Modality(rows, chosen.modalities[name].mask) for name, rows in found.items()},
                      chosen.prior_categories, chosen.prior_words)

    def step(self, videos: Sequence[int]) -> None:
        self.model.train()
        caption, attribute = self.losses(videos)
        self.optimiser.zero_grad()
        (caption + attribute).backward()    # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), TRAINING.max_grad_norm)
        self.optimiser.step()


def plain_dropout(model: nn.Module) -> Captioner:
    """`model` with PyTorch's own dropout in place of ours."""
    for module in model.modules():
        for name, child in module.named_children():
            if isinstance(child, Dropout):
                setattr(module, name, nn.Dropout(child.share))
    assert isinstance(model, Captioner)
    return model


@torch.no_grad()
def plain_beams(model: Captioner, inputs: Inputs, section: params.Generation) -> list[Beams]:
    """Beam search over a batch without a cache: every step sees whole captions and projects the memory anew."""
    model.eval()
    encoded, rows, masks = _unprojected(model, inputs)
    longest, beam = model.section.max_words + 1, section.num_beams
    alive: dict[int, Beams] = {video: [([BOS], 0.0)] for video in range(len(inputs))}
    done: dict[int, Beams] = {video: [] for video in alive}
    while alive:
        lines = [(video, tokens, total) for video, beams in alive.items() for tokens, total in beams]
        of = torch.tensor([video for video, _, _ in lines], device=model.device)
        memory = model.decoder.project_memory({name: part[of] for name, part in rows.items()},
                                              {name: part[of] for name, part in masks.items()}, None)
        theme = None if encoded.theme is None else encoded.theme[of]
        tokens = torch.tensor([tokens for _, tokens, _ in lines], device=model.device)
        order = torch.arange(len(lines), device=model.device)
        logits = model.decode(Encoded(memory, None, theme, None), tokens, order)[:, -1].float()
        gains = logits.log_softmax(-1)
        gains[:, [PAD, BOS, UNK]] = -torch.inf
        gains.scatter_(1, tokens[:, -1:], -torch.inf)           # no word follows itself
        if tokens.shape[1] == 1:
            gains[:, EOS] = -torch.inf
        if tokens.shape[1] == longest:
            gains[:, :EOS] = gains[:, EOS + 1:] = -torch.inf
        sums = (gains + torch.tensor([total for _, _, total in lines], device=model.device)[:, None]).cpu()
        first = 0
        for video, beams in list(alive.items()):
            own = sums[first:first + len(beams)]
            first += len(beams)
            best = own.flatten().topk(min(2 * beam, own.numel()))
            grown = [([*beams[at // own.shape[1]][0], at % own.shape[1]], total)
                     for total, at in zip(best.values.tolist(), best.indices.tolist(), strict=True)
                     if total > -torch.inf]
            done[video] += [(line[1:], total / (len(line) - 1) ** section.length_penalty)
                            for line, total in grown[:beam] if line[-1] == EOS]
            alive[video] = [one for one in grown if one[0][-1] != EOS][:beam]
            done[video] = sorted(done[video], key=lambda one: -one[1])[:beam]
            likeliest = max((total for _, total in alive[video]), default=-np.inf)
            if len(done[video]) == beam and done[video][-1][1] >= likeliest / tokens.shape[1] ** section.length_penalty:
                del alive[video]
    return [done[video] for video in range(len(inputs))]


def _unprojected(model: Captioner, inputs: Inputs) -> tuple[Encoded, dict[str, Tensor], dict[str, Tensor]]:
    """What the model encodes, and the memory's rows before they are keys and values."""
    seen: list[tuple[dict[str, Tensor], dict[str, Tensor]]] = []
    project_memory = model.decoder.project_memory

    def keep(rows: dict[str, Tensor], masks: dict[str, Tensor], scores: Tensor | None) -> Memory:
        seen.append((rows, masks))
        return project_memory(rows, masks, scores)

    model.decoder.project_memory = keep   # type: ignore[method-assign]
    try:
        encoded = model.encode(inputs)
    finally:
        del model.decoder.project_memory
    return encoded, *seen[0]


@torch.no_grad()
def our_beams(model: Captioner, inputs: Inputs, section: params.Generation) -> list[Beams]:
    model.eval()
    return search(model, model.encode(inputs), len(inputs), section)


def training_speed(world: World, rounds: int) -> dict[str, float | list[float]]:
    """The same captions, all those of TRAINING.videos_per_batch videos a step, in both ways."""
    ours = Phase(model := world.model(), world.objective(model, TRAINING), TRAINING)
    plain = PlainLoop(world, world.model())
    size = TRAINING.videos_per_batch
    batches = [np.arange(step * size, (step + 1) * size) for step in range(STEPS)]
    captions = sum(len(world.texts[video]) for batch in batches for video in batch)

    def learn(step: Callable[[Ids], None]) -> None:
        for batch in batches:
            step(batch)

    own, other = in_turn(rounds, partial(learn, ours.learn), partial(learn, lambda batch: plain.step(batch.tolist())))
    return {"train_speedup": statistics.median(other) / statistics.median(own),
            "captions_a_step": captions // STEPS, "parameters": sum(p.numel() for p in model.parameters()),
            "train_captions_per_second": captions / statistics.median(own),
            "plain_train_captions_per_second": captions / statistics.median(other),
            "train_seconds": own, "plain_train_seconds": other}


def beam_speed(world: World, rounds: int) -> dict[str, float | list[float]]:
    """Videos a second at BEAM, the same batch in both ways, by a model that learned when to end a caption."""
    model = world.model()
    with torch.no_grad():       # untrained it would never end: let it as often as people do
        _end_like_people(model)
    batch = world.inputs.select(range(min(BEAM.batch_size, len(world.inputs))))
    own, other = in_turn(rounds, lambda: our_beams(model, batch, BEAM), lambda: plain_beams(model, batch, BEAM))
    lengths = [len(beams[0][0]) for beams in our_beams(model, batch, BEAM)]
    return {"beam_speedup": statistics.median(other) / statistics.median(own), "beam_videos": len(batch),
            "beam_words": statistics.fmean(lengths) - 1,
            "beam_videos_per_second": len(batch) / statistics.median(own),
            "plain_beam_videos_per_second": len(batch) / statistics.median(other),
            "beam_seconds": own, "plain_beam_seconds": other}


def _end_like_people(model: Captioner) -> None:
    """Makes <eos> likelier with every word, so that captions end after about nine."""
    direction = model.decoder.output.weight[EOS]
    direction.copy_(F.normalize(torch.randn_like(direction), dim=0))
    for place in range(model.decoder.length):
        model.decoder.positions.weight[place] += direction * (place - 6) * model.decoder.width ** 0.5 / 2


def batch_sizes(world: World, rounds: int) -> list[dict[str, float]]:
    """Cost of a step against the captions of a batch, mixed over all videos."""
    found = []
    for size in SIZES:
        settings = TRAINING.model_copy(update={"captions_per_batch": size})
        phase = Phase(model := world.model(), objective := world.objective(model, settings), settings)
        batch: Ids = objective.order(np.random.default_rng(0))[0]
        seconds = statistics.median(in_turn(rounds, partial(phase.learn, batch))[0])
        found.append({"captions": len(batch), "seconds": seconds, "captions_per_second": len(batch) / seconds})
    return found


def peak_memory(section: params.Captioner, videos: int, ours: bool) -> float:
    """MB that a training step adds to what the world and the model take, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        return pool.apply(_peak, (section, videos, ours))


def _peak(section: params.Captioner, videos: int, ours: bool) -> float:
    torch.set_num_threads(cpu_cores())
    with tempfile.TemporaryDirectory() as folder:
        world = make(Path(folder), section, videos)
        model = world.model()
        batch = np.arange(min(TRAINING.videos_per_batch, videos))
        phase, plain = Phase(model, world.objective(model, TRAINING), TRAINING), PlainLoop(world, world.model())
        forget_peak()           # which was that of making the world
        before = peak_mb()
        for _ in range(2):
            if ours:
                phase.learn(batch)
            else:
                plain.step(batch.tolist())
        return peak_mb() - before


def measure(section: params.Captioner, videos: int, rounds: int) -> Mapping[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        world = make(Path(folder), section, videos)
        return {**training_speed(world, rounds), **beam_speed(world, rounds),
                "batch_sizes": batch_sizes(world, rounds), "vocabulary": len(world.vocabulary),
                "peak_memory_mb": peak_memory(section, videos, True),
                "plain_peak_memory_mb": peak_memory(section, videos, False),
                "machine": machine()}


def main(videos: Annotated[int, typer.Option(min=2 * 16)] = 64, rounds: Annotated[int, typer.Option(min=1)] = 3,
         out: Path = Path("reports/bench/captioner.json")) -> None:
    torch.set_num_threads(cpu_cores())
    found = measure(CARE, videos, rounds)
    write_json(out, found)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    typer.run(main)
