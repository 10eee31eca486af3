"""A few frames of each shown video, as JPEG."""

import io
from pathlib import Path

from pipeline.media.decoder import MediaError, VideoDecoder
from pipeline.media.sampling import Uniform

FRAMES = 4
HEIGHT = 128    # pixels


def make_strip(decoder: VideoDecoder, path: Path) -> list[bytes]:
    """Frames spread over the video; none where it cannot be read any more: its caption is shown all the same."""
    from PIL import Image

    pictures = []
    try:
        for _, frame in decoder.frames(path, Uniform(FRAMES)):
            picture = Image.fromarray(frame)
            picture.thumbnail((4 * HEIGHT, HEIGHT))
            buffer = io.BytesIO()
            picture.save(buffer, "JPEG", quality=80)
            pictures.append(buffer.getvalue())
    except MediaError:
        return []
    return pictures
