"""Corruptions: a batch of images and a severity from 1 to 5 in, the corrupted batch out.

Parameters follow ImageNet-C and CIFAR-C (Hendrycks & Dietterich (2019), arXiv:1903.12261) at the nearest reference
size.
"""

from collections.abc import Mapping
from typing import ClassVar, Protocol

from demur.errors import InputError
from demur.randomness import Keys
from demur.shapes import Images


class Corruption(Protocol):
    """A frozen dataclass with a severity; `table` maps a reference short side in pixels to five parameter values.

    `sentence` tells a reader what is done; `{value}` stands for the parameter.
    """

    table: ClassVar[Mapping[int, tuple[float, ...]]]
    sentence: ClassVar[str]

    @property
    def severity(self) -> int:
        """1 (mild) to 5 (harsh)."""
        ...

    def __call__(self, x: Images, keys: Keys) -> Images:
        """The corrupted images, in [0, 1]."""
        ...


def parameter(corruption: Corruption, short_side: int) -> float:
    """The parameter value of a corruption's severity at the reference size nearest to `short_side` pixels."""
    nearest = min(corruption.table, key=lambda size: (abs(size - short_side), size))
    return corruption.table[nearest][corruption.severity - 1]


def check_severity(severity: int) -> None:
    """Refuse a severity outside 1 to 5."""
    if severity not in {1, 2, 3, 4, 5}:
        raise InputError(f"`severity` must be 1, 2, 3, 4 or 5; got {severity!r}.")
