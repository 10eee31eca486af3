"""What the stages import, so that a process forked from one that has it begins its work at once."""

from pipeline.encoders import torchvision_compat as compat

compat.install()

import faiss  # noqa: E402, F401
import h5py  # noqa: E402, F401
import open_clip  # noqa: E402, F401
import torch  # noqa: E402, F401

import stages.emotion  # noqa: E402
import stages.encoder  # noqa: E402
import stages.evaluate  # noqa: E402
import stages.extract  # noqa: E402
import stages.index  # noqa: E402
import stages.prepare  # noqa: E402
import stages.report  # noqa: E402
import stages.retrieve  # noqa: E402
import stages.train  # noqa: E402
from pipeline.captioner import card, checkpoint  # noqa: E402, F401
from pipeline.captioner.training import trainer  # noqa: E402, F401
from pipeline.emotion import estimators  # noqa: E402, F401
from pipeline.encoders import contrastive_training, open_clip_model, text_encoder  # noqa: E402, F401
from pipeline.extraction import run  # noqa: E402, F401
from pipeline.metrics import evaluation  # noqa: E402, F401
from pipeline.report import page  # noqa: E402, F401
