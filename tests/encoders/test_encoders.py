import json
import pickle
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import safetensors.torch
import torch
from media_factory import clip, picture
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from pipeline.common.errors import SpectrumError
from pipeline.common.files import fingerprint, read_json
from pipeline.encoders import appearance, open_clip_model
from pipeline.encoders import torchvision_compat as compat
from pipeline.encoders.base import encode, on_device
from pipeline.encoders.image_transform import ImageTransform
from pipeline.encoders.weights import tensors_sha256
from pipeline.media.decoder import VideoDecoder
from pipeline.params import AppearanceEncoder

MODEL = "test-tiny"


@pytest.fixture(scope="module", autouse=True)
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("models")
    (folder / f"{MODEL}.json").write_text(json.dumps({
        "embed_dim": 32,
        "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
    }))
    open_clip.add_model_config(folder)


def section(**changes: Any) -> AppearanceEncoder:
    return AppearanceEncoder(**{"name": "tiny", "model": MODEL, "weights": "random", "num_frames": 4, "batch_size": 8,
                                **changes})


def pictures(count: int, size: int = 64) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, 3, size, size), np.uint8)


@pytest.fixture
def tiny(tmp_path: Path) -> appearance.OpenClipEncoder:
    open_clip_model.prepare(section(), tmp_path / "encoder", seed=3)
    return appearance.load(section(), tmp_path / "encoder", "cpu")


def test_random_weights_say_so_and_follow_their_seed(tmp_path: Path) -> None:
    facts = open_clip_model.prepare(section(), tmp_path / "a", seed=3)
    assert facts == read_json(tmp_path / "a" / "encoder.json")
    assert (facts["untrained"], facts["seed"], facts["dim"]) == (True, 3, 32)
    assert open_clip_model.prepare(section(), tmp_path / "b", seed=4)["sha256"] != facts["sha256"]
    assert open_clip_model.prepare(section(), tmp_path / "c", seed=3)["sha256"] == facts["sha256"]
    state = torch.random.get_rng_state()
    open_clip_model.prepare(section(), tmp_path / "d", seed=3)
    assert torch.equal(state, torch.random.get_rng_state())


def test_rows_equal_open_clip_by_hand(tmp_path: Path) -> None:
    model = open_clip.create_model(MODEL)
    facts = open_clip_model.save_trained(MODEL, model, tmp_path, {"epochs": 1})
    assert (facts["weights"], facts["untrained"], facts["training"]) == ("train", False, {"epochs": 1})
    ours = appearance.load(section(weights="train"), tmp_path, "cpu")
    theirs, _, transform = open_clip.create_model_and_transforms(
        MODEL, pretrained=str(tmp_path / "model.safetensors"))
    theirs.eval()
    noise = np.random.default_rng(0).integers(0, 256, (480, 854, 3), np.uint8)
    images = [noise, *(picture(number, 200, 120) for number in range(5)), noise[:64, :64], noise[:70, :40]]
    found = encode(ours, np.stack([ours.prepare(image) for image in images]))
    prepared = torch.stack([transform(Image.fromarray(image)) for image in images])
    with torch.no_grad():
        wanted = theirs.encode_image(prepared).numpy()
    assert found.dtype == np.float32
    cosine = (found * wanted).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(wanted, axis=1)
    assert cosine.min() >= 0.999
    assert np.allclose(found[6], wanted[6], atol=1e-6)      # of the model's size already: nothing is resized
    assert np.linalg.norm(found, axis=1).max() != pytest.approx(1.0, abs=1e-3)      # not normalised
    resized = torch.from_numpy(np.stack([ours.prepare(image) for image in images]))
    steps = (ours._transform.normalise(resized) - prepared).abs()
    assert steps.mean() < 0.1 / 255 / 0.26      # of a grey level


@pytest.mark.parametrize("mode", [{"resize_mode": "squash"}, {"resize_mode": "longest", "fill_color": 7},
                                  {"resize_mode": "shortest", "interpolation": "bilinear"},
                                  {"resize_mode": "shortest", "size": [48, 48]}])
