"""Looking up videos by their ids."""

from collections.abc import Sequence

from pipeline.common.errors import SpectrumError


def find_positions(ids: Sequence[str], known: Sequence[str], what: str, advice: str) -> list[int]:
    """Where each of `ids` stands in `known`.

    Raises SpectrumError for an id that is not there: `no <what> for video …; <advice>`.
    """
    position_of = {video: position for position, video in enumerate(known)}
    missing = [video for video in ids if video not in position_of]
    if missing:
        raise SpectrumError(f"no {what} for video {missing[0]!r} ({len(missing)} such); {advice}")
    return [position_of[video] for video in ids]
