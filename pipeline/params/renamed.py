"""Parameters that were called otherwise, or are gone: an old name is refused with a sentence that says so."""

from collections.abc import Iterator, Mapping
from typing import Any

RENAMED = {
    "captioner.feedforward": "captioner.feedforward_size",
    "captioner.heads": "captioner.num_heads",
    "captioner.layers": "captioner.num_layers",
    "captioner.memory": "captioner.decoder_modalities",
    "captioner.width": "captioner.hidden_size",
    "captioner.word_count": "captioner.min_word_count",
    "decoding.attribute_odds": "generation.attribute_odds",
    "decoding.batch": "generation.batch_size",
    "decoding.beam": "generation.num_beams",
    "decoding.consensus": "generation.consensus",
    "decoding.length_power": "generation.length_penalty",
    "decoding.method": "generation.method",
    "decoding.no_repeat": "generation.no_repeat_ngram_size",
    "decoding.seed": "generation.seed",
    "decoding.temperature": "generation.temperature",
    "decoding.top_p": "generation.top_p",
    "device": "machine.device",
    "emotion.classifier": "emotion.estimators",
    "emotion.classifier_batch": "emotion.classifier_batch_size",
    "emotion.clip": "emotion.estimators",
    "emotion.lexicon": "emotion.estimators",
    "encoder.batch": "encoder.batch_size",
    "encoders.appearance.batch": "encoders.appearance.batch_size",
    "encoders.appearance.frames": "encoders.appearance.num_frames",
    "encoders.appearance.per_second": "encoders.appearance.fps",
    "encoders.audio.batch": "encoders.audio.batch_size",
    "encoders.audio.windows": "encoders.audio.num_windows",
    "encoders.motion.batch": "encoders.motion.batch_size",
    "encoders.motion.windows": "encoders.motion.num_windows",
    "extraction.backend": "extraction.decoder",
    "extraction.decoders": "machine.decoder_processes",
    "extraction.least_share": "extraction.min_decoded_share",
    "extraction.memory": "machine.buffer_megabytes",
    "extraction.save_every": "machine.save_interval",
    "extraction.shards": "extraction.num_shards",
    "extraction.timeout": "machine.decoding_timeout",
    "metrics.timeout": "machine.scoring_timeout",
    "retrieval.batch": "machine.search_batch_size",
    "training.captions": "training.captions_per_batch",
    "training.clip_norm": "training.max_grad_norm",
    "training.decay": "training.lr_decay",
    "training.keep": "training.select_by",
    "training.optimiser": "training.optimizer",
    "training.plain_weight": "training.neutral_caption_weight",
    "training.schedule": "training.lr_schedule",
    "training.seeds": "training.num_seeds",
    "training.videos": "training.videos_per_batch",
    "training.warmup": "training.warmup_ratio",
    "decoding": "generation",
}

# Settings that are fitted on the training videos.
FITTED = ("emotion.calibrate", "emotion.clip_temperature", "emotion.retrieval_temperature")


def renamed_keys(tree: Mapping[str, Any]) -> Iterator[str]:
    """A sentence for every former name in a tree of parameters."""
    sentences = {old: f"is now called {new}" for old, new in RENAMED.items()}
    sentences |= dict.fromkeys(FITTED, "is gone: it is fitted on the training videos; take it out")
    for old, sentence in sentences.items():
        node: Any = tree
        for part in old.split("."):
            node = node.get(part, _ABSENT) if isinstance(node, Mapping) else _ABSENT
        if node is not _ABSENT:
            yield f"{old} {sentence}"


_ABSENT = object()
