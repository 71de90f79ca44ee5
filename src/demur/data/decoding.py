"""Files of pictures as tensors, by stated rules."""

import io
import math
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from torch import Tensor

from demur.data.band_images import from_bands, white_of
from demur.data.scaling import scaled
from demur.data.tiff_bands import Head, bands_of, head_of
from demur.pictures.decode_rules import Rules
from demur.pictures.option_values import LARGEST_SIDE

_PIXELS = {False: LARGEST_SIDE**2, True: 3 * LARGEST_SIDE**2}
"""How many pixels a picture may have, as it is or to be scaled down: more would take a gigabyte to decode."""

_AS_IT_IS = Rules()


@runtime_checkable
class Decodable(Protocol):
    """A source whose images are made by rules."""

    @property
    def rules(self) -> Rules:
        """How a picture becomes a tensor."""
        ...


@runtime_checkable
class Encoded(Decodable, Protocol):
    """A source of pictures in files, decoded by rules."""

    def picture(self, position: int) -> bytes:
        """The encoded picture at a position; an `OSError` says why there is none."""
        ...


Decoded = tuple[Tensor | None, str | None]
"""The image, or the reason why there is none."""

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "JPEG2000")
"""What is opened; formats that call other programs, such as EPS, are not."""

_GREY = {"1", "L", "LA", "La", "I;16", "I;16B", "I;16L", "I;16N", "I", "F"}
_DEEP = {"I;16", "I;16B", "I;16L", "I;16N", "I", "F"}
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


def open_picture(content: bytes, channels: int | None, rules: Rules = _AS_IT_IS) -> Decoded:
    """The image in a PNG, JPEG or other file's bytes, or the reason why there is none."""
    try:
        bands = head_of(content)
        if bands is not None and not (rules.channels and bands.is_shallow):
            return _of_bands(content, bands, channels, rules)
        with carefully(io.BytesIO(content)) as picture:
            excess = _excess(picture.width * picture.height, rules)
            if excess is not None:
                return None, excess
            deep_colour = picture.mode not in _DEEP and ";16" in str(picture.tile)
            if deep_colour:
                return None, "more than 8 bits per colour; save it as 8-bit colour or as 16-bit grey"
            picture.load()
            return decode_picture(picture if rules.unturned else ImageOps.exif_transpose(picture), channels, rules)
    except HOSTILE as error:
        return None, f"cannot decode the image: {first_line(error)}"


def _excess(pixels: int, rules: Rules) -> str | None:
    """Why a picture is too large to decode."""
    most = _PIXELS[rules.size is not None]
    way_out = "" if rules.size else "; ?size=… makes it smaller"
    return f"an image of {pixels:,} pixels, more than the {most:,} that are read{way_out}" if pixels > most else None


def _of_bands(content: bytes, head: Head, channels: int | None, rules: Rules) -> Decoded:
    """The image of a TIFF file that Pillow would cut down."""
    excess = _excess(math.prod(head.shape), rules)
    if excess is not None:
        return None, excess
    if head.is_transparent:
        return None, "more than 8 bits per colour with transparency; save it without"
    if channels == 1 and rules.channels is None:
        return None, f"an image of {head.shape[0]} bands in a grey set; {_GREY_WAY}"
    return from_bands(bands_of(content, head), channels, rules)


_GREY_WAY = "save it as grey, or name its set with colour=grey (folder:PLACE?colour=grey)"


def decode_picture(picture: Image.Image, channels: int | None, rules: Rules = _AS_IT_IS) -> Decoded:
    """Float32 (channels, height, width) in [0, 1]; `channels` is that of the set, None where not known yet."""
    wanted = rules.channels or channels
    reached = math.prod(rules.placement(picture.height, picture.width).scaled)
    if reached > _PIXELS[True]:
        return (
            None,
            f"so long that it has {reached:,} pixels once its short side is scaled, more than {_PIXELS[True]:,}",
        )
    if picture.mode not in _GREY and rules.channels is None and channels == 1:
        return None, f"a colour image (mode {picture.mode}) in a grey set; {_GREY_WAY}"
    if picture.mode in _DEEP:
        return _deep(picture, wanted, rules)
    flat = scaled(_flat(picture, wanted, rules.alpha), rules)
    return _channels_first(np.asarray(flat).astype(np.float32) / np.float32(255)), None


def _flat(picture: Image.Image, channels: int | None, alpha: str) -> Image.Image:
    """In mode L or RGB, with what is transparent laid over black or white, or shown as if it were not."""
    if alpha != "ignore" and (picture.mode in {"LA", "La", "PA", "RGBA", "RGBa"} or "transparency" in picture.info):
        whole = picture.convert("RGBA")
        below = Image.new("RGBA", whole.size, alpha)
        grey = picture.mode in _GREY
        picture = Image.alpha_composite(below, whole).convert("L" if grey else "RGB")
    if channels is None:
        channels = 1 if picture.mode in _GREY else 3
    coloured = picture if picture.mode in {"1", "L"} else picture.convert("RGB")
    return coloured.convert("L" if channels == 1 else "RGB")


def _deep(picture: Image.Image, channels: int | None, rules: Rules) -> Decoded:
    values = np.asarray(picture).astype(np.float32)
    if isinstance(rules.full_scale, tuple):
        return None, f"full_scale names {len(rules.full_scale)} values of white for one band; name one"
    white, error = white_of(values, rules.full_scale, sixteen=picture.mode.startswith("I;16"))
    if error is not None:
        return None, error
    image = _channels_first(np.asarray(scaled(Image.fromarray(values / np.float32(white)), rules))).clamp(0, 1)
    return (image if channels in (None, 1) else image.expand(3, -1, -1).contiguous()), None


def _channels_first(values: NDArray[np.float32]) -> Tensor:
    tensor = torch.from_numpy(values.copy())
    return tensor.unsqueeze(0) if tensor.ndim == 2 else tensor.permute(2, 0, 1).contiguous()


def first_line(error: BaseException) -> str:
    """What Pillow says of a file, without its name."""
    return (str(error).partition(" <")[0].partition("\n")[0] or type(error).__name__)[:200]
