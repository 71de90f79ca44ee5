"""When pictures were taken, as their EXIF data say, and how many were taken within seconds of another."""

import io
from collections.abc import Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from demur.data.decoding import HOSTILE, carefully
from demur.data.image_list import ImageListSource
from demur.data.source import Source

SECONDS = 2.0
"""Pictures no further apart than this are taken for parts of one burst."""

_EXIF, _TAKEN, _FRACTION = 0x8769, 0x9003, 0x9291
_SHAPE = "%Y:%m:%d %H:%M:%S"


def capture_times(source: Source, positions: Sequence[int]) -> NDArray[np.float64]:
    """Seconds at which the pictures at these positions were taken, NaN where a picture does not say."""
    if not isinstance(source, ImageListSource):
        return np.full(len(positions), np.nan)
    return np.array([_time_of(source, position) for position in positions], np.float64)


def _time_of(source: ImageListSource, position: int) -> float:
    try:
        return capture_time(source.picture(position))
    except OSError:
        return np.nan


def capture_time(content: bytes) -> float:
    """The time in the head of a picture, in seconds; NaN where there is none or none that can be read."""
    try:
        with carefully(io.BytesIO(content)) as picture:
            told = picture.getexif().get_ifd(_EXIF)
            taken = datetime.strptime(str(told.get(_TAKEN, "")).strip("\0 "), _SHAPE).replace(tzinfo=UTC)
            digits = str(told.get(_FRACTION, "")).strip("\0 ")
            return taken.timestamp() + (float(f"0.{digits}") if digits.isascii() and digits.isdigit() else 0.0)
    except HOSTILE:
        return np.nan


def in_bursts(times: NDArray[np.float64]) -> int:
    """How many pictures were taken within seconds of another; 0 where one time serves for half of them or more.

    A tool that stamps every picture alike says nothing of when it was taken.
    """
    found = np.sort(times[np.isfinite(times)])
    if len(found) < 2 or np.unique(found, return_counts=True)[1].max() > max(len(found) / 2, 1):
        return 0
    close = np.diff(found) <= SECONDS
    return int((np.append(close, False) | np.insert(close, 0, False)).sum())
