"""Weights that exist already: in a folder, in the model hub's cache, or on the hub.

    folder = folder_of("org/name", "encoders.audio.model", (CONFIG, WEIGHTS, PREPROCESSING))

A model is named by a folder or by its hub id, `org/name` or `org/name@revision`. What the hub's cache holds is
taken from there and the hub is not asked, so that a run repeats without a network; the recipe has a hash over
the tensors, which differs between two revisions. What cannot be had is an error within seconds: libraries retry
for minutes. Weights are read from safetensors alone: a pickle may run code.
"""

import hashlib
import re
import ssl
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

from pipeline.common.errors import SpectrumError

if TYPE_CHECKING:
    import torch

# Files that a model is made of; of the names in one tuple any will do.
Wanted = tuple[str, ...]
CONFIG: Wanted = ("config.json",)
WEIGHTS: Wanted = ("model.safetensors", "model.safetensors.index.json")
PREPROCESSING: Wanted = ("preprocessor_config.json",)
TOKENIZER: Wanted = ("tokenizer.json", "vocab.txt", "vocab.json", "tokenizer.model", "spiece.model")

_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?")
MODEL_FILES = ("*.json", "*.txt", "*.model", "model*.safetensors")      # that are read: no pickle, no code
_PATIENCE = 2.0         # seconds for the server of the weights to answer at all


def folder_of(model: str, key: str, wanted: Sequence[Wanted]) -> Path:
    """The folder with the files of `model`, a folder or a hub id; what the cache lacks is downloaded.

    key: the parameter that names the model. Raises SpectrumError that names which files are missing, where they were
    looked for and how to provide them.
    """
    folder = Path(model).expanduser()
    if folder.is_dir():
        missing = _missing(folder, wanted)
        if missing:
            raise SpectrumError(f"{key}: {folder} lacks {missing}{_pickle_note(folder)}; save the model there with "
                                "transformers' save_pretrained, or give a hub id (org/name)")
        return folder
    from huggingface_hub.errors import HFValidationError

    repository, _, revision = model.partition("@")
    try:
        if not _HUB_ID.fullmatch(model):
            raise HFValidationError
        cached = _cached(repository, revision or "main")
    except HFValidationError:
        raise SpectrumError(f"{key}: {model!r} is no folder and no hub id (org/name or org/name@revision)") from None
    if cached is not None and not _missing(cached, wanted):
        return cached
    _check_reachable(model, key, wanted)
    return _download(model, key, wanted)


def hub_folder(model: str, files: Sequence[str], wanted: Sequence[str]) -> Path:
    """A hub's repository, `org/name` or `org/name@revision`, as a folder with the `files` (patterns) of it.

    The hub is asked only where the cache lacks one that is `wanted`. Raises SpectrumError where it cannot be had.
    """
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repository, _, revision = model.partition("@")
    if not _HUB_ID.fullmatch(model):
        raise SpectrumError(f"{model!r}: no such folder, and no hub id (org/name or org/name@revision)")
    for cached in (True, False):
        try:
            if not cached and (why := _out_of_reach(constants.ENDPOINT)):
                raise SpectrumError(f"{model} is no folder, its files are not all in the cache "
                                    f"({_cache_folder(repository)}) and {why}; run `hf download {repository}` where "
                                    "there is a network and copy the cache, or give a folder")
            folder = Path(snapshot_download(repository, revision=revision or None, allow_patterns=list(files),
                                            local_files_only=cached))
        except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
            if not cached:
                raise SpectrumError(f"{model} cannot be downloaded ({one_line(error)}); check the name on the hub, or "
                                    "give a folder") from None
            continue
        if all((folder / name).is_file() for name in wanted):
            break
    return folder


