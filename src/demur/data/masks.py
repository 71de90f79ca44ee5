"""Pictures that mark the pixels of an object.

A mask is nonzero on the object: white on black, class numbers on 0, colours on black or on nothing. In a picture with a
palette 255 is the border that Pascal VOC leaves undecided, unless nothing else is marked.
"""

import io
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from demur.data.pictures import HOSTILE, carefully, first_line
from demur.data.rules import Rules
from demur.errors import DataError

SUFFIXES = (".png", ".bmp", ".gif", ".tif", ".tiff")
"""What masks are saved as; JPEG would smear them."""

_FORMATS = ("PNG", "BMP", "GIF", "TIFF")
_NUMBERS = {"1", "L", "I;16", "I;16B", "I;16L", "I;16N", "I", "F"}
_UNDECIDED = 255


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Bool (height, width), turned as the EXIF orientation of the mask says; True on the object.

    Raises:
        DataError: the file cannot be read.
    """
    try:
        with carefully(io.BytesIO(path.read_bytes()), _FORMATS) as picture:
            picture.load()
            shown = ImageOps.exif_transpose(picture)
    except HOSTILE as error:
        raise DataError(
            f"cannot read the mask {path}: {first_line(error)}. Save it again as PNG, or remove it."
        ) from None
    return _marked(shown)


def _marked(picture: Image.Image) -> NDArray[np.bool_]:
    """Where a mask is not zero, black or transparent."""
    if picture.mode in _NUMBERS:
        return np.asarray(picture) != 0
    if picture.mode == "P":
        values = np.asarray(picture)
        decided = (values > 0) & (values < _UNDECIDED)
        return decided if decided.any() else values > 0
    colours = np.asarray(picture.convert("RGBA"))
    return (colours[..., :3] > 0).any(axis=-1) & (colours[..., 3] > 0)


def scaled(mask: NDArray[np.bool_], rules: Rules) -> Tensor:
    """Cut and scaled as the picture is, to the nearest pixel."""
    if rules.size is None:
        return torch.from_numpy(mask)
    height, width = rules.size
    window = rules.window(*mask.shape)
    moved = Image.fromarray(mask.astype(np.uint8)).resize((width, height), Image.Resampling.NEAREST, box=window)
    return torch.from_numpy(np.asarray(moved) > 0)
