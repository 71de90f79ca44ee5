"""Frost."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

import torch

from demur.corruptions import check_severity, parameter
from demur.corruptions.colour import grey
from demur.corruptions.frost_textures import textures
from demur.randomness import Keys
from demur.shapes import Images


@dataclass(frozen=True, kw_only=True)
class Frost:
    """A weighted sum of the image and of a random part of a random one of six textures.

    The parameter is (weight of the image, weight of the frost, scale of the texture). The textures are this project's
    own, procedural, in place of the photographs of the originals, so only the weights are theirs. The published images
    were made by code that never draws the sixth texture; `as_published` does not draw it either.
    Hendrycks & Dietterich (2019), arXiv:1903.12261.
    """

    table: ClassVar[Mapping[int, tuple[tuple[float, ...], ...]]] = MappingProxyType(
        {
            32: ((1.0, 0.2, 0.2), (1.0, 0.3, 0.2), (0.9, 0.4, 0.2), (0.85, 0.4, 0.2), (0.75, 0.45, 0.2)),
            64: ((1.0, 0.3, 0.3), (0.9, 0.4, 0.3), (0.8, 0.45, 0.3), (0.75, 0.5, 0.3), (0.7, 0.55, 0.3)),
            224: ((1.0, 0.4, 1.0), (0.8, 0.6, 1.0), (0.7, 0.7, 1.0), (0.65, 0.7, 1.0), (0.6, 0.75, 1.0)),
        }
    )
    sentence: ClassVar[str] = "Frost of weight {value[1]:g} on the image"
    value: ClassVar[None] = None

    severity: int
    as_published: bool = False

    def __post_init__(self) -> None:
        check_severity("frost", self.severity)

    def __call__(self, x: Images, keys: Keys) -> Images:
        height, width = x.shape[2:]
        kept, added, scale = parameter(self, min(height, width))
        known = textures(scale).to(x)
        side = known.shape[2]
        chance = keys.uniform(x.new_empty((len(x), 3)), "frost")
        sizes = torch.tensor([5 if self.as_published else 6, side, side])
        which, top, left = (chance.cpu() * sizes).long().unbind(dim=1)
        rows = ((top[:, None] + torch.arange(height)) % side).to(x.device)
        columns = ((left[:, None] + torch.arange(width)) % side).to(x.device)
        parts = zip(which.tolist(), rows, columns, strict=True)
        ice = torch.stack([known[one].index_select(1, down).index_select(2, right) for one, down, right in parts])
        return (kept * x + added * (ice if x.shape[1] == 3 else grey(ice))).clamp(0, 1)
