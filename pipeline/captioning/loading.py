"""Opens a captioner with all that it needs, for one's own clips."""

from pipeline.captioner import checkpoint
from pipeline.captioner.training_domain import TrainingDomain
from pipeline.captioning.clips import ClipCaptioner
from pipeline.captioning.files import refuse_imported_frames
from pipeline.common.device import torch_device
from pipeline.emotion.clip_prior import ClipPrior
from pipeline.emotion.emotion_file import Emotions
from pipeline.emotion.estimators import Estimators
from pipeline.encoders import appearance, audio, motion
from pipeline.encoders.open_clip_import import import_open_clip
from pipeline.media.decoder import VideoDecoder
from pipeline.params import Params
from pipeline.params.paths import Paths
from pipeline.retrieval.index import model_id, open_index


def open_captioner(params: Params, paths: Paths | None = None, decoder: VideoDecoder | None = None) -> ClipCaptioner:
    """paths: where the captioner and its files are; without it, where the stages put them. decoder: one that runs
    already.

    Raises SpectrumError where a file is missing, damaged, or not of the run that the captioner was trained in.
    """
    paths, device = paths or Paths.of(params), torch_device(params.machine.device)
    refuse_imported_frames(params)
    trained = checkpoint.load(paths.captioner, device)
    domain = TrainingDomain.read(trained.folder)
    frames = appearance.load(params.encoders.appearance, paths.encoder, str(device))
    index = open_index(paths.index, model_id(frames.recipe))
    emotions = ClipPrior(Estimators(params.emotion, index, frames.encode_texts, str(device)),
                         Emotions.read(paths.emotion).prior)
    encoders = {"appearance": frames, "audio": audio.load(params.encoders.audio, str(device)),
                "motion": motion.load(params.encoders.motion, str(device))}
    decoder = decoder or VideoDecoder(params.machine.decoding_timeout, params.extraction.decoder)
    return ClipCaptioner(trained, domain, encoders, index, emotions, params, decoder)


def import_libraries() -> None:
    """What loading needs and takes seconds to import; this module's own imports are the other part of it."""
    import_open_clip()
