"""Digital: brightness, contrast, low light, saturation, pixels, JPEG."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch

from demur.corruptions import check_severity, check_strength, check_value, parameter
from demur.filters.denoising import jpeg
from demur.randomness import Keys
from demur.shapes import Images


@dataclass(frozen=True, kw_only=True)
class Brightness:
    """The value of hue, saturation and value raised by a constant, clipped to [0, 1].

    Colours keep their proportions; black becomes grey. Hendrycks & Dietterich (2019), arXiv:1903.12261.
    """

    table: ClassVar[Mapping[int, tuple[float, ...]]] = MappingProxyType(
        {
            32: (0.05, 0.1, 0.15, 0.2, 0.3),
            64: (0.1, 0.2, 0.3, 0.4, 0.5),
            224: (0.1, 0.2, 0.3, 0.4, 0.5),
            299: (0.1, 0.2, 0.3, 0.4, 0.5),
        }
    )
    sentence: ClassVar[str] = "Brightness raised by {value:g} of the pixel range"

    severity: int | None = None
    value: float | None = None

    def __post_init__(self) -> None:
        check_strength("brightness", self.severity, self.value)

    def __call__(self, x: Images, keys: Keys) -> Images:  # noqa: ARG002 - every corruption takes keys; this draws nothing
        more = parameter(self, min(x.shape[2:]))
        value = x.amax(dim=1, keepdim=True)
        raised = (value + more).clamp_(0, 1)
        black = torch.le(value, 0, out=torch.empty_like(value))
        return (x * (raised / value.clamp(min=1e-12))).add_(black.mul_(raised)).clamp_(0, 1)


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """Differences to the mean of each channel multiplied by a factor below 1.

    Hendrycks & Dietterich (2019), arXiv:1903.12261.
    """

    table: ClassVar[Mapping[int, tuple[float, ...]]] = MappingProxyType(
        {
            32: (0.75, 0.5, 0.4, 0.3, 0.15),
            64: (0.4, 0.3, 0.2, 0.1, 0.05),
            224: (0.4, 0.3, 0.2, 0.1, 0.05),
            299: (0.4, 0.3, 0.2, 0.1, 0.05),
        }
    )
    sentence: ClassVar[str] = "Contrast multiplied by {value:g}"

    severity: int | None = None
    value: float | None = None

    def __post_init__(self) -> None:
        check_strength("contrast", self.severity, self.value)

    def __call__(self, x: Images, keys: Keys) -> Images:  # noqa: ARG002 - every corruption takes keys; this draws nothing
        factor = parameter(self, min(x.shape[2:]))
        sums = x.sum(dim=3, keepdim=True).double().sum(dim=2, keepdim=True)  # never one sum, which threads would share
        means = (sums / math.prod(x.shape[2:])).to(x)
        return torch.lerp(means, x, factor).clamp_(0, 1)


@dataclass(frozen=True, kw_only=True)
class LowLight:
    """Every value multiplied by one factor below 1, at any image size.

    The factors are this project's own: the suite of Hendrycks & Dietterich (2019), arXiv:1903.12261, has none.
    """

    table: ClassVar[Mapping[int, tuple[float, ...]]] = MappingProxyType({224: (0.8, 0.6, 0.4, 0.25, 0.1)})
    sentence: ClassVar[str] = "Brightness multiplied by {value:g}"

    severity: int | None = None
    value: float | None = None

    def __post_init__(self) -> None:
        check_strength("low_light", self.severity, self.value)

    def __call__(self, x: Images, keys: Keys) -> Images:  # noqa: ARG002 - every corruption takes keys; this draws nothing
        return x * parameter(self, min(x.shape[2:]))


@dataclass(frozen=True, kw_only=True)
class Saturate:
    """The saturation of hue, saturation and value multiplied by a factor and raised by a constant, clipped to [0, 1].

    The parameter is (factor, constant). As in the originals a constant turns grey pixels reddish, whose hue counts as
    red. Images of one channel have no colour and are left as they are. Hendrycks & Dietterich (2019), arXiv:1903.12261.
    """

    table: ClassVar[Mapping[int, tuple[tuple[float, ...], ...]]] = MappingProxyType(
        {
            32: ((0.3, 0.0), (0.1, 0.0), (1.5, 0.0), (2.0, 0.1), (2.5, 0.2)),
            64: ((0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (30.0, 0.2)),
            224: ((0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2)),
            299: ((0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2)),
        }
    )
    sentence: ClassVar[str] = "Saturation multiplied by {value[0]:g}"
    value: ClassVar[None] = None

    severity: int

    def __post_init__(self) -> None:
        check_severity("saturate", self.severity)

    def __call__(self, x: Images, keys: Keys) -> Images:  # noqa: ARG002 - every corruption takes keys; this draws nothing
        if x.shape[1] == 1:
            return x
        factor, more = parameter(self, min(x.shape[2:]))
        value, least = x.amax(dim=1, keepdim=True), x.amin(dim=1, keepdim=True)
        before = (value - least) / value.clamp(min=1e-12)
        after = (before * factor + more).clamp(0, 1)
        red = torch.zeros_like(x)
        red[:, 1:] = value
        below = torch.where(before > 0, (value - x) / before.clamp(min=1e-12), red)
        return (value - below * after).clamp(0, 1)


@dataclass(frozen=True, kw_only=True)
class Pixelate:
    """Each side shrunk by a factor and blown up again; a new pixel is the mean of the old ones whose centres it holds.

    Hendrycks & Dietterich (2019), arXiv:1903.12261.
    """

    table: ClassVar[Mapping[int, tuple[float, ...]]] = MappingProxyType(
        {
            32: (0.95, 0.9, 0.85, 0.75, 0.65),
            64: (0.9, 0.8, 0.7, 0.6, 0.5),
            224: (0.6, 0.5, 0.4, 0.3, 0.25),
            299: (0.5, 0.4, 0.3, 0.25, 0.2),
        }
    )
    sentence: ClassVar[str] = "Pixelated to {value:g} of the resolution"

    severity: int | None = None
    value: float | None = None

    def __post_init__(self) -> None:
        check_strength("pixelate", self.severity, self.value)
        check_value("pixelate", self.value, 0.01, 1)

    def __call__(self, x: Images, keys: Keys) -> Images:  # noqa: ARG002 - every corruption takes keys; this draws nothing
        scale = parameter(self, min(x.shape[2:]))
        sides = x.shape[2:]
        fewer = [max(1, int(side * scale)) for side in sides]
        small = _means(_means(x, 2, fewer[0]), 3, fewer[1]).clamp_(0, 1)
        rows, columns = (
            (torch.arange(side, device=x.device) * 2 + 1) * less // (2 * side)
            for side, less in zip(sides, fewer, strict=True)
        )
        return small.index_select(3, columns).index_select(2, rows)


def _means(x: Images, axis: int, after: int) -> Images:
    """The box filter of Pillow along one axis: means of the pixels whose centres lie in each of `after` new ones."""
    before = x.shape[axis]
    edges = (2 * before * torch.arange(after + 1, device=x.device) + after) // (2 * after)
    first, counts = edges[:-1], edges.diff()
    total = x.index_select(axis, first)
    for more in range(1, int(counts.max())):
        inside = (more < counts).to(x).view(-1, *[1] * (3 - axis))
        total.addcmul_(x.index_select(axis, (first + more).clamp(max=before - 1)), inside)
    return total.div_(counts.to(x).view(-1, *[1] * (3 - axis)))


@dataclass(frozen=True, kw_only=True)
class JPEGCompression:
    """8-bit JPEG at a quality from 1 to 95, with halved colour resolution.

    Hendrycks & Dietterich (2019), arXiv:1903.12261.
    """

    table: ClassVar[Mapping[int, tuple[float, ...]]] = MappingProxyType(
        {
            32: (80, 65, 58, 50, 40),
            64: (65, 58, 50, 40, 25),
            224: (25, 18, 15, 10, 7),
            299: (23, 16, 13, 8, 5),
        }
    )
    sentence: ClassVar[str] = "JPEG of quality {value:g}"

    severity: int | None = None
    value: float | None = None

    def __post_init__(self) -> None:
        check_strength("jpeg_compression", self.severity, self.value)
        check_value("jpeg_compression", self.value, 1, 95)

    def __call__(self, x: Images, keys: Keys) -> Images:  # noqa: ARG002 - every corruption takes keys; this draws nothing
        quality = parameter(self, min(x.shape[2:]))
        return jpeg(x, round(quality))
