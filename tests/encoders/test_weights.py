"""Weights from folders, from a cache as the hub's client fills it, and from nowhere: an error in a sentence."""

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import open_clip
import pytest
import safetensors.torch
import tiny_models
import torch
import transformers
from huggingface_hub import constants
from PIL import Image
from project import ROOT

from pipeline.common.errors import SpectrumError
from pipeline.encoders import appearance, audio, open_clip_model, weights
from pipeline.encoders.base import encode
from pipeline.encoders.weights import CONFIG, PREPROCESSING, TOKENIZER, WEIGHTS, folder_of
from pipeline.params import AppearanceEncoder, AudioEncoder

KEY = "encoders.audio.model"
WANTED = (CONFIG, WEIGHTS, PREPROCESSING)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The hub's cache, empty; conftest.py has set the offline switch."""
    folder = tmp_path / "hub"
    for module in (constants, huggingface_hub.file_download):
        monkeypatch.setattr(module.constants if hasattr(module, "constants") else module, "HF_HUB_CACHE", str(folder))
    return folder


@pytest.fixture
def ast(tmp_path: Path) -> Path:
    return tiny_models.ast(tmp_path / "ast")


def section(model: str) -> AudioEncoder:
    return AudioEncoder(name="a", kind="transformers", model=model, num_windows=2, window_seconds=0.5)


def test_a_folder_and_a_hub_id_in_the_cache_give_the_same_rows(ast: Path, cache: Path) -> None:
    wave = np.random.default_rng(0).uniform(-1, 1, 8_000).astype(np.float32)
    of_folder = audio.load(section(str(ast)), "cpu")
    rows = encode(of_folder, of_folder.prepare(wave)[None])
    snapshot = tiny_models.in_cache(cache, "org/tiny-ast", ast)
    assert folder_of("org/tiny-ast", KEY, WANTED) == snapshot
    assert folder_of(f"org/tiny-ast@{tiny_models.REVISION}", KEY, WANTED) == snapshot
    of_hub = audio.load(section("org/tiny-ast"), "cpu")
    assert np.array_equal(encode(of_hub, of_hub.prepare(wave)[None]), rows)
    assert of_hub.recipe == of_folder.recipe


def test_the_hub_id_runs_in_a_process_of_its_own_with_hf_home_alone(ast: Path, tmp_path: Path) -> None:
    tiny_models.in_cache(tmp_path / "home" / "hub", "org/tiny-ast", ast)
    code = ("from pipeline.encoders import audio\nfrom pipeline.params import AudioEncoder\n"
            "made = audio.load(AudioEncoder(name='a', kind='transformers', model='org/tiny-ast', num_windows=2,"
            " window_seconds=0.5), 'cpu')\nprint(made.dim)")
    environment = {**os.environ, "HF_HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    environment.pop("HF_HUB_OFFLINE")       # what is in the cache needs no hub, offline switch or not
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "24\n", ""), done.stderr


@pytest.mark.parametrize(("model", "sentence"), [
    ("org/none", r"org/none is no folder, its files \(config\.json, model\.safetensors or .*\) are not all in the "
                 r"cache \(.*models--org--none\) and the hub's offline switch .* is set; run `hf download org/none`"),
    ("org/none@refs/pr/3", "org/none@refs/pr/3 is no folder"),
    ("/no/such/folder", "is no folder and no hub id"),
    ("name", "is no folder and no hub id"),
    ("../model", "is no folder and no hub id"),
    ("org/name@", "is no folder and no hub id"),
])
def test_a_model_that_cannot_be_had_is_one_sentence(cache: Path, model: str, sentence: str) -> None:
    with pytest.raises(SpectrumError, match=sentence) as caught:
        audio.load(section(model), "cpu")
    assert str(caught.value).startswith(KEY) and "\n" not in str(caught.value)


