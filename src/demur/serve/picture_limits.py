"""How many pixels pictures have, by their heads alone, so that a bomb is refused before it is decoded."""

import io
import math
from collections.abc import Sequence

from demur.data.decoding import HOSTILE, carefully
from demur.data.tiff_bands import head_of
from demur.serve.http_errors import RequestError


def pixels_of(content: bytes) -> int:
    """Height × width by the head of a file; 0 where it has none that can be read."""
    try:
        bands = head_of(content)
        if bands is not None:
            return math.prod(bands.shape)
        with carefully(io.BytesIO(content)) as picture:
            return picture.width * picture.height
    except HOSTILE as error:
        return _BOMB if type(error).__name__.startswith("DecompressionBomb") else 0


_BOMB = 10**12
"""Stands for more pixels than Pillow opens."""


def check_pixels(pictures: Sequence[bytes], most: int) -> None:
    """Refuse pictures that have too many pixels together.

    Raises:
        RequestError: 413.
    """
    total = 0
    for place, content in enumerate(pictures):
        total += pixels_of(content)
        if total > most:
            raise RequestError(
                413,
                f"the pictures of one request have at most {most:,} pixels together, and with number {place + 1} there "
                "are more. Make them smaller or send fewer at once.",
            )


def check_images(rows: int, most: int) -> None:
    """Refuse too many images in a request.

    Raises:
        RequestError: 413.
    """
    if rows > most:
        raise RequestError(413, f"a request has at most {most} images; got {rows}. Send them in several requests.")
