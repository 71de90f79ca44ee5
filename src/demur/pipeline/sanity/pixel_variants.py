"""The usual mistakes of preprocessing that pixels in [0, 1] can be made to show: scale, colour, order, orientation.

A variant is the way the images would have to be for the mistake to be mended, so a model that is asked about it answers
as if it were. Its values may leave [0, 1].
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from demur.classifier.contract import Contract
from demur.shapes import Images

Change: TypeAlias = Callable[[Images], Images]


@dataclass(frozen=True)
class PixelVariant:
    """Another way to show the model the same images.

    Attributes:
        name: a noun, for tables.
        remedy: what to do where it fits better, with the option that does it.
        change: from images as they are to images as they would have to be.
        adapted: whether images that are darker, lighter or paler than those of training would explain it as well.
    """

    name: str
    remedy: str
    change: Change
    adapted: bool = False

    def images(self, x: Images, positions: NDArray[np.int64]) -> Images:  # noqa: ARG002 - others read files anew
        """The images (rows, channels, height, width) as the variant has them."""
        return self.change(x)


@dataclass(frozen=True)
class Scaling:
    """A mean and a deviation per channel, of pixels in [0, 1]: the model is given (x − mean) / std."""

    mean: tuple[float, ...]
    std: tuple[float, ...]

    @classmethod
    def of(cls, contract: Contract) -> "Scaling":
        """The one that a model declares."""
        channels = contract.input_shape[0]
        return cls(contract.mean or (0.0,) * channels, contract.std or (1.0,) * channels)

    @classmethod
    def alike(cls, mean: float, std: float, channels: int) -> "Scaling":
        """The same for every channel."""
        return cls((mean,) * channels, (std,) * channels)

    @property
    def is_identity(self) -> bool:
        """Whether it leaves pixels as they are."""
        return self.is_near(Scaling.alike(0, 1, len(self.mean)))

    def is_near(self, other: "Scaling") -> bool:
        """Whether it gives nearly the same numbers as another."""
        pairs = zip((*self.mean, *self.std), (*other.mean, *other.std), strict=True)
        return all(math.isclose(a, b, rel_tol=1e-3, abs_tol=1e-6) for a, b in pairs)

    def after(self, other: "Scaling") -> "Scaling":
        """Both, one after the other."""
        pairs = list(zip(other.mean, other.std, self.mean, self.std, strict=True))
        return Scaling(tuple(m + s * mean for m, s, mean, _ in pairs), tuple(s * std for _, s, _, std in pairs))

    @property
    def options(self) -> str:
        """As options of a model's address."""
        mean, std = (",".join(f"{value:.4g}" for value in values) for values in (self.mean, self.std))
        return f"?mean={mean}&std={std}"

    def images_for(self, declared: "Scaling", x: Images) -> Images:
        """The images that a model with the declared scaling must be shown to be given what this one gives of `x`."""
        mean, std, own_mean, own_std = (
            torch.tensor(values, dtype=x.dtype, device=x.device).view(1, -1, 1, 1)
            for values in (declared.mean, declared.std, self.mean, self.std)
        )
        return std * (x - own_mean) / own_std + mean


