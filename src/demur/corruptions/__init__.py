"""Corruptions: a batch of images and a severity from 1 to 5 in, the corrupted batch out.

Parameters follow ImageNet-C and CIFAR-C (Hendrycks & Dietterich (2019), arXiv:1903.12261) at the nearest reference
size.
"""

import math
from collections.abc import Mapping
from typing import ClassVar, Protocol

from demur.errors import InputError
from demur.randomness import Keys
from demur.shapes import Images


class Corruption(Protocol):
    """A frozen dataclass with a severity or a parameter `value` of one's own.

    `table` maps a reference short side in pixels to the parameter's values at severities 1 to 5.

    `sentence` tells a reader what is done; `{value}` stands for the parameter.
    """

    table: ClassVar[Mapping[int, tuple[float, ...]]]
    sentence: ClassVar[str]

    @property
    def severity(self) -> int | None:
        """1 (mild) to 5 (harsh)."""
        ...

    @property
    def value(self) -> float | None:
        """The parameter itself, instead of a severity."""
        ...

    def __call__(self, x: Images, keys: Keys) -> Images:
        """The corrupted images, in [0, 1]."""
        ...


def parameter(corruption: Corruption, short_side: int) -> float:
    """The parameter's value: one's own, or the severity's at the reference size nearest to `short_side` pixels."""
    if corruption.severity is None:
        assert corruption.value is not None
        return corruption.value
    nearest = min(corruption.table, key=lambda size: (abs(size - short_side), size))
    return corruption.table[nearest][corruption.severity - 1]


def check_strength(name: str, severity: int | None, value: float | None) -> None:
    """Refuse both or neither, a severity outside 1 to 5, a negative value."""
    if (severity is None) == (value is None):
        raise InputError(f"{name} takes either `severity`, from 1 to 5, or `value`, its parameter; give one of them.")
    if severity is not None and severity not in {1, 2, 3, 4, 5}:
        raise InputError(f"{name}: `severity` must be 1, 2, 3, 4 or 5; got {severity!r}.")
    if value is not None and not 0 <= value < math.inf:
        raise InputError(f"{name}: `value` must be a number that is not negative; got {value!r}.")
