"""Images of deep values and of any number of bands: what white is, and the bands scaled one by one."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from demur.data.scaling import scaled
from demur.pictures.decode_rules import Rules

_TWELVE_BITS = 4095
_LUMA = (0.299, 0.587, 0.114)
"""ITU-R 601, of red, green and blue."""


def white_of(values: NDArray[np.float32], full_scale: float | None, *, sixteen: bool) -> tuple[float, str | None]:
    """The value of white, and why the values have none.

    Args:
        values: as they are stored.
        full_scale: what was named.
        sixteen: whether they are of 16 bits without a sign, of which it may be guessed.
    """
    if not np.isfinite(values).all():
        return 1, "pixels that are not finite"
    low, high = float(values.min()), float(values.max())
    if full_scale is not None:
        outside = low < 0 or high > full_scale
        return (
            full_scale,
            f"pixels from {low:g} to {high:g} outside 0 to full_scale={full_scale:g}" if outside else None,
        )
    if not sixteen:
        return 1, "pixels of more than 16 bits or with a sign have no known range; ?full_scale=… says what white is"
    if high <= _TWELVE_BITS:
        return 1, (
            f"a 16-bit image whose brightest pixel is {high:g} may be of 10 or 12 bits; ?full_scale=4095 (or 1023, or "
            "65535) says what white is"
        )
    return 65535, None


def from_bands(bands: NDArray[Any], channels: int | None, rules: Rules) -> tuple[Tensor | None, str | None]:
    """Float32 (bands, height, width) in [0, 1], or the reason why there is none; luma where grey is wanted of three.

    Args:
        bands: (bands, height, width), as they are stored.
        channels: of the set, None where that is not known yet.
        rules: how it becomes a tensor.
    """
    count, wanted = len(bands), rules.channels or channels
    if not (count == wanted or (count == 3 and rules.channels == 1) or (wanted is None and count > 0)):
        return None, f"an image of {count} bands in a set of {wanted}"
    values = bands.astype(np.float32)
    whites, error = _whites(values, bands.dtype, rules.full_scale)
    if error is not None:
        return None, error
    parts = [
        np.asarray(scaled(Image.fromarray(np.ascontiguousarray(band / np.float32(white))), rules))
        for band, white in zip(values, whites, strict=True)
    ]
    image = torch.from_numpy(np.stack(parts)).clamp(0, 1)
    if rules.channels == 1 and count == 3:
        image = (image * torch.tensor(_LUMA)[:, None, None]).sum(dim=0, keepdim=True).clamp(0, 1)
    return image, None


def _whites(
    values: NDArray[np.float32], dtype: np.dtype[Any], full_scale: float | tuple[float, ...] | None
) -> tuple[Sequence[float], str | None]:
    """The value of white of each band; one that is named, or guessed of all, is that of all."""
    if isinstance(full_scale, tuple):
        if len(full_scale) != len(values):
            return (), f"full_scale names {len(full_scale)} values of white for {len(values)} bands; name one for each"
        found = [white_of(band, white, sixteen=False) for band, white in zip(values, full_scale, strict=True)]
        return full_scale, next((f"band {at}: {error}" for at, (_, error) in enumerate(found, 1) if error), None)
    if dtype == np.uint8:
        return [255.0] * len(values), None
    white, error = white_of(values, full_scale, sixteen=dtype.kind == "u" and dtype.itemsize == 2)
    return [white] * len(values), error
