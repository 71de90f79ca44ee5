"""Pillow images as tensors, by stated rules (`?size=64x96&crop=center&colour=grey`)."""

import io
import math
import re
import struct
import warnings
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from torch import Tensor

from demur.data.source import Box
from demur.errors import AddressError, brief

DECODE_OPTIONS = ("size", "crop", "colour", "full_scale")

_LARGEST = 4096
_PIXELS = {False: _LARGEST**2, True: 3 * _LARGEST**2}
"""How many pixels a picture may have, as it is or to be scaled down: more would take a gigabyte to decode."""


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
            raise AddressError(
                f"`crop` must be center; got {brief(crop)!r}. Leave it out to stretch the picture instead."
            )
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


@runtime_checkable
class Encoded(Protocol):
    """A source of pictures in files, decoded by rules."""

    @property
    def rules(self) -> Rules:
        """How a picture becomes a tensor."""
        ...

    def picture(self, position: int) -> bytes:
        """The encoded picture at a position; an `OSError` says why there is none."""
        ...


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"([0-9]{1,6})(?:[x×]([0-9]{1,6}))?", text)
    height, width = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not (1 <= height <= _LARGEST and 1 <= width <= _LARGEST):
        raise AddressError(
            f"`size` must be a side or HEIGHTxWIDTH from 1 to {_LARGEST} pixels; got {brief(text)!r}. Write ?size=64 "
            "or ?size=64x96."
        )
    return (height, width)


def _channels(text: str | None) -> int | None:
    known = {None: None, "grey": 1, "rgb": 3}
    if text is not None and text not in known:
        raise AddressError(
            f"`colour` must be grey or rgb; got {brief(text)!r}. Leave it out to keep what the pictures have."
        )
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
            f"`full_scale` must be the value of white, such as 1023, 4095 or 65535; got {brief(text)!r}. Write "
            "?full_scale=4095."
        )
    return value


Decoded = tuple[Tensor | None, str | None]
"""The image, or the reason why there is none."""

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "JPEG2000")
"""What is opened; formats that call other programs, such as EPS, are not."""

_GREY = {"1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I;16N", "I", "F"}
_DEEP = {"I;16", "I;16B", "I;16L", "I;16N", "I", "F"}
_TWELVE_BITS = 4095
HOSTILE = (
    OSError, ValueError, SyntaxError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RuntimeError,
    MemoryError, EOFError, AssertionError, ZeroDivisionError, struct.error, zlib.error, Warning,
    UnidentifiedImageError, Image.DecompressionBombError,
)  # fmt: skip
"""What a file that is cut, damaged or made to do harm can raise in Pillow."""

_ORIENTATION, _SIDEWAYS = 0x0112, range(5, 9)


@contextmanager
def carefully(file: BinaryIO, formats: tuple[str, ...] = FORMATS) -> Iterator[ImageFile]:
    """A picture of these formats whose pixels are not read yet; raises one of `HOSTILE`, too many pixels included.

    It takes an open file: of a path, Pillow maps grey TIFFs into memory and scrambles those that lie sideways.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(file, formats=formats) as picture:
            yield picture


def shown_size(path: Path) -> tuple[int, int]:
    """Height and width of a picture turned as its EXIF orientation says, mostly from its head alone."""
    with path.open("rb") as file, carefully(file) as picture:
        if picture.format == "TIFF":
            picture.load()  # Pillow turns a TIFF while it loads it, and tells the new size before
        sideways = picture.getexif().get(_ORIENTATION) in _SIDEWAYS
        return (picture.width, picture.height) if sideways else (picture.height, picture.width)


def open_picture(content: bytes, channels: int | None, rules: Rules = Rules()) -> Decoded:  # frozen
    """The image in a PNG, JPEG or other file's bytes, or the reason why there is none."""
    try:
        with carefully(io.BytesIO(content)) as picture:
            pixels, most = picture.width * picture.height, _PIXELS[rules.size is not None]
            if pixels > most:
                way_out = "" if rules.size else "; ?size=… makes it smaller"
                return None, f"an image of {pixels:,} pixels, more than the {most:,} that are read{way_out}"
            deep_colour = picture.mode not in _DEEP and ";16" in str(picture.tile)
            if deep_colour:
                return None, "more than 8 bits per colour; save it as 8-bit colour or as 16-bit grey"
            picture.load()
            return decode_picture(ImageOps.exif_transpose(picture), channels, rules)
    except HOSTILE as error:
        return None, f"cannot decode the image: {first_line(error)}"


