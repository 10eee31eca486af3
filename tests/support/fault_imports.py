"""Imports what the stages import, so that a process forked from one that has it begins its work at once."""

import importlib

from pipeline.encoders import torchvision_compat as compat

compat.install()

for name in ("faiss", "h5py", "open_clip", "torch", "stages.emotion", "stages.encoder", "stages.evaluate",
             "stages.extract", "stages.index", "stages.prepare", "stages.report", "stages.retrieve", "stages.train",
             "pipeline.captioner.card", "pipeline.captioner.checkpoint", "pipeline.captioner.training.trainer",
             "pipeline.emotion.estimators", "pipeline.encoders.contrastive_training",
             "pipeline.encoders.text_encoder", "pipeline.extraction.run", "pipeline.metrics.evaluation",
             "pipeline.report.page"):
    importlib.import_module(name)
