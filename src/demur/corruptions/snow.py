"""Snow."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch

from demur.corruptions import check_severity, parameter
from demur.corruptions.colour import grey
from demur.filters.motion import motion
from demur.filters.zoom import zoom
from demur.randomness import Keys
from demur.shapes import Images


@dataclass(frozen=True, kw_only=True)
class Snow:
    """Flakes that fall at an angle of each image's own, added twice, on a whitened image.

    A flake is where enlarged normal noise exceeds a threshold, smeared along its way. The parameter is (mean and
    deviation of the noise, enlargement, threshold, radius and deviation of the smear, share of the image that is not
    whitened). Hendrycks & Dietterich (2019), arXiv:1903.12261.
    """

    table: ClassVar[Mapping[int, tuple[tuple[float, ...], ...]]] = MappingProxyType(
        {
            32: (
                (0.1, 0.2, 1, 0.6, 8, 3, 0.95),
                (0.1, 0.2, 1, 0.5, 10, 4, 0.9),
                (0.15, 0.3, 1.75, 0.55, 10, 4, 0.9),
                (0.25, 0.3, 2.25, 0.6, 12, 6, 0.85),
                (0.3, 0.3, 1.25, 0.65, 14, 12, 0.8),
            ),
            64: (
                (0.1, 0.2, 1, 0.6, 8, 3, 0.8),
                (0.1, 0.2, 1, 0.5, 10, 4, 0.8),
                (0.15, 0.3, 1.75, 0.55, 10, 4, 0.7),
                (0.25, 0.3, 2.25, 0.6, 12, 6, 0.65),
                (0.3, 0.3, 1.25, 0.65, 14, 12, 0.6),
            ),
            224: (
                (0.1, 0.3, 3, 0.5, 10, 4, 0.8),
                (0.2, 0.3, 2, 0.5, 12, 4, 0.7),
                (0.55, 0.3, 4, 0.9, 12, 8, 0.7),
                (0.55, 0.3, 4.5, 0.85, 12, 8, 0.65),
                (0.55, 0.3, 2.5, 0.85, 12, 12, 0.55),
            ),
        }
    )
    sentence: ClassVar[str] = "Snow on images of which a share {value[6]:g} is not whitened"
    value: ClassVar[None] = None

    severity: int

    def __post_init__(self) -> None:
        check_severity("snow", self.severity)

    def __call__(self, x: Images, keys: Keys) -> Images:
        mean, deviation, factor, least, radius, sigma, kept = parameter(self, min(x.shape[2:]))
        noise = keys.normal(x[:, :1], "snow").mul_(deviation).add_(mean)
        flakes = torch.threshold_(zoom(noise, [factor]), least, 0).clamp_(0, 1)
        turns = keys.uniform(x[:, 0, 0, :1], "snow angle")[:, 0]
        falling = motion(flakes, radius=radius, sigma=sigma, degrees=90 * turns - 135)
        white = torch.maximum(x, grey(x).mul_(1.5).add_(0.5)).mul_(1 - kept).add_(x, alpha=kept)
        return white.add_(falling + falling.flip(2, 3)).clamp_(0, 1)
