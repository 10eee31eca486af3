"""Windows of frames, and the video models of transformers against their own library."""

from collections.abc import Callable, Generator
from pathlib import Path

import numpy as np
import pytest
import tiny_models
import torch
import transformers
from huggingface_hub import constants
from media_factory import clip, number_of
from project import ROOT

from pipeline.common.errors import SpectrumError
from pipeline.common.files import fingerprint
from pipeline.encoders import motion
from pipeline.encoders.base import encode
from pipeline.media.decoder import DecodeStream, VideoDecoder
from pipeline.params import MotionEncoder, load
from pipeline.params.paths import Paths


def section(model: Path | str, **changes: object) -> MotionEncoder:
    return MotionEncoder(**{"kind": "transformers", "model": str(model), "num_windows": 2, "window_seconds": 0.8,
                            "batch_size": 2, **changes})


def first_token(folder: Path) -> Path:
    return tiny_models.videomae(folder, use_mean_pooling=False)


@torch.inference_mode()
def videomae_by_hand(folder: Path, inputs: torch.Tensor) -> np.ndarray:
    """What its classifier reads, just before its own norm and head."""
    model = transformers.VideoMAEForVideoClassification.from_pretrained(folder).eval()
    model.classifier = torch.nn.Identity()
    if model.fc_norm is not None:
        model.fc_norm = torch.nn.Identity()
    return model(pixel_values=inputs).logits.numpy()


@torch.inference_mode()
def timesformer_by_hand(folder: Path, inputs: torch.Tensor) -> np.ndarray:
    model = transformers.TimesformerForVideoClassification.from_pretrained(folder).eval()
    model.classifier = torch.nn.Identity()
    return model(pixel_values=inputs).logits.numpy()


@torch.inference_mode()
def xclip_by_hand(folder: Path, inputs: torch.Tensor) -> np.ndarray:
    model = transformers.XCLIPModel.from_pretrained(folder).eval()
    return model.get_video_features(pixel_values=inputs).pooler_output.numpy()


MODELS = pytest.mark.parametrize(("make", "by_hand", "frames", "dim"), [
    (tiny_models.videomae, videomae_by_hand, 4, 24), (first_token, videomae_by_hand, 4, 24),
    (tiny_models.timesformer, timesformer_by_hand, 3, 24), (tiny_models.xclip, xclip_by_hand, 5, 20)])


@MODELS
def test_a_clip_becomes_the_rows_of_the_library(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], Path],
        by_hand: Callable[[Path, torch.Tensor], np.ndarray], frames: int, dim: int) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    folder = tiny_models.in_cache(tmp_path / "hub", "org/tiny", make(tmp_path / "model"))
    encoder = motion.load(section("org/tiny", num_windows=3), "cpu")
    with VideoDecoder(30) as decoder:
        reading = encoder.read(decoder, clip(tmp_path / "a.mp4", 30, size=(160, 96)))
        items = list(reading)
    assert (len(items), reading.share, reading.reason) == (3, 1.0, "")
    assert all(item.shape == (frames, 96, 160, 3) and item.dtype == np.uint8 for _, item in items)
    prepared = np.stack([encoder.prepare(item) for _, item in items])
    rows = encode(encoder, prepared)
    assert rows.dtype == prepared.dtype == np.float32
    assert rows.shape == (3, encoder.dim) == (3, dim)
    processor = transformers.AutoImageProcessor.from_pretrained(folder)
    inputs = torch.cat([processor(list(item), return_tensors="pt")["pixel_values"] for _, item in items])
    assert prepared.shape == tuple(inputs.shape) == (3, frames, 3, 32, 32)
    assert np.abs(rows - by_hand(folder, inputs)).max() < 1e-4
    assert np.abs(rows[0] - rows[1]).max() > 1e-3
    assert np.array_equal(encode(encoder, prepared[::-1].copy()), rows[::-1])


def test_a_processor_for_single_pictures_prepares_a_window_too(tmp_path: Path) -> None:
    folder = tiny_models.xclip(tmp_path / "model")
    processor = transformers.CLIPImageProcessor(size={"shortest_edge": 36}, crop_size={"height": 32, "width": 32})
    processor.save_pretrained(folder)
    encoder = motion.load(section(folder), "cpu")
    window = np.random.default_rng(0).integers(0, 256, (5, 40, 50, 3)).astype(np.uint8)
    wanted = processor(list(window), return_tensors="np")["pixel_values"]
    assert np.abs(encoder.prepare(window) - wanted).max() < 1e-6