def test_a_folder_that_lacks_files_says_which(ast: Path, tmp_path: Path) -> None:
    (ast / "preprocessor_config.json").unlink()
    with pytest.raises(SpectrumError, match=r"ast lacks preprocessor_config\.json; save the model"):
        audio.load(section(str(ast)), "cpu")
    (ast / "model.safetensors").rename(ast / "pytorch_model.bin")
    with pytest.raises(SpectrumError, match=r"lacks model\.safetensors or .*its \.bin is a pickle"):
        folder_of(str(ast), KEY, (CONFIG, WEIGHTS))
    with pytest.raises(SpectrumError, match=r"lacks tokenizer\.json or vocab\.txt"):
        folder_of(str(ast), KEY, (TOKENIZER,))


def test_an_incomplete_cache_does_not_count(ast: Path, cache: Path) -> None:
    snapshot = tiny_models.in_cache(cache, "org/tiny", ast)
    (snapshot / "model.safetensors").unlink()
    with pytest.raises(SpectrumError, match="not all in the cache"):
        folder_of("org/tiny", KEY, WANTED)


def online(monkeypatch: pytest.MonkeyPatch, download: Any) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(weights, "_answers", lambda server: True)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)


def test_what_the_cache_lacks_is_downloaded_without_pickles_and_code(
        ast: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str | None]] = []

    def download(repository: str, revision: str | None, allow_patterns: list[str], ignore_patterns: list[str]) -> str:
        asked.append((repository, revision))
        files = ["config.json", "model.safetensors", "model-00001-of-00002.safetensors", "preprocessor_config.json",
                 "vocab.txt", "pytorch_model.bin", "modeling.py", "onnx/config.json", "tf_model.h5"]
        kept = list(huggingface_hub.utils.filter_repo_objects(
            files, allow_patterns=allow_patterns, ignore_patterns=ignore_patterns))
        assert kept == files[:5]
        return str(ast)

    online(monkeypatch, download)
    assert folder_of("org/tiny", KEY, WANTED) == ast
    assert folder_of("org/tiny@refs/pr/2", KEY, WANTED) == ast
    assert asked == [("org/tiny", None), ("org/tiny", "refs/pr/2")]
    (ast / "model.safetensors").unlink()
    with pytest.raises(SpectrumError, match=r"the hub's org/tiny has no model\.safetensors or .*org/tiny@refs/pr"):
        folder_of("org/tiny", KEY, WANTED)


