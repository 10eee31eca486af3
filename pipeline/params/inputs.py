"""The user's own files must not lie where the stages put things: DVC removes a stage's outs before it runs."""

from collections.abc import Iterator
from pathlib import Path

from pipeline.common.errors import SpectrumError
from pipeline.params.paths import Paths
from pipeline.params.sections import Params


def check_inputs(params: Params) -> None:
    """Raises SpectrumError where a file or folder that a parameter names lies inside an out, or holds one.

    Links are followed: what counts is where a file really is.
    """
    outs = {path.resolve() for path in Paths.of(params).outs()}
    for key, path in _inputs(params):
        real = path.resolve()
        for out in sorted(outs):
            if real == out or out in real.parents or real in out.parents:
                raise SpectrumError(f"{key}: {path} lies in {_shown(out)}, or holds it: a stage replaces that, "
                                    "and would remove your files; put them elsewhere, such as downloads/")


def _inputs(params: Params) -> Iterator[tuple[str, Path]]:
    """Keys and the existing files or folders that they name."""
    encoders, data = params.encoders, params.data
    named = {
        "data.videos": data.videos, "data.captions": data.captions, "data.corpus": data.corpus,
        "encoders.appearance.weights": encoders.appearance.weights,
        "encoders.appearance.features": encoders.appearance.features,
        "encoders.appearance.texts": encoders.appearance.texts,
        "encoders.audio.features": encoders.audio.features, "encoders.audio.model": encoders.audio.model,
        "encoders.motion.features": encoders.motion.features, "encoders.motion.model": encoders.motion.model,
        "emotion.classifier_model": params.emotion.classifier_model,
        "emotion.classifier_labels": params.emotion.classifier_labels,
    }
    for key, value in named.items():
        if value and Path(value).exists():
            yield key, Path(value)


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