def test_every_way_of_fitting_a_frame_is_open_clips(mode: dict[str, Any]) -> None:
    parameters = {"size": 64, "mean": (0.5,) * 3, "std": (0.25,) * 3, **mode}
    ours = ImageTransform(parameters, "cpu")
    transform = image_transform_v2(PreprocessCfg(**parameters), is_train=False)
    for size in ((200, 120), (90, 300), (64, 64)):
        image = picture(37, *size)
        found = ours.normalise(torch.from_numpy(ours.resize(image)[None].copy()))[0]
        levels = (found - transform(Image.fromarray(image))).abs() * 0.25 * 255
        assert levels.mean() < 0.1
        assert levels.max() < 16        # at edges from black to white bicubic overshoots, and the two clip elsewhere


def test_a_row_does_not_depend_on_its_position_its_neighbours_or_threads(tiny: appearance.OpenClipEncoder) -> None:
    """What extraction relies on for equal bytes: batches of one shape, whatever else is in them."""
    batch = pictures(8)
    rows = encode(tiny, batch)
    order = np.random.default_rng(1).permutation(8)
    assert np.array_equal(encode(tiny, batch[order]), rows[order])
    batch[3:] = 0
    assert np.array_equal(encode(tiny, batch)[:3], rows[:3])
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            assert np.array_equal(encode(tiny, batch)[:3], rows[:3])
    finally:
        torch.set_num_threads(before)


