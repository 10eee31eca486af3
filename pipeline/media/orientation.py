"""How a decoded picture is turned and mirrored to stand upright, by the display matrix that cameras write."""

import math
import struct

import numpy as np
from numpy.typing import NDArray

from pipeline.media.track import Unreadable

ODD_ANGLE = ("its display matrix turns pictures by an angle that is no quarter turn; only quarter turns and mirroring "
             "are applied, so encode it upright")
_TOLERANCE = 2.0            # degrees from a quarter turn; FFmpeg warns beyond


def upright(picture: NDArray[np.uint8], matrix: bytes | None) -> NDArray[np.uint8]:
    """`picture` [H, W, 3] as FFmpeg shows it; `matrix`: nine native 32-bit integers, None: as it is.

    These are the eight ways to turn and mirror. Raises Unreadable where the matrix turns by another angle.
    """
    if matrix is None:
        return np.ascontiguousarray(picture)
    entries = struct.unpack("=9i", matrix[:36])
    turn = _clockwise(entries)
    if turn == 90:
        turned = picture.swapaxes(0, 1) if entries[3] > 0 else np.rot90(picture, -1)
    elif turn == 270:
        turned = np.rot90(picture, -1)[::-1] if entries[3] < 0 else np.rot90(picture)
    else:
        mirrored = picture[:, ::-1] if turn == 180 and entries[0] < 0 else picture
        turned = mirrored[::-1] if entries[4] < 0 else mirrored
    return np.ascontiguousarray(turned)


def swaps_sides(matrix: bytes | None) -> bool:
    """Whether the upright picture is as wide as the decoded one is high."""
    return matrix is not None and _clockwise(struct.unpack("=9i", matrix[:36])) in (90, 270)


def _clockwise(entries: tuple[int, ...]) -> int:
    """The turn in degrees: 0, 90, 180 or 270. A matrix that shrinks pictures to nothing turns nothing."""
    wide, high = math.hypot(entries[0], entries[3]), math.hypot(entries[1], entries[4])
    if not wide or not high:
        return 0
    angle = math.degrees(math.atan2(entries[1] / high, entries[0] / wide))
    turn = round(angle / 90) * 90
    if abs(angle - turn) > _TOLERANCE:
        raise Unreadable(ODD_ANGLE)
    return turn % 360
