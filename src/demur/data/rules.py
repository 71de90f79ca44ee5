"""The options of an address that say how a picture becomes a tensor: `?size=64x96&crop=center&colour=grey`.

`size` is a side or height×width: the picture is scaled to exactly that, bilinear with antialiasing; with `crop=center`
the largest centred box of the wanted proportions is cut out first. `colour` makes all pictures grey (ITU-R 601 luma) or
RGB. `full_scale` is the value of white in pictures of more than 8 bits.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from demur.data.source import Box
from demur.errors import AddressError

OPTIONS = ("size", "crop", "colour", "full_scale")

_LARGEST = 8192


@dataclass(frozen=True, kw_only=True)
class Rules:
    """How a picture becomes a tensor; the default leaves its size and colour alone.

    Attributes:
        size: height and width wanted, in pixels.
        crop: whether to cut to the wanted proportions before scaling, instead of stretching.
        channels: 1 to make everything grey, 3 to make everything RGB.
        full_scale: the value of white in pictures of more than 8 bits.
    """

    size: tuple[int, int] | None = None
    crop: bool = False
    channels: int | None = None
    full_scale: float | None = None

    @classmethod
    def of(cls, options: Mapping[str, str]) -> "Rules":
        """Read the options of an address.

        >>> Rules.of({"size": "64x96", "colour": "grey"})
        Rules(size=(64, 96), crop=False, channels=1, full_scale=None)
        """
        crop, size = options.get("crop"), _size(options.get("size"))
        if crop not in (None, "center"):
            raise AddressError(f"`crop` must be center; got {crop!r}. Leave it out to stretch the picture instead.")
        if crop is not None and size is None:
            raise AddressError("`crop=center` needs a size to cut to. Write ?size=64&crop=center.")
        return cls(
            size=size,
            crop=crop is not None,
            channels=_channels(options.get("colour")),
            full_scale=_full_scale(options.get("full_scale")),
        )

    def window(self, height: int, width: int) -> tuple[float, float, float, float]:
        """The part of a picture that is scaled: left, top, right, bottom.

        >>> Rules(size=(1, 1), crop=True).window(height=100, width=300)
        (100.0, 0.0, 200.0, 100.0)
        """
        if self.size is None or not self.crop:
            return (0.0, 0.0, float(width), float(height))
        scale = min(height / self.size[0], width / self.size[1])
        high, wide = self.size[0] * scale, self.size[1] * scale
        left, top = (width - wide) / 2, (height - high) / 2
        return (left, top, left + wide, top + high)

    def moved(self, box: Box, height: int, width: int) -> Box:
        """Where a box of a picture lies after cutting and scaling, rounded outwards."""
        if self.size is None:
            return box
        left, top, right, bottom = self.window(height, width)
        across, down = self.size[1] / (right - left), self.size[0] / (bottom - top)
        return (
            max(0, math.floor((box[0] - left) * across)),
            max(0, math.floor((box[1] - top) * down)),
            min(self.size[1], math.ceil((box[2] - left) * across)),
            min(self.size[0], math.ceil((box[3] - top) * down)),
        )


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,6})(?:[x×]([0-9]{1,6}))?", text)
    height, width = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not (1 <= height <= _LARGEST and 1 <= width <= _LARGEST):
        raise AddressError(
            f"`size` must be a side or HEIGHTxWIDTH from 1 to {_LARGEST} pixels; got {text!r}. Write ?size=64 or "
            "?size=64x96."
        )
    return (height, width)


def _channels(text: str | None) -> int | None:
    known = {None: None, "grey": 1, "rgb": 3}
    if text not in known:
        raise AddressError(f"`colour` must be grey or rgb; got {text!r}. Leave it out to keep what the pictures have.")
    return known[text]


def _full_scale(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (0 < value < math.inf):
        raise AddressError(
            f"`full_scale` must be the value of white, such as 1023, 4095 or 65535; got {text!r}. Write "
            "?full_scale=4095."
        )
    return value
