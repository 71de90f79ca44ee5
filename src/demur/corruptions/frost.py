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
        out = x * kept
        for row, one, down, right in zip(out, which.tolist(), top.tolist(), left.tolist(), strict=True):
            ice = _part(_part(known[one : one + 1], 2, down, height), 3, right, width)
            row.add_((ice if len(row) == 3 else grey(ice))[0], alpha=added)
        return out.clamp_(0, 1)


def _part(textures: Images, axis: int, first: int, count: int) -> Images:
    """`count` pixels from `first` on, along an axis that begins again at its end."""
    side = textures.shape[axis]
    pieces = [textures.narrow(axis, first, min(count, side - first))]
    while (missing := count - sum(piece.shape[axis] for piece in pieces)) > 0:
        pieces.append(textures.narrow(axis, 0, min(missing, side)))
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=axis)