def check_server(source: str, what: str, give: str) -> None:
    """Fails early where the weights of `source` would have to be downloaded and cannot be.

    source: a hub repository (`org/name/…`), an address, or `local-dir:…`. give: what to do instead of copying a
    cache, as in "give its file in encoders.appearance.weights". Raises SpectrumError.
    """
    from huggingface_hub import constants
    from huggingface_hub.errors import HFValidationError

    if source.startswith("local-dir:"):
        return
    if source.startswith("http"):
        cache = Path("~/.cache/clip").expanduser() / Path(urlsplit(source).path).name
        cached, server = cache.exists(), source
    else:
        try:
            cache = _cache_folder("/".join(source.split("@")[0].split("/")[:2]))
        except HFValidationError:
            raise SpectrumError(f"{what}: {source!r} is no hub id (org/name); mend it, or {give}") from None
        cached = any(file.suffix in (".safetensors", ".bin", ".pt") for file in cache.glob("snapshots/*/*"))
        server = constants.ENDPOINT
    if not cached and (why := _out_of_reach(server)):
        raise SpectrumError(f"{what}: {source} is not in the cache ({cache}) and {why}; download it elsewhere and put "
                            f"it there, or {give}")


def tensors_sha256(model: "torch.nn.Module") -> str:
    """A hash over names, types, shapes and values of a model's tensors, whatever file they came from."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(model.state_dict().items()):
        values = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}\n".encode())
        digest.update(values.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _missing(folder: Path, wanted: Sequence[Wanted]) -> str:
    """The files of `wanted` that the folder lacks, for a sentence; "" where it has them all."""
    return ", ".join(" or ".join(names) for names in wanted if not any((folder / name).is_file() for name in names))


def _pickle_note(folder: Path) -> str:
    """Why a pickle of weights beside them does not count."""
    if any(folder.glob("*.bin")) and not any(folder.glob("*.safetensors")):
        return " (its .bin is a pickle, which may run code and is not read)"
    return ""


def _cached(repository: str, revision: str) -> Path | None:
    """The repository's snapshot in the hub's cache."""
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(repository, CONFIG[0], revision=revision)
    return Path(config).parent if isinstance(config, str) else None


def _cache_folder(repository: str) -> Path:
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repository, repo_type="model")


def _check_reachable(model: str, key: str, wanted: Sequence[Wanted]) -> None:
    from huggingface_hub import constants

    why = _out_of_reach(constants.ENDPOINT)
    if why:
        files = ", ".join(" or ".join(names) for names in wanted)
        raise SpectrumError(
            f"{key}: {model} is no folder, its files ({files}) are not all in the cache "
            f"({_cache_folder(model.partition('@')[0])}) and {why}; run `hf download {model.partition('@')[0]}` where "
            "there is a network and copy the cache, or give a folder that holds them")


def _download(model: str, key: str, wanted: Sequence[Wanted]) -> Path:
    from huggingface_hub import snapshot_download

    repository, _, revision = model.partition("@")
    try:
        folder = Path(snapshot_download(repository, revision=revision or None, allow_patterns=list(MODEL_FILES),
                                        ignore_patterns=["*/*"]))
    except Exception as error:      # a network, a server and a file system can fail in any way
        raise SpectrumError(f"{key}: {model} cannot be downloaded ({one_line(error)}); check the name on the hub, or "
                            "give a folder that holds the model") from None
    missing = _missing(folder, wanted)
    if missing:
        raise SpectrumError(f"{key}: the hub's {model} has no {missing}; choose a revision that has "
                            f"({repository}@refs/pr/…, where the hub's bot puts converted weights), or convert it once "
                            "and give its folder")
    return folder


def one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _out_of_reach(server: str) -> str:
    """Why downloads from `server` are impossible; "" where it answers."""
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "the hub's offline switch (HF_HUB_OFFLINE) is set"
    answers: list[bool] = []
    # A thread, for looking up a name has no time limit of its own.
    asking = threading.Thread(target=lambda: answers.append(_answers(server)), daemon=True)
    asking.start()
    asking.join(_PATIENCE)
    return "" if answers and answers[0] else f"{urlsplit(server).hostname} cannot be reached"


def _answers(server: str) -> bool:
    """Whether the server answers, be it with a refusal. Goes through the proxy where there is one."""
    try:
        urlopen(Request(server, method="HEAD"), timeout=_PATIENCE).close()
    except HTTPError:
        return True
    except URLError as error:       # its certificate is the downloading library's matter
        return isinstance(error.reason, ssl.SSLError)
    except OSError:
        return False
    return True
