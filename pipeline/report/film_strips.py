"""A few frames of each video with their times, small enough that a page of thousands of videos opens at once."""

import io
from dataclasses import dataclass
from pathlib import Path

from pipeline.media.decoder import MediaError, VideoDecoder
from pipeline.media.sampling import Uniform

_QUALITY = 55       # of WebP


@dataclass(frozen=True)
class StripSize:
    frames: int
    height: int     # pixels


def choose_size(videos: int) -> StripSize:
    """Fewer and smaller frames the more videos there are."""
    return StripSize(8, 128) if videos <= 200 else StripSize(4, 96) if videos <= 1000 else StripSize(2, 80)


def make_strip(decoder: VideoDecoder, path: Path, size: StripSize) -> list[tuple[float, bytes]]:
    """Frames spread over the video, (seconds, WebP); none where it cannot be read any more: its caption is shown all
    the same."""
    from PIL import Image

    pictures = []
    try:
        for seconds, frame in decoder.frames(path, Uniform(size.frames)):
            picture = Image.fromarray(frame)
            picture.thumbnail((2 * size.height, size.height))
            buffer = io.BytesIO()
            picture.save(buffer, "WEBP", quality=_QUALITY, method=3)
            pictures.append((seconds, buffer.getvalue()))
    except MediaError:
        return []
    return pictures
