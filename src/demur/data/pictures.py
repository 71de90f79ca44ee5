"""Pillow images as tensors, by stated rules.

Grey (`L`, `1`) and 16-bit grey stay one channel; everything else becomes RGB, transparency dropped. In a colour set a
grey image is repeated over three channels; in a grey set a colour image is an error, because colour cannot be dropped
unseen. Modes without a known range (`I`, `F`) are errors.
"""

import io

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

_GREY = {"1", "L", "I;16", "I;16B", "I;16L", "I;16N"}


def opened(content: bytes, channels: int | None) -> tuple[Tensor | None, str | None]:
    """The image in a PNG, JPEG or other file's bytes, or the reason why there is none."""
    try:
        with Image.open(io.BytesIO(content)) as picture:
            picture.load()
            return decoded(picture, channels)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return None, f"cannot decode the image: {str(error).partition(' <')[0]}"


def decoded(picture: Image.Image, channels: int | None) -> tuple[Tensor | None, str | None]:
    """Float32 (channels, height, width) in [0, 1]; `channels` is that of the set, None where not known yet."""
    if picture.mode in {"I", "F"}:
        return None, f"pixels of mode {picture.mode} have no known range"
    grey = picture.mode in _GREY
    if not grey and channels == 1:
        return None, f"a colour image (mode {picture.mode}) in a grey set"
    if grey and channels in (None, 1):
        return _floats(picture.convert("L") if picture.mode == "1" else picture).unsqueeze(0), None
    if picture.mode.startswith("I;16"):
        return _floats(picture).expand(3, -1, -1).contiguous(), None
    return _floats(picture.convert("RGB")).permute(2, 0, 1).contiguous(), None


def _floats(picture: Image.Image) -> Tensor:
    values = np.asarray(picture)
    return torch.from_numpy(values.astype(np.float32) / np.iinfo(values.dtype).max)
