"""A trained model as one folder that needs no other: it is copied or pushed to a hub, and captions clips elsewhere.

    export(params, Paths.of(params), Path("my-model"))
    with load("my-model") as captioner:     # or a hub's "org/name", "org/name@revision"
        print(captioner.caption(Path("clip.mp4")).text)
    push(Path("my-model"), "org/name")

The folder holds

    README.md                                 the model card, with metadata for the hub on top
    params.yaml                               the parameters that a clip's caption depends on
    captioner.{json,safetensors}, curves.csv  the checkpoint
    encoder/                                  encoder.json, and the weights unless a hub has them under a name
    index/                                    the captions to retrieve from
    emotion.h5                                the fitted prior, without the videos that it was fitted on
    audio/, motion/, classifier/, labels.json models and labels that the parameters name by a path
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import uuid4

from ruamel.yaml import YAML

from pipeline.captioner import card, checkpoint
from pipeline.captioning.clips import ClipCaptioner
from pipeline.captioning.loading import open_captioner
from pipeline.common.errors import SpectrumError, readable_write_errors
from pipeline.common.files import read_json, write_text
from pipeline.emotion.emotion_file import Emotions
from pipeline.encoders import open_clip_model
from pipeline.encoders.weights import MODEL_FILES, one_line
from pipeline.params import Params
from pipeline.params.paths import Paths
from pipeline.sharing import hub_card
from pipeline.sharing.locating import FILES, HERE, PARAMS, locate_model, named_parameters

_SECTIONS = {"dataset", "seed", "encoders", "extraction", "retrieval", "emotion", "captioner", "generation"}


def load(model: str | Path, overrides: Sequence[str] = ()) -> ClipCaptioner:
    """The captioner of a model's folder, or of a hub's repository; to be closed, for its decoder is a process.

    overrides: `key=value`, such as `machine.device=cpu` or `generation.num_beams=10`. Raises SpectrumError.
    """
    params, paths = locate_model(str(model), overrides)
    return open_captioner(params, paths)


def export(params: Params, paths: Paths, folder: Path, source: Path | None = None) -> None:
    """Makes `folder` of the captioner in `source`, by default the graph's. It is there only after it loaded once.

    Raises SpectrumError where `folder` is there already, something is missing, or the model does not load.
    """
    if folder.exists():
        raise SpectrumError(f"{folder}: it is there already; remove it or name another")
    source = source or paths.captioner
    checkpoint.load(source)         # whole, before anything is written
    temporary = folder.absolute().with_name(f".{folder.name}.{uuid4().hex[:12]}.tmp")
    try:
        with readable_write_errors(folder):
            temporary.mkdir(parents=True)
            _fill(temporary, params, paths, source, folder.name)
            load(temporary, [f"machine.device={params.machine.device}"]).close()
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def push(folder: Path, repository: str, public: bool = False) -> str:
    """Puts a model's folder into the hub's `repository` (org/name), which is made where there is none; returns its
    address. Raises SpectrumError."""
    from huggingface_hub import HfApi

    load(folder).close()        # what cannot be loaded is of no use to others
    hub = HfApi()
    try:
        address = hub.create_repo(repository, private=not public, exist_ok=True)
        hub.upload_folder(folder_path=folder, repo_id=repository, allow_patterns=list(FILES),
                          commit_message=f"Model folder {folder.name}")
    except Exception as error:      # a network and a server can fail in any way
        raise SpectrumError(f"{repository}: {folder} cannot be pushed ({one_line(error)}); log in with `hf auth login` "
                            "and check the name and the network") from None
    return str(address)


def _fill(folder: Path, params: Params, paths: Paths, source: Path, name: str) -> None:
    for file in source.iterdir():
        if file.is_file() and file.name != card.NAME:
            shutil.copyfile(file, folder / file.name)
    shutil.copytree(paths.index, folder / "index", copy_function=shutil.copyfile)
    _write_prior(paths.emotion, folder / "emotion.h5")
    tree = params.model_dump(mode="json", include=_SECTIONS)
    described = read_json(folder / checkpoint.DESCRIPTION)
    tree["captioner"] = described["captioner"]          # as it was trained
    tree["encoders"]["appearance"]["weights"] = _put_encoder(params, paths.encoder, folder / "encoder")
    for section, key, place in named_parameters(tree):
        named = Path(section[key]).expanduser()
        if section[key] and named.exists():
            _copy(named, folder / place)
            section[key] = HERE + place
    text = StringIO()
    YAML().dump(tree, text)
    write_text(folder / PARAMS, text.getvalue())
    write_text(folder / card.NAME, hub_card.render(
        source / card.NAME, name, described["dataset"], _scores(paths, source)))


def _write_prior(source: Path, target: Path) -> None:
    """What was fitted, without what the file says of the data set's videos."""
    emotions = Emotions.read(source)
    replace(emotions, ids=(), **{key: getattr(emotions, key)[:0] for key in (
        "rows", "caption_categories", "word_shares", "counts", "evidence", "present")}).write(target)


def _put_encoder(params: Params, source: Path, target: Path) -> str:
    """The picture encoder; returns what the parameters call its weights there."""
    section = params.encoders.appearance
    if section.model.startswith("local-dir:"):
        raise SpectrumError(f"encoders.appearance.model: {section.model} lies on this machine, and its name is a part "
                            "of what the captioner was trained on; push it to a hub and train with hf-hub:org/name")
    if section.weights != "train" and Path(section.weights).is_file():
        model = open_clip_model.load(section, source)
        open_clip_model.save_trained(section.model, model.model, target, {"file": Path(section.weights).name})
        return "train"          # that is, of the file beside encoder.json
    shutil.copytree(source, target, copy_function=shutil.copyfile)
    return section.weights


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        target.mkdir()
        for file in sorted({file for pattern in MODEL_FILES for file in source.glob(pattern)}):
            shutil.copyfile(file, target / file.name)
    else:
        shutil.copyfile(source, target)


def _scores(paths: Paths, source: Path) -> Mapping[str, Any]:
    """What metrics.json says of the captioner in `source`; {} where it was not evaluated."""
    path = paths.reports / "metrics.json"
    metrics: dict[str, Any] = read_json(path) if path.is_file() else {}
    if source == paths.baseline:
        return metrics.get("baseline") or {}
    return metrics if source == paths.captioner else {}
