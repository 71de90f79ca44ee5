"""Pictures cut and scaled by rules: with Pillow, or as torchvision scales tensors, to the bit."""

import platform

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

from demur.pictures.decode_rules import Rules

_METHODS = {method.name.lower(): method for method in Image.Resampling}
_ALIGNED = {"bilinear", "bicubic"}


def scaled(picture: Image.Image, rules: Rules) -> Image.Image:
    """The picture as the rules want it; black is added where it is smaller than what is cut from it."""
    if rules.size is None:
        return picture
    place = rules.placement(picture.height, picture.width)
    high, wide = place.scaled
    if rules.resizer == "torch":
        whole = _by_torch(picture.crop(place.window), place.scaled, rules)
    else:
        whole = picture.resize((wide, high), _METHODS[rules.interpolation], box=place.window)
    if place.scaled == place.size:
        return whole
    return whole.crop((place.left, place.top, place.left + place.size[1], place.top + place.size[0]))


def _by_torch(picture: Image.Image, size: tuple[int, int], rules: Rules) -> Image.Image:
    """As torchvision scales a tensor of the picture: in 8 bits where it does so, else in single precision, rounded."""
    values = np.array(picture)
    if values.shape[:2] == size:
        return picture
    image = torch.from_numpy(values[..., None] if values.ndim == 2 else values).permute(2, 0, 1).contiguous()[None]
    whole = image.dtype == torch.uint8
    if whole and not _native(rules.interpolation):
        image = image.float()
    smooth = rules.interpolation in _ALIGNED
    image = interpolate(
        image,
        size=size,
        mode=rules.interpolation,
        align_corners=False if smooth else None,
        antialias=rules.antialias and smooth,
    )
    return _picture(image[0].clamp(0, 255).round().to(torch.uint8) if whole else image[0])


def _native(interpolation: str) -> bool:
    """Whether torchvision scales 8 bits as they are; bilinearly it does so where the processor is fast at it."""
    vectors = torch.backends.cpu.get_cpu_capability() in {"AVX2", "AVX512"}
    return interpolation != "bilinear" or vectors or platform.machine() in {"aarch64", "arm64"}


def _picture(image: Tensor) -> Image.Image:
    values = image.permute(1, 2, 0).contiguous().numpy()
    return Image.fromarray(values[..., 0] if values.shape[2] == 1 else values)