IMAGENET = Scaling((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
_OF_SETS = {
    "ImageNet's": IMAGENET,
    "CIFAR-10's": Scaling((0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)),
    "CLIP's": Scaling((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "MNIST's": Scaling((0.1307,), (0.3081,)),
}
"""The constants that are copied most."""
_GREY = (0.299, 0.587, 0.114)
_RGB = 3


def pixel_variants(contract: Contract, sample: Images) -> tuple[PixelVariant, ...]:
    """The variants that make a difference to a model of this contract.

    Args:
        contract: the declared one.
        sample: some of the images, whose mean and deviation are one of the variants.
    """
    return (*_scalings(contract, sample), *_colours(contract), *_orientations(contract))


def _scalings(contract: Contract, sample: Images) -> Iterator[PixelVariant]:
    declared, channels = Scaling.of(contract), contract.input_shape[0]
    tried, pale = [declared], not _spans_range(sample)
    for name, scaling in _named_scalings(declared, channels, sample):
        if not any(scaling.is_near(other) for other in tried):
            tried.append(scaling)
            adapted = name == _OWN or (pale and name not in _OF_BYTES)
            yield _scaled(name, scaling, declared, adapted=adapted)


def _spans_range(sample: Images) -> bool:
    """Whether images have dark and light pixels; fog and dim light are undone by other scales, with no mistake made."""
    values = sample.flatten().sort().values
    low, high = (float(values[round(share * (len(values) - 1))]) for share in (0.01, 0.99))
    return low <= _DARK and high >= _LIGHT


_DARK, _LIGHT = 0.15, 0.75


def _named_scalings(declared: Scaling, channels: int, sample: Images) -> Iterator[tuple[str, Scaling]]:
    identity, bytes_ = Scaling.alike(0, 1, channels), Scaling.alike(0, 1 / 255, channels)
    yield "no normalisation", identity
    yield _OF_BYTES[0], bytes_
    yield _OF_BYTES[1], declared.after(bytes_)
    yield "pixels of -1 to 1", Scaling.alike(0.5, 0.5, channels)
    yield "normalised twice", declared.after(declared)
    for name, scaling in _OF_SETS.items():
        if len(scaling.mean) == channels:
            yield f"{name} mean and deviation", scaling
    mean, std = sample.mean(dim=(0, 2, 3)).tolist(), sample.std(dim=(0, 2, 3), correction=0).tolist()
    if all(value > 0 for value in std):
        yield _OWN, Scaling(tuple(mean), tuple(std))


def _scaled(name: str, scaling: Scaling, declared: Scaling, *, adapted: bool) -> PixelVariant:
    leave = ", or leave mean and std out" if scaling.is_identity else ""
    remedy = f"add {scaling.options} to the model's address{leave}"
    return PixelVariant(name, remedy, lambda x: scaling.images_for(declared, x), adapted=adapted)


_OWN = "mean and deviation of these images"
_OF_BYTES = ("pixels of 0 to 255", "pixels of 0 to 255, then normalised")


def _colours(contract: Contract) -> Iterator[PixelVariant]:
    yield PixelVariant("inverted", "give the images with black and white exchanged (1 - x)", lambda x: 1 - x)
    if contract.input_shape[0] != _RGB:
        return
    declared, caffe = Scaling.of(contract), Scaling(IMAGENET.mean, (1 / 255,) * _RGB)
    yield PixelVariant("blue for red (BGR)", f"give the channels in the order blue, green, red{_FLIP}", _reversed)
    yield PixelVariant(
        "blue for red, pixels of 0 to 255 less ImageNet's mean",
        f"give the channels in the order blue, green, red{_FLIP}, and add {_reversed_options(caffe)} to the model's "
        "address",
        lambda x: _reversed_scaling(caffe).images_for(declared, _reversed(x)),
    )
    yield PixelVariant("grey in three channels", "give grey images, the same in all three channels", _grey)
    yield PixelVariant(
        "channels last, read as channels first",
        "the pixels are stored as (height, width, channels): move the last axis to the front, do not reshape",
        lambda x: x.reshape(len(x), *x.shape[2:], x.shape[1]).permute(0, 3, 1, 2),
    )
    yield PixelVariant(
        "channels first, reshaped to channels last",
        "the model was trained on pixels whose axes were reshaped instead of moved: train it on images, or do the same",
        lambda x: x.permute(0, 2, 3, 1).reshape(x.shape),
    )


_FLIP = " (x.flip(1) in front of the model)"


def _reversed(x: Images) -> Images:
    return x.flip(1)


def _reversed_scaling(scaling: Scaling) -> Scaling:
    return Scaling(scaling.mean[::-1], scaling.std[::-1])


def _reversed_options(scaling: Scaling) -> str:
    return _reversed_scaling(scaling).options


def _grey(x: Images) -> Images:
    weights = torch.tensor(_GREY, dtype=x.dtype, device=x.device).view(1, -1, 1, 1)
    return (x * weights).sum(dim=1, keepdim=True).expand(x.shape)


def _orientations(contract: Contract) -> Iterator[PixelVariant]:
    """The seven other ways an image can lie, as EXIF numbers them; those that keep the shape."""
    _, height, width = contract.input_shape
    for name, axes, mirrored in _ORIENTATIONS:
        if height == width or axes % 2 == 0:
            yield PixelVariant(name, f"give the images {name}: {_WAYS}", _turned(axes, mirrored=mirrored))


_WAYS = "look whether the EXIF orientation or the order of rows and columns was lost when they were stored"
_ORIENTATIONS: Sequence[tuple[str, int, bool]] = (
    ("mirrored", 0, True),
    ("turned upside down", 2, False),
    ("mirrored top to bottom", 2, True),
    ("with rows and columns exchanged", 1, True),
    ("turned to the left", 1, False),
    ("turned to the right", 3, False),
    ("with rows and columns exchanged, turned upside down", 3, True),
)
"""Name, quarter turns to the left, and whether they are mirrored left to right before."""


def _turned(quarters: int, *, mirrored: bool) -> Change:
    return lambda x: torch.rot90(x.flip(3) if mirrored else x, quarters, dims=(2, 3))