_GREY_WAY = "save it as grey, or name its set with colour=grey (folder:PLACE?colour=grey)"


def decode_picture(picture: Image.Image, channels: int | None, rules: Rules = Rules()) -> Decoded:  # frozen
    """Float32 (channels, height, width) in [0, 1]; `channels` is that of the set, None where not known yet."""
    wanted = rules.channels or channels
    if picture.mode not in _GREY and rules.channels is None and channels == 1:
        return None, f"a colour image (mode {picture.mode}) in a grey set; {_GREY_WAY}"
    if picture.mode in _DEEP:
        return _deep(picture, wanted, rules)
    flat = _scale(_flat(picture, wanted), rules)
    return _channels_first(np.asarray(flat).astype(np.float32) / np.float32(255)), None


def _flat(picture: Image.Image, channels: int | None) -> Image.Image:
    """In mode L or RGB, with what is transparent laid over black."""
    if picture.mode in {"LA", "La", "PA", "RGBA", "RGBa"} or "transparency" in picture.info:
        whole = picture.convert("RGBA")
        black = Image.new("RGBA", whole.size, (0, 0, 0, 255))
        grey = picture.mode in _GREY
        picture = Image.alpha_composite(black, whole).convert("L" if grey else "RGB")
    if channels is None:
        channels = 1 if picture.mode in _GREY else 3
    coloured = picture if picture.mode in {"1", "L"} else picture.convert("RGB")
    return coloured.convert("L" if channels == 1 else "RGB")


def _deep(picture: Image.Image, channels: int | None, rules: Rules) -> Decoded:
    values = np.asarray(picture).astype(np.float32)
    white, error = _white(values, picture.mode, rules.full_scale)
    if error is not None:
        return None, error
    scaled = _scale(Image.fromarray(values / np.float32(white)), rules)
    image = _channels_first(np.asarray(scaled)).clamp(0, 1)
    return (image if channels in (None, 1) else image.expand(3, -1, -1).contiguous()), None


def _white(values: NDArray[np.float32], mode: str, full_scale: float | None) -> tuple[float, str | None]:
    if not np.isfinite(values).all():
        return 1, "pixels that are not finite"
    low, high = float(values.min()), float(values.max())
    if full_scale is not None:
        outside = low < 0 or high > full_scale
        return (
            full_scale,
            f"pixels from {low:g} to {high:g} outside 0 to full_scale={full_scale:g}" if outside else None,
        )
    if mode in {"I", "F"}:
        return 1, f"pixels of mode {mode} have no known range; ?full_scale=… says what white is"
    if high <= _TWELVE_BITS:
        return 1, (
            f"a 16-bit image whose brightest pixel is {high:g} may be of 10 or 12 bits; ?full_scale=4095 (or 1023, or "
            "65535) says what white is"
        )
    return 65535, None


def _scale(picture: Image.Image, rules: Rules) -> Image.Image:
    if rules.size is None:
        return picture
    height, width = rules.size
    window = rules.window(picture.height, picture.width)
    return picture.resize((width, height), Image.Resampling.BILINEAR, box=window)


def _channels_first(values: NDArray[np.float32]) -> Tensor:
    tensor = torch.from_numpy(values.copy())
    return tensor.unsqueeze(0) if tensor.ndim == 2 else tensor.permute(2, 0, 1).contiguous()


def first_line(error: BaseException) -> str:
    """What Pillow says of a file, without its name."""
    return (str(error).partition(" <")[0].partition("\n")[0] or type(error).__name__)[:200]
