"""Typed parameters: the only reader of params.yaml. sections.py has them all, files.py reads and changes files.

    params = load(["seed=1", "captioner.width=128"])

An unknown key, a wrong type or an impossible value is an error that names the key. As a program it lays a
preset (a part of such a file) over params.yaml, comments kept, so that `dvc repro` or `dvc exp run` runs it:

    python -m pipeline.params presets/folder.yaml dataset=mine data.videos=/my/clips

A preset that names a data set starts afresh: what describes an experiment takes the defaults of
sections.py first, so that nothing of an earlier preset is left. Any other preset is laid over what the file says.
"""

import os

from pipeline.params.files import DEFAULT, afresh, apply, lay_over, load, override, read, validate
from pipeline.params.sections import (
    AppearanceEncoder,
    AudioEncoder,
    Captioner,
    CaptionerModality,
    Cluster,
    Data,
    Decoding,
    Emotion,
    Encoders,
    EncoderTraining,
    Extraction,
    Metrics,
    MotionEncoder,
    Params,
    Retrieval,
    Sample,
    Section,
    Training,
)

__all__ = [
    "AppearanceEncoder", "AudioEncoder", "Captioner", "CaptionerModality", "Cluster", "DEFAULT", "Data", "Decoding",
    "Emotion", "EncoderTraining", "Encoders", "Extraction", "Metrics", "MotionEncoder", "Params", "Retrieval",
    "Sample", "Section", "Training", "afresh", "apply", "cores", "lay_over", "load", "override", "read", "validate",
]


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
