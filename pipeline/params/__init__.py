"""Typed parameters: the only reader of params.yaml.

    params = load(["seed=1", "captioner.hidden_size=128"])

sections.py has every parameter with its type, bounds and default; files.py reads and changes files of them;
renamed.py knows former names; paths.py says where the stages put things. An unknown key, a wrong type or an
impossible value is an error that names the key. As a program it lays a preset (a part of such a file) over
params.yaml, comments kept, so that `dvc repro` or `dvc exp run` runs it:

    python -m pipeline.params presets/folder.yaml dataset=mine data.videos=/my/clips

A preset that names a data set starts afresh: what describes an experiment takes the defaults of sections.py first, so
that nothing of an earlier preset is left. Any other preset is laid over what the file says.
"""

from pipeline.params.base import Section
from pipeline.params.captioner_sections import Captioner, Generation, Modality, Training
from pipeline.params.encoder_sections import AppearanceEncoder, AudioEncoder, Encoders, EncoderTraining, MotionEncoder
from pipeline.params.files import DEFAULT, apply, load, override, read, validate
from pipeline.params.sections import Cluster, Data, Emotion, Extraction, Machine, Params, Retrieval, Sample

__all__ = [
    "AppearanceEncoder", "AudioEncoder", "Captioner", "Cluster", "DEFAULT", "Data", "Emotion", "EncoderTraining",
    "Encoders", "Extraction", "Generation", "Machine", "Modality", "MotionEncoder", "Params", "Retrieval", "Sample",
    "Section", "Training", "apply", "load", "override", "read", "validate",
]
