"""A part of a video gives what the whole gives at the same times."""

from pathlib import Path

import numpy as np
import pytest
from media_factory import clip

from pipeline.media import BACKENDS, Backend
from pipeline.media.decoder import MediaError, VideoDecoder
from pipeline.media.sampling import Uniform


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
def test_a_part_is_the_whole_at_its_times(tmp_path: Path, name: str, backend: Backend) -> None:
    film = clip(tmp_path / name, 80, sound=330.0, codec="mpeg4" if name == "a.avi" else "libx264")
    with VideoDecoder(30, backend) as decoder:
        duration = decoder.probe(film).duration
        frames, sound = list(decoder.frames(film, Uniform(8))), list(decoder.sound(film, 8, 0.5, 16_000))
        with decoder.reading_part(duration / 2, duration):
            of_part, sound_of_part = list(decoder.frames(film, Uniform(4))), list(decoder.sound(film, 4, 0.5, 16_000))
        for (time, picture), (expected_time, expected) in zip(of_part, frames[4:], strict=True):
            assert time == expected_time and np.array_equal(picture, expected)
        assert [time for time, _ in sound_of_part] == pytest.approx([time for time, _ in sound[4:]], abs=0.05)
        for (_, samples), (_, expected) in zip(sound_of_part, sound[4:], strict=True):
            assert np.abs(samples).mean() == pytest.approx(np.abs(expected).mean(), rel=0.02)
        with decoder.reading_part(duration + 1, duration + 2):
            assert list(decoder.sound(film, 4, 0.5, 16_000)) == []
            with pytest.raises(MediaError, match="before the part"):
                list(decoder.frames(film, Uniform(2)))
        assert len(list(decoder.frames(film, Uniform(8)))) == 8      # and the whole again