def test_windows_hold_the_frames_around_uniform_times(tmp_path: Path) -> None:
    encoder = motion.load(section(tiny_models.timesformer(tmp_path / "model"), window_seconds=0.9), "cpu")
    with VideoDecoder(30) as decoder:
        items = list(encoder.read(decoder, clip(tmp_path / "a.mp4", 40, fps=10, size=(160, 96))))
        short = list(encoder.read(decoder, clip(tmp_path / "b.mp4", 1, size=(160, 96))))
    # centres at 1 s and 3 s; in each window three frames 0.3 s apart, each shown for 0.1 s
    numbers = [[number_of(picture) for picture in item] for _, item in items]
    for found, centre in zip(numbers, (10, 30), strict=True):
        assert np.diff(found).tolist() == [3, 3]
        assert abs(found[1] - centre) <= 1
    assert [time for time, _ in items] == pytest.approx([one[1] / 10 for one in numbers], abs=0.01)
    assert len(short) == 2 and all((item == item[0]).all() for _, item in short)


def reading(count: int, share: float) -> DecodeStream:
    def items() -> Generator[tuple[float, np.ndarray], None, tuple[float, str]]:
        for number in range(count):
            yield float(number), np.full((2, 2, 3), number, np.uint8)
        return share, "cut off" if share < 1 else ""

    return DecodeStream(items())


def test_what_a_damaged_file_still_gave_fills_its_last_window() -> None:
    found = DecodeStream(motion.windows(reading(5, 0.6), 3))
    items = list(found)
    assert [(time, item[:, 0, 0, 0].tolist()) for time, item in items] == [(1.0, [0, 1, 2]), (3.5, [3, 4, 4])]
    assert (found.share, found.reason) == (0.6, "cut off")
    assert list(motion.windows(reading(0, 1.0), 3)) == []


def test_leaving_early_gives_the_frames_up() -> None:
    closed = []

    def items() -> Generator[tuple[float, np.ndarray], None, tuple[float, str]]:
        try:
            while True:
                yield 0.0, np.zeros((2, 2, 3), np.uint8)
        finally:
            closed.append(True)

    windows = DecodeStream(motion.windows(DecodeStream(items()), 2))
    next(windows)
    windows.close()
    assert closed == [True]


def test_recipe(tmp_path: Path) -> None:
    folder = tiny_models.videomae(tmp_path / "model")

    def recipe(**changes: object) -> str:
        return fingerprint(motion.load(section(folder, **changes), "cpu").recipe)

    assert recipe() == recipe(batch_size=3, name="other")
    assert recipe() != recipe(num_windows=3)
    assert motion.load(section(folder), "cpu").recipe["precision"] == "float32"
    assert recipe() != recipe(window_seconds=0.5)
    made = motion.load(section(folder), "cpu").recipe
    assert made["sampling"]["frames"] == 4
    assert str(tmp_path) not in str(made)


def test_no_motion(tmp_path: Path) -> None:
    encoder = motion.load(MotionEncoder(), "cpu")
    with VideoDecoder(30) as decoder:
        assert list(encoder.read(decoder, clip(tmp_path / "a.mp4", 5))) == []
    assert (encoder.name, encoder.modality, encoder.recipe) == ("motion", "motion", {"kind": "none"})
    assert encode(encoder, encoder.prepare(np.zeros((0, 1)))).shape == (0, encoder.dim)
    with pytest.raises(SpectrumError, match="type 'clap', expected one of timesformer, videomae, xclip"):
        motion.load(section(tiny_models.clap(tmp_path / "model", fusion=False)), "cpu")


@pytest.mark.parametrize(("overrides", "sentence"), [
    (["encoders.motion.kind=transformers"], "encoders.motion: kind transformers needs a model"),
    (["encoders.audio.kind=transformers"], "encoders.audio: kind transformers needs a model"),
    (["encoders.motion.name=logmel"], "encoders.audio.name and encoders.motion.name are the same"),
    (["encoders.motion.window_seconds=0"], "encoders.motion.window_seconds"),
])
def test_parameters_that_do_not_fit(overrides: list[str], sentence: str) -> None:
    with pytest.raises(SpectrumError, match=sentence):
        load(overrides, ROOT / "params.yaml")


def test_the_store_of_motion_has_a_folder_of_its_own() -> None:
    params = load(["encoders.motion.name=moves"], ROOT / "params.yaml")
    assert Paths.of(params).motion == Path("features/sample/moves")
