"""Small real video files for the tests: H.264 or MPEG-4 pictures that tell their own number, AAC or MP3 tones."""

import subprocess
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import imageio_ffmpeg
import numpy as np
from numpy.typing import NDArray

BITS = 8            # of a picture's number, as black and white blocks in its upper half
RATE = 44_100


def picture(number: int, width: int = 128, height: int = 96) -> NDArray[np.uint8]:
    """Upper half: the number in blocks, the lowest bit left. Lower half: a colour that depends on it."""
    image = np.empty((height, width, 3), np.uint8)
    image[:] = ((37 * number) % 256, (91 * number + 60) % 256, (151 * number + 120) % 256)
    for bit in range(BITS):
        image[:height // 2, bit * width // BITS:(bit + 1) * width // BITS] = 255 * (number >> bit & 1)
    return image


def number_of(image: NDArray[np.uint8]) -> int:
    """Which `picture` an upright decoded image is."""
    height, width, _ = image.shape
    row = image[height // 4].mean(-1)
    return sum(int(row[(2 * bit + 1) * width // (2 * BITS)] > 127) << bit for bit in range(BITS))


def clip(path: Path, frames: int | Sequence[int] = 30, *, fps: int = 10, sound: float | None = None,
         size: tuple[int, int] = (128, 96), codec: str = "libx264", first: int = 0, hold: int = 1,
         format: str | None = None, options: dict[str, str] | None = None) -> Path:
    """Writes a clip of `frames` pictures, or with a picture at each of the times given in milliseconds.

    sound: the frequency of a tone in Hz as long as the pictures, or None for no sound track. first: the first
    picture's number. hold: how many frames show a picture before the next does. The container follows from the path's
    suffix unless `format` names it.
    """
    times = [round(1000 * i / fps) for i in range(frames)] if isinstance(frames, int) else list(frames)
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(f"file:{path}", "w", format=format, options=options or {}) as container:
        # MPEG-4 and AVI want the frame rate for a clock, the others take milliseconds.
        clock = Fraction(1, fps) if codec == "mpeg4" else Fraction(1, 1000)
        video = container.add_stream(codec, rate=fps)
        video.width, video.height = size
        video.pix_fmt, video.time_base = "yuv420p", clock
        video.codec_context.time_base = clock
        if codec == "libx264":
            video.options = {"bf": "2", "g": "12", "crf": "18", "preset": "veryfast"}
        audio = container.add_stream("libmp3lame" if path.suffix == ".avi" else "aac", rate=RATE) if sound else None
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(picture(first + number // hold, *size), format="rgb24")
            frame.pts, frame.time_base = int(Fraction(time, 1000) / clock), clock
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if audio is not None and sound:
            _tone(container, audio, sound, (times[-1] / 1000) + 1 / fps)
    return path


def _tone(container: av.container.OutputContainer, stream: av.AudioStream, frequency: float,
          seconds: float) -> None:
    samples = np.arange(round(seconds * RATE))
    wave = (0.5 * np.sin(2 * np.pi * frequency * samples / RATE)).astype(np.float32)
    for begin in range(0, len(wave), 1024):
        frame = av.AudioFrame.from_ndarray(wave[None, begin:begin + 1024], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = RATE, begin
        container.mux(stream.encode(frame))
    container.mux(stream.encode())


def sound_only(path: Path, frequency: float = 440.0, seconds: float = 2.0) -> Path:
    with av.open(f"file:{path}", "w") as container:
        _tone(container, container.add_stream("aac", rate=RATE, layout="mono"), frequency, seconds)
    return path


def damaged(path: Path, kind: str) -> Path:
    """Flips bits in every third packet of the pictures ("video") or of the sound ("audio")."""
    data = bytearray(path.read_bytes())
    with av.open(f"file:{path}") as container:
        packets = [packet for packet in container.demux() if packet.size and packet.stream.type == kind]
        places = [(packet.pos, packet.size) for packet in packets]
    for position, size in places[1::3]:
        for i in range(position + 12, position + size):
            data[i] ^= 0x5A
    path.write_bytes(data)
    return path


def ffmpeg(*arguments: str | Path) -> bytes:
    """Runs the ffmpeg program, for what PyAV cannot write; its standard output."""
    program = imageio_ffmpeg.get_ffmpeg_exe()
    return subprocess.run([program, "-v", "error", "-nostdin", "-y", *map(str, arguments)], check=True,
                          stdout=subprocess.PIPE, timeout=60).stdout
