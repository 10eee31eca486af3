"""Sound: the statistics that need no model, and the audio models of transformers against their own library."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_models
import torch
import transformers
from huggingface_hub import constants
from media_factory import clip

from pipeline.common.errors import SpectrumError
from pipeline.common.files import fingerprint
from pipeline.encoders import audio
from pipeline.encoders.base import encode
from pipeline.media.decoder import VideoDecoder
from pipeline.params import AudioEncoder


def tone(frequency: float, seconds: float = 0.96, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * frequency * np.arange(round(seconds * audio.RATE)) / audio.RATE)).astype(
        np.float32)


def log_mel(**changes: Any) -> audio.LogMelEncoder:
    return audio.LogMelEncoder(AudioEncoder(**{"name": "a", "kind": "logmel", "num_windows": 3, "window_seconds": 0.5,
                                        **changes}))


def test_log_mel_tells_pitch_loudness_and_movement() -> None:
    encoder = log_mel()
    mean = {f: encoder.prepare(tone(f))[:64] for f in (220, 880, 3520)}
    assert np.argmax(mean[220]) < np.argmax(mean[880]) < np.argmax(mean[3520])
    quiet = encoder.prepare(tone(880, level=0.005))
    # A hundredth of the amplitude is ln(10^4) = 9.21 less in the logarithm of power, 9.21 / 5 in the row.
    assert mean[880].max() - quiet[:64].max() == pytest.approx(9.21 / 5, abs=0.01)
    beating = tone(880) * (np.arange(15_360) // 1600 % 2)
    assert encoder.prepare(beating)[64:].mean() > 5 * encoder.prepare(tone(880))[64:].mean()


@pytest.mark.parametrize("samples", [1, 399, 400, 401, 16_000])
def test_log_mel_of_any_length_is_finite_and_of_sane_size(samples: int) -> None:
    for wave in (np.zeros(samples, np.float32), np.ones(samples, np.float32),
                 np.random.default_rng(0).uniform(-1, 1, samples).astype(np.float32)):
        row = log_mel().prepare(wave)
        assert row.shape == (128,)
        assert row.dtype == np.float32
        assert np.abs(row).max() < 5


def test_every_mel_band_has_a_response() -> None:
    filters = audio.mel_filters()
    assert filters.shape == (64, 257)
    assert (filters.sum(1) > 0.5).all()
    assert (np.diff(filters.argmax(1)) >= 0).all()


def test_log_mel_reads_sound(tmp_path: Path) -> None:
    encoder = log_mel()
    with VideoDecoder(30) as decoder:
        items = list(encoder.read(decoder, clip(tmp_path / "a.mp4", 10, sound=880.0)))
        assert [item.shape for _, item in items] == [(8000,)] * 3
        assert list(encoder.read(decoder, clip(tmp_path / "b.mp4", 10))) == []
    rows = encode(encoder, np.stack([encoder.prepare(item) for _, item in items]))
    assert rows.shape == (3, 128)
    assert encoder.recipe != log_mel(num_windows=4).recipe


def test_no_sound_at_all_is_an_encoder_too(tmp_path: Path) -> None:
    encoder = audio.load(AudioEncoder(name="a", kind="none", num_windows=3, window_seconds=0.5), "cpu")
    with VideoDecoder(30) as decoder:
        assert list(encoder.read(decoder, clip(tmp_path / "a.mp4", 5, sound=440.0))) == []
    assert encoder.recipe == {"kind": "none"}
    assert isinstance(audio.load(log_mel_section(), "cpu"), audio.LogMelEncoder)


def log_mel_section() -> AudioEncoder:
    return AudioEncoder(name="a", kind="logmel", num_windows=3, window_seconds=0.5)


def sound_section(model: Path | str, **changes: object) -> AudioEncoder:
    return AudioEncoder(**{"name": "sound", "kind": "transformers", "model": str(model), "num_windows": 3,
                           "window_seconds": 0.9, "batch_size": 4, **changes})


def fused(folder: Path) -> Path:
    return tiny_models.clap(folder, fusion=True)


def unfused(folder: Path) -> Path:
    return tiny_models.clap(folder, fusion=False)


@torch.inference_mode()
def clap_by_hand(folder: Path, waves: np.ndarray) -> np.ndarray:
    model = transformers.ClapModel.from_pretrained(folder).eval()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    rows = []
    for wave in waves:      # one by one: in a batch the library tells a window of its choice to be longer
        inputs = extractor(wave, sampling_rate=16_000, return_tensors="pt")
        rows.append(model.get_audio_features(**inputs).pooler_output[0].numpy())
    return np.stack(rows)


@torch.inference_mode()
def ast_by_hand(folder: Path, waves: np.ndarray) -> np.ndarray:
    model = transformers.ASTModel.from_pretrained(folder).eval()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    inputs = extractor(list(waves), sampling_rate=16_000, return_tensors="pt")
    return model(**inputs).pooler_output.numpy()


MODELS = pytest.mark.parametrize(("make", "by_hand", "dim"), [
    (fused, clap_by_hand, 12), (unfused, clap_by_hand, 12), (tiny_models.ast, ast_by_hand, 24)])


@MODELS
def test_rows_equal_the_library_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], Path],
                                        by_hand: Callable[[Path, np.ndarray], np.ndarray], dim: int) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    folder = tiny_models.in_cache(tmp_path / "hub", "org/tiny", make(tmp_path / "model"))
    encoder = audio.load(sound_section("org/tiny"), "cpu")
    waves = np.random.default_rng(0).uniform(-1, 1, (5, 14_400)).astype(np.float32)
    waves[1] *= 0.01
    waves[2] = 0
    prepared = np.stack([encoder.prepare(wave) for wave in waves])
    rows = encode(encoder, prepared)
    assert prepared.dtype == rows.dtype == np.float32
    assert rows.shape == (5, encoder.dim) == (5, dim)
    assert np.abs(rows - by_hand(folder, waves)).max() < 1e-4
    assert np.abs(rows[0] - rows[1]).max() > 1e-3
    assert np.array_equal(encode(encoder, prepared[::-1].copy()), rows[::-1])       # the batch changes nothing


@MODELS
def test_a_clip_with_sound_becomes_rows(tmp_path: Path, make: Callable[[Path], Path],
                                        by_hand: Callable[[Path, np.ndarray], np.ndarray], dim: int) -> None:
    encoder = audio.load(sound_section(make(tmp_path / "model")), "cpu")
    with VideoDecoder(30) as decoder:
        reading = encoder.read(decoder, clip(tmp_path / "a.mp4", 30, sound=880.0))
        items = list(reading)
        assert list(encoder.read(decoder, clip(tmp_path / "b.mp4", 10))) == []
    assert (len(items), reading.share) == (3, 1.0)
    waves = np.stack([item for _, item in items])
    rows = encode(encoder, np.stack([encoder.prepare(item) for item in waves]))
    assert np.abs(rows - by_hand(tmp_path / "model", waves)).max() < 1e-4


def test_the_extractor_decides_the_rate_and_the_longest_window(tmp_path: Path) -> None:
    folder = tiny_models.clap(tmp_path / "model", fusion=False)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    extractor.sampling_rate = 48_000
    extractor.save_pretrained(folder)
    with VideoDecoder(30) as decoder:
        encoder = audio.load(sound_section(folder, window_seconds=0.5), "cpu")
        path = clip(tmp_path / "a.mp4", 10, sound=880.0)
        assert {item.shape for _, item in encoder.read(decoder, path)} == {(24_000,)}
    assert encoder.recipe["rate"] == 48_000
    for model, seconds in ((tiny_models.clap(tmp_path / "clap", fusion=True), 2.0),
                           (tiny_models.ast(tmp_path / "ast"), 1.28)):
        audio.load(sound_section(model, window_seconds=seconds), "cpu")
        with pytest.raises(SpectrumError, match=f"takes {seconds:g} s at a time"):
            audio.load(sound_section(model, window_seconds=seconds + 0.01), "cpu")


def test_the_recipe_is_of_what_decides_the_rows(tmp_path: Path) -> None:
    folder = tiny_models.ast(tmp_path / "model")

    def recipe(**changes: object) -> str:
        return fingerprint(audio.load(sound_section(folder, **changes), "cpu").recipe)

    first = recipe()
    assert first == recipe(batch_size=7, name="other")
    assert first != recipe(num_windows=4) and first != recipe(window_seconds=0.5)
    assert str(tmp_path) not in str(audio.load(sound_section(folder), "cpu").recipe)
    extractor = transformers.AutoFeatureExtractor.from_pretrained(folder)
    extractor.mean = 0.0
    extractor.save_pretrained(folder)
    changed = recipe()
    assert changed != first
    model = transformers.ASTModel.from_pretrained(folder)
    model.layernorm.bias.data += 1
    model.save_pretrained(folder)
    assert recipe() != changed


def test_other_models_and_parts_of_models_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpectrumError, match="type 'timesformer', expected one of audio-spectrogram-transformer, clap"):
        audio.load(sound_section(tiny_models.timesformer(tmp_path / "video")), "cpu")
    folder = tiny_models.ast(tmp_path / "ast")
    tiny_models.without_tensor(folder, "audio_spectrogram_transformer.layernorm.weight")
    with pytest.raises(SpectrumError, match=r"lacks 1 tensors of ASTModel.*layernorm\.weight"):
        audio.load(sound_section(folder), "cpu")
    (folder / "model.safetensors").write_bytes(b"no weights")
    with pytest.raises(SpectrumError, match="cannot be loaded as ASTModel") as caught:
        audio.load(sound_section(folder), "cpu")
    assert "\n" not in str(caught.value)


def test_transformers_is_not_imported_where_it_is_not_needed() -> None:
    code = ("import sys\nfrom pipeline.encoders import audio, motion\nfrom pipeline import params\n"
            "audio.load(params.AudioEncoder(name='a', kind='logmel', num_windows=1, window_seconds=1), 'cpu')\n"
            "motion.load(params.MotionEncoder(), 'cpu')\n"
            "assert 'transformers' not in sys.modules and 'torch' not in sys.modules")
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