def test_a_download_that_fails_is_one_sentence(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(*arguments: object, **more: object) -> str:
        raise OSError("404\nnot found")

    online(monkeypatch, download)
    with pytest.raises(SpectrumError, match=r"org/none cannot be downloaded \(404 not found\)"):
        folder_of("org/none", KEY, WANTED)


def test_a_server_is_asked_and_any_answer_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    import ssl
    from urllib.error import HTTPError, URLError

    class Closed:
        def close(self) -> None:
            pass

    outcomes: dict[bool, list[Any]] = {
        True: [Closed(), HTTPError("a", 403, "no", None, None), URLError(ssl.SSLError("certificate"))],  # type: ignore
        False: [URLError(OSError("refused")), TimeoutError()],
    }
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for answers, cases in outcomes.items():
        for case in cases:
            def urlopen(request: Any, timeout: float, case: Any = case) -> Any:
                assert (request.full_url, request.get_method()) == ("https://hub.test/x", "HEAD")
                if isinstance(case, Exception):
                    raise case
                return case

            monkeypatch.setattr(weights, "urlopen", urlopen)
            assert (weights._out_of_reach("https://hub.test/x") == "") is answers


def test_a_server_that_never_answers_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    never = threading.Event()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(weights, "_PATIENCE", 0.05)
    monkeypatch.setattr(weights, "_answers", lambda server: never.wait(60))
    assert weights._out_of_reach("https://hub.test") == "hub.test cannot be reached"
    never.set()


@pytest.mark.parametrize("offline", ["1", "0"])
def test_pretrained_clip_without_network_is_one_line_and_no_traceback(tmp_path: Path, offline: str) -> None:
    """The stage itself, with an empty cache. A hub that no name server knows stands for no network."""
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HOME": str(tmp_path), "HF_HUB_OFFLINE": offline,
                   "HF_ENDPOINT": "https://hub.invalid"}
    done = subprocess.run(
        [sys.executable, "-m", "stages.encoder", "encoders.appearance.model=ViT-B-16",
         "encoders.appearance.weights=openai", f"dataset=none-{os.getpid()}"],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1 and done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ViT-B-16 with weights openai: timm/vit_base_patch16_clip_224.openai/ is not in the")
    assert ("hub.invalid cannot be reached" if offline == "0" else "offline switch") in line
    assert line.endswith("or give ViT-B-16-quickgelu with its file in encoders.appearance.weights")


def test_a_network_that_lacks_is_noticed_before_torch_is_imported(tmp_path: Path) -> None:
    """Importing open_clip takes seconds; to read its table of tags does not, and leaves no module behind."""
    code = """if True:
        import sys, warnings
        from pipeline.encoders import pretrained_tags as tags
        from pipeline.common.errors import SpectrumError
        from pipeline.params import AppearanceEncoder
        for model, weights, named in (("ViT-B-16", "openai", "timm/vit_base_patch16_clip_224.openai/"),
                                     ("hf-hub:org/clip", "own", "org/clip"), ("hf-hub:", "own", "no hub id"),
                                     ("ViT-B-16", "no-tag", ""), ("no-model", "openai", ""), ("RN50", "random", ""),
                                     ("local-dir:/nowhere", "own", "")):
            try:
                tags.check(AppearanceEncoder(name="a", model=model, weights=weights, num_frames=2))
                message = ""
            except SpectrumError as error:
                message = str(error)
            assert named in message and bool(named) == bool(message), (model, weights, message)
        assert not {name.split(".")[0] for name in sys.modules} & {"torch", "open_clip", "safetensors"}
        from pipeline.encoders import open_clip_model
        library = open_clip_model._open_clip()
        import open_clip, safetensors.torch
        assert open_clip.create_model and library is open_clip
        """
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HOME": str(tmp_path), "HF_HUB_OFFLINE": "1",
                   "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")


TINY_CLIP = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 64, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1}}


def open_clip_repository(folder: Path) -> torch.nn.Module:
    folder.mkdir()
    tiny_models.write_json(folder / "open_clip_config.json",
                           {"model_cfg": TINY_CLIP, "preprocess_cfg": {"mean": [0.4, 0.5, 0.6]}})
    torch.manual_seed(11)
    model = open_clip.CLIP(**TINY_CLIP)
    safetensors.torch.save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    return model


def test_clip_of_a_hub_id_in_the_cache(tmp_path: Path, cache: Path) -> None:
    open_clip_repository(tmp_path / "repository")
    tiny_models.in_cache(cache, "org/tiny-clip", tmp_path / "repository")
    asked = AppearanceEncoder(name="a", model="hf-hub:org/tiny-clip", weights="own", num_frames=2)
    facts = open_clip_model.prepare(asked, tmp_path / "encoder", seed=0)
    ours = appearance.load(asked, tmp_path / "encoder", "cpu")
    theirs, transform = open_clip.create_model_from_pretrained("hf-hub:org/tiny-clip")
    theirs.eval()
    texts, frames = ["a dog", "a happy cat"], np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), np.uint8)
    with torch.inference_mode():
        wanted = theirs.encode_text(open_clip.get_tokenizer("hf-hub:org/tiny-clip")(texts), normalize=True).numpy()
        seen = theirs.encode_image(torch.stack([transform(Image.fromarray(frame)) for frame in frames])).numpy()
    assert np.abs(ours.encode_texts(texts) - wanted).max() < 1e-4
    assert np.abs(encode(ours, np.stack([ours.prepare(frame) for frame in frames])) - seen).max() < 1e-4
    assert (facts["dim"], facts["preprocess"]["mean"]) == (24, [0.4, 0.5, 0.6])