def test_nor_in_a_model_of_full_width() -> None:
    """A layer as wide as ViT-B-32's: its products are cut into blocks, by shape and by threads."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = open_clip.model.CLIP(512, {"image_size": 224, "layers": 1, "width": 768, "patch_size": 32},
                                     {"layers": 1, "width": 64, "heads": 1, "vocab_size": 99}).eval()
    batch = torch.from_numpy(pictures(32, 224)).float() / 255
    order, before = torch.randperm(32, generator=torch.Generator().manual_seed(0)), torch.get_num_threads()
    try:
        with torch.inference_mode():
            torch.set_num_threads(1)
            rows = model.encode_image(batch)
            for threads in (1, 2, 3):
                torch.set_num_threads(threads)
                assert torch.equal(model.encode_image(batch[order]), rows[order])
    finally:
        torch.set_num_threads(before)


def test_frames_a_second_in_place_of_a_number(tmp_path: Path) -> None:
    open_clip_model.prepare(section(), tmp_path / "encoder", seed=3)
    encoder = appearance.load(section(fps=2.0), tmp_path / "encoder", "cpu")
    assert encoder.recipe["sampling"] == {"times": "rate", "per_second": 2.0}
    with VideoDecoder(30) as decoder:
        items = list(encoder.read(decoder, clip(tmp_path / "a.mp4", 30)))       # 3 seconds
    assert [moment for moment, _ in items] == pytest.approx([0.2, 0.7, 1.2, 1.7, 2.2, 2.7])


def test_the_device_is_found_where_the_encoder_is_made(tmp_path: Path) -> None:
    open_clip_model.prepare(section(), tmp_path / "encoder", seed=3)
    build = partial(on_device, appearance.load, "auto", section(), tmp_path / "encoder")
    encoder = pickle.loads(pickle.dumps(build))()       # noqa: S301  it goes to a worker
    assert encoder.device == ("cuda" if torch.cuda.is_available() else "cpu")


def test_texts_become_unit_rows_whatever_the_others(tiny: appearance.OpenClipEncoder) -> None:
    texts = ["a happy dog", "a sad cat", "rain " * 100, "Ünïcode 🎬", ""]
    rows = tiny.encode_texts(texts)
    assert rows.shape == (5, 32)
    assert rows.dtype == np.float32
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-5)
    more = [*(f"dog number {number}" * (number % 3) for number in range(70)), *texts[::-1]]
    assert np.array_equal(tiny.encode_texts(more)[:-6:-1], rows)
    assert all(np.array_equal(tiny.encode_texts([text])[0], row) for text, row in zip(texts, rows, strict=True))
    assert tiny.encode_texts([]).shape == (0, 32)


def test_texts_are_encoded_as_open_clip_does_on_the_whole_context(tiny: appearance.OpenClipEncoder) -> None:
    texts = ["a dog", "", "a very long day in the rain that is followed by another one", "rain " * 100]
    tokens = open_clip.get_tokenizer(MODEL)(texts)
    with torch.inference_mode():
        by_hand = tiny.model.encode_text(tokens, normalize=True).numpy()
    assert np.allclose(tiny.encode_texts(texts[:2]), by_hand[:2], atol=1e-5)
    assert np.allclose(tiny.encode_texts(texts), by_hand, atol=1e-5)


def test_the_recipe_is_of_what_decides_the_values(tmp_path: Path) -> None:
    open_clip_model.prepare(section(), tmp_path, seed=3)

    def recipe(**changes: Any) -> str:
        return fingerprint(appearance.load(section(**changes), tmp_path, "cpu").recipe)

    assert recipe() == recipe(batch_size=16, name="other")
    assert recipe() != recipe(num_frames=5)
    assert appearance.load(section(), tmp_path, "cpu").recipe["precision"] == "float32"
    text = json.dumps(appearance.load(section(), tmp_path, "cpu").recipe)
    for part in ("bicubic", "libavcodec", '"untrained": true', '"frames": 4', "float16"):
        assert part in text
    assert str(tmp_path) not in text


@pytest.mark.parametrize("suffix", ["safetensors", "pt"])
def test_a_file_of_weights(tmp_path: Path, suffix: str) -> None:
    torch.manual_seed(5)
    tensors = open_clip.create_model(MODEL).state_dict()
    file = tmp_path / f"weights.{suffix}"
    if suffix == "pt":
        torch.save({"state_dict": tensors}, file)
    else:
        safetensors.torch.save_file(tensors, file)
    facts = open_clip_model.prepare(section(weights=str(file)), tmp_path / "encoder", seed=0)
    loaded = appearance.load(section(weights=str(file)), tmp_path / "encoder", "cpu")
    assert (facts["untrained"], loaded.recipe["weights"]) == (False, facts["sha256"])


def test_two_formats_of_the_same_weights_are_one_recipe(tmp_path: Path) -> None:
    model = open_clip.create_model(MODEL)
    torch.save(model.state_dict(), tmp_path / "w.pt")
    safetensors.torch.save_file(model.state_dict(), tmp_path / "w.safetensors")
    one, two = (open_clip_model.prepare(section(weights=str(tmp_path / name)), tmp_path / name[-2:], seed=0)["sha256"]
                for name in ("w.pt", "w.safetensors"))
    assert one == two


class Evil:
    def __init__(self, flag: Path) -> None:
        self.flag = flag

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.flag,))


def test_a_file_that_runs_code_when_unpickled_is_refused(tmp_path: Path) -> None:
    torch.save({"state_dict": Evil(tmp_path / "ran")}, tmp_path / "evil.pt")
    with pytest.raises(SpectrumError, match="cannot be loaded"):
        open_clip_model.prepare(section(weights=str(tmp_path / "evil.pt")), tmp_path / "encoder", seed=0)
    assert not (tmp_path / "ran").exists()


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    (tmp_path / "noise.pt").write_bytes(b"no weights\n" * 9)
    safetensors.torch.save_file({"a": torch.zeros(2)}, tmp_path / "other.safetensors")
    for name in ("noise.pt", "other.safetensors"):
        with pytest.raises(SpectrumError, match=f"{name}: they cannot be loaded"):
            open_clip_model.prepare(section(weights=str(tmp_path / name)), tmp_path / "encoder", seed=0)
    assert not (tmp_path / "encoder").exists()


@pytest.mark.parametrize(("changes", "sentence"), [
    ({"model": "ViT-B-32", "weights": "openai"}, "not in the cache .* offline switch"),
    ({"model": "RN50", "weights": "openai"}, "not in the cache"),
    ({"model": "hf-hub:timm/no-such-model", "weights": "own"}, "not in the cache"),
    ({"model": "ViT-B-32", "weights": "no-tag"}, "no file and no pretrained tag of ViT-B-32 .*laion"),
    ({"model": "no-model"}, "open_clip has no model 'no-model'"),
    ({"model": "local-dir:/no/such/folder", "weights": "own"}, "cannot be loaded"),
    ({"weights": "own"}, "do not go with model"),
    ({"model": "hf-hub:timm/model"}, "do not go with model"),
])
def test_weights_that_cannot_be_had_are_one_quick_sentence(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, str], sentence: str) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    began = time.monotonic()
    with pytest.raises(SpectrumError, match=sentence) as caught:
        open_clip_model.prepare(section(**changes), tmp_path / "encoder", seed=0)
    assert time.monotonic() - began < 5
    assert "\n" not in str(caught.value)


def test_a_server_out_of_reach_is_reported_soon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "https://hub.invalid")
    with pytest.raises(SpectrumError, match=r"hub\.invalid cannot be reached"):
        open_clip_model.prepare(section(model="ViT-B-32", weights="openai"), tmp_path / "encoder", seed=0)


def test_a_folder_of_open_clip(tmp_path: Path) -> None:
    model = open_clip.create_model(MODEL)
    config = {"model_cfg": open_clip.get_model_config(MODEL), "preprocess_cfg": {"mean": [0.5] * 3}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    name = f"local-dir:{tmp_path}"
    with pytest.raises(SpectrumError, match="cannot be loaded"):        # no weights in it
        open_clip_model.prepare(section(model=name, weights="own"), tmp_path / "encoder", seed=0)
    safetensors.torch.save_file(model.state_dict(), tmp_path / "open_clip_model.safetensors")
    facts = open_clip_model.prepare(section(model=name, weights="own"), tmp_path / "encoder", seed=0)
    assert facts["preprocess"]["mean"] == [0.5] * 3
    loaded = appearance.load(section(model=name, weights="own"), tmp_path / "encoder", "cpu")
    assert loaded.encode_texts(["a dog"]).shape == (1, 32)


def test_a_folder_of_other_parameters_or_changed_weights_is_refused(tmp_path: Path) -> None:
    open_clip_model.save_trained(MODEL, open_clip.create_model(MODEL), tmp_path, {})
    with pytest.raises(SpectrumError, match="parameters ask for test-tiny with random"):
        appearance.load(section(), tmp_path, "cpu")
    tensors = safetensors.torch.load_file(tmp_path / "model.safetensors")
    tensors["logit_scale"] += 1
    safetensors.torch.save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(SpectrumError, match="weights have changed"):
        appearance.load(section(weights="train"), tmp_path, "cpu")


def test_create_gives_a_model_to_train() -> None:
    model, tokenizer, size = open_clip_model.create(MODEL, seed=1)
    assert size == 64
    assert tokenizer(["a dog"]).shape == (1, 16)
    again, _, _ = open_clip_model.create(MODEL, seed=1)
    assert tensors_sha256(model) == tensors_sha256(again)


def test_torchvision_can_be_imported_in_a_fresh_process() -> None:
    code = ("import sys\nfrom pipeline.encoders import torchvision_compat as compat\n"
            "compat.install()\ncompat.install()\n"
            "assert 'torch' not in sys.modules\nimport torchvision, open_clip\n"
            "assert not any(type(f).__name__ == '_BeforeTorchvision' for f in sys.meta_path)\ncompat.install()\n"
            "assert not any(type(f).__name__ == '_BeforeTorchvision' for f in sys.meta_path)\n")
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_a_torchvision_whose_operators_load_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.ops, "load_library", lambda path: None)
    before = list(compat._declared)
    compat._declare("torchvision/_C.so")
    assert compat._declared == before
