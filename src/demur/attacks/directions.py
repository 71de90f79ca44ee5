"""Which way a ray leaves an image: along the gradient, its sign, at random, or as a function of one's own says."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeAlias

import torch
from torch import Tensor

from demur.attacks.balls import length, spread, unit
from demur.attacks.by_path import check_path, function_at
from demur.attacks.walk import Norm
from demur.errors import InputError, unknown
from demur.randomness import Keys
from demur.shapes import Images, Labels

Way: TypeAlias = Callable[[Images, Labels, Images], Tensor]
"""(images, labels, gradient of the loss) → directions, of any length."""


@dataclass(frozen=True)
class Direction:
    """What a name stands for.

    `words` are for reports; a direction at random has no `way`, since it needs no gradient.
    """

    words: str
    way: Way | None


_NAMED: Mapping[str, Direction] = MappingProxyType(
    {
        "gradient": Direction("along the gradient of the loss", lambda x, y, gradient: gradient),  # noqa: ARG005 - a way takes all three
        "random": Direction("in a random direction", None),
        "sign": Direction("along the sign of the loss gradient", lambda x, y, gradient: gradient.sign()),  # noqa: ARG005 - as above
    }
)


def check_direction(name: str) -> None:
    """Refuse a name nobody knows that is no path of a function either."""
    if ":" in name:
        check_path("direction", name)
    elif name not in _NAMED:
        raise unknown("direction", name, [*_NAMED, "package.module:function"])


def direction_of(name: str) -> Direction:
    """What a name stands for; a path imports its module.

    Raises:
        AddressError: there is no such module.
        InputError: it has no such function.
    """
    return _NAMED[name] if name in _NAMED else Direction(words(name), function_at("direction", name))


def words(name: str) -> str:
    """The direction in words; nothing is imported."""
    return _NAMED[name].words if name in _NAMED else f"in the direction that {name} gives"


def pointed(name: str, way: Way, x: Images, y: Labels, gradient: Images) -> Images:
    """What a way says of some images.

    Raises:
        InputError: it is not one direction for each image.
    """
    found = torch.as_tensor(way(x, y, gradient)).detach()
    if found.shape != x.shape:
        raise InputError(
            f"the direction {name!r} must give one tensor of the images' own shape, {tuple(x.shape)}; it gave "
            f"{tuple(found.shape)}."
        )
    return found.to(x)


def at_random(x: Images, keys: Keys) -> Images:
    """Standard normal numbers: in L2, once of length one, every direction is as likely as any other."""
    return keys.normal(x, "direction")


def of_length_one(direction: Images, norm: Norm) -> Images:
    """Rows of length one in `norm`; zero rows stay zero."""
    if norm == "l2":
        return unit(direction)
    return direction / spread(length(direction, norm).clamp(min=torch.finfo(direction.dtype).tiny))