def test_a_pretrained_pair_in_the_cache(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """model/pretrained: weights that a tag names, as open_clip's client leaves them in the cache."""
    (tmp_path / "models").mkdir()
    tiny_models.write_json(tmp_path / "models" / "tagged-tiny.json", TINY_CLIP)
    open_clip.add_model_config(tmp_path / "models")
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tagged-tiny", {
        "first": open_clip.pretrained._pcfg(hf_hub="org/tagged-tiny/")})
    asked = AppearanceEncoder(name="a", model="tagged-tiny", weights="first", num_frames=2)
    with pytest.raises(SpectrumError, match="org/tagged-tiny/ is not in the cache .* offline switch"):
        open_clip_model.prepare(asked, tmp_path / "encoder", seed=0)
    model = open_clip_repository(tmp_path / "repository")
    tiny_models.in_cache(cache, "org/tagged-tiny", tmp_path / "repository")
    facts = open_clip_model.prepare(asked, tmp_path / "encoder", seed=0)
    assert (facts["sha256"], facts["untrained"]) == (weights.tensors_sha256(model), False)


def test_weights_made_with_quickgelu_are_computed_with_it(
        tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenAI's and others': of the plain model's name open_clip would warn and compute GELU."""
    (tmp_path / "models").mkdir()
    for name, config in (("quick-tiny", TINY_CLIP), ("quick-tiny-quickgelu", {**TINY_CLIP, "quick_gelu": True})):
        tiny_models.write_json(tmp_path / "models" / f"{name}.json", config)
    open_clip.add_model_config(tmp_path / "models")
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "quick-tiny", {
        "openai": open_clip.pretrained._pcfg(hf_hub="org/quick-tiny/", quick_gelu=True)})
    asked = AppearanceEncoder(name="a", model="quick-tiny", weights="openai", num_frames=2)
    with pytest.raises(SpectrumError, match="or give quick-tiny-quickgelu with its file in encoders.appearance"):
        open_clip_model.prepare(asked, tmp_path / "encoder", seed=0)
    open_clip_repository(tmp_path / "repository")
    snapshot = tiny_models.in_cache(cache, "org/quick-tiny", tmp_path / "repository")
    file = str(snapshot / "open_clip_model.safetensors")
    by_hand = open_clip.create_model("quick-tiny-quickgelu", pretrained=file).eval()
    frames = np.random.default_rng(0).integers(0, 256, (2, 3, 64, 64), np.uint8)

    def rows(model: str, weights: str) -> tuple[np.ndarray, dict[str, Any]]:
        asked = AppearanceEncoder(name="a", model=model, weights=weights, num_frames=2)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            open_clip_model.prepare(asked, tmp_path / "encoder", seed=0)
        made = appearance.load(asked, tmp_path / "encoder", "cpu")
        with torch.inference_mode():
            wanted = by_hand.encode_image(made._transform.normalise(torch.from_numpy(frames))).numpy()
        return encode(made, frames) - wanted, made.recipe

    by_tag, of_tag = rows("quick-tiny", "openai")
    assert np.abs(by_tag).max() < 1e-4
    assert np.abs(rows("quick-tiny-quickgelu", file)[0]).max() < 1e-4
    plain, of_file = rows("quick-tiny", file)
    assert np.abs(plain).max() > 1e-3                   # the same tensors, another function of the pictures
    assert of_tag["weights"] == of_file["weights"] and of_tag != of_file


def test_transformers_never_runs_code_of_a_repository(ast: Path) -> None:
    config = transformers.AutoConfig.from_pretrained(ast).to_dict()
    tiny_models.write_json(ast / "config.json", {**config, "model_type": "own", "auto_map": {"AutoConfig": "own.Own"}})
    (ast / "own.py").write_text("raise SystemExit('ran')")
    with pytest.raises(SpectrumError, match="cannot be loaded as AutoConfig"):
        audio.load(section(str(ast)), "cpu")
