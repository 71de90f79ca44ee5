"""The values of options by which pictures are decoded: each from the text of an address, and back."""

import math
import re
from collections.abc import Mapping
from typing import TypeAlias

from demur.errors import AddressError, brief

LARGEST_SIDE = 4096
"""How many pixels a side of an image may have that a picture is scaled to."""

Side: TypeAlias = int | tuple[int, int]
"""The short side, or height and width."""


def one_of(options: Mapping[str, str], name: str, values: tuple[str, ...], way_out: str) -> str | None:
    """The value of an option that has a few; None where it is not there."""
    text = options.get(name)
    if text is not None and text not in values:
        listed = " or ".join(filter(None, (", ".join(values[:-1]), values[-1])))
        raise AddressError(f"`{name}` must be {listed}; got {brief(text)!r}. {way_out}")
    return text


def size_of(text: str | None, name: str = "size") -> tuple[int, int] | None:
    """Height and width, from a side or both."""
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,6})(?:[x×]([0-9]{1,6}))?", text)
    height, width = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not (1 <= height <= LARGEST_SIDE and 1 <= width <= LARGEST_SIDE):
        raise AddressError(
            f"`{name}` must be a side or HEIGHTxWIDTH from 1 to {LARGEST_SIDE} pixels; got {brief(text)!r}. Write "
            f"?{name}=64 or ?{name}=64x96."
        )
    return (height, width)


def resize_of(text: str | None) -> Side | None:
    """The short side where one number is written, height and width where two are."""
    found = size_of(text, "resize")
    return found if found is None or re.search("[x×]", str(text)) else found[0]


def full_scale_of(text: str | None) -> float | tuple[float, ...] | None:
    """The value of white, or one for each band."""
    if text is None:
        return None
    found = tuple(_positive(part) for part in text.split(","))
    if not all(0 < value < math.inf for value in found):
        raise AddressError(
            f"`full_scale` must be the value of white, such as 1023, 4095 or 65535, or one for each band; got "
            f"{brief(text)!r}. Write ?full_scale=4095, or ?full_scale=4095,4095,10000."
        )
    return found[0] if len(found) == 1 else found


def _positive(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def size_text(size: tuple[int, int] | None) -> str | None:
    """How a size is written, as one number where both sides are equal."""
    if size is None:
        return None
    return str(size[0]) if size[0] == size[1] else f"{size[0]}x{size[1]}"


def resize_text(side: Side | None) -> str | None:
    """How it is written what a picture is scaled to first."""
    if side is None:
        return None
    return f"{side[0]}x{side[1]}" if isinstance(side, tuple) else str(side)


def scale_text(value: float | tuple[float, ...] | None) -> str | None:
    """How a value of white is written, or one for each band."""
    if value is None:
        return None
    values = value if isinstance(value, tuple) else (value,)
    return ",".join(repr(int(each) if each == int(each) else each) for each in values)
