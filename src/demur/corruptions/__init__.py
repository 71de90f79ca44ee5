"""Corruptions: a batch of images and a severity from 1 to 5 in, the corrupted batch out.

Parameters follow ImageNet-C and CIFAR-C (Hendrycks & Dietterich (2019), arXiv:1903.12261) at the nearest reference
size.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, TypeAlias

from demur.errors import InputError
from demur.randomness import Keys
from demur.shapes import Images

Parameter: TypeAlias = float | tuple[float, ...]
"""One number, or several that only make sense together."""


class Corruption(Protocol):
    """A frozen dataclass with a severity or, where one number says it all, a parameter `value` of one's own.

    `sentence` tells a reader what is done; `{value}` stands for the parameter, `{value[0]}` for the first of several.
    """

    sentence: ClassVar[str]

    @property
    def table(self) -> Mapping[int, tuple[Parameter, ...]]:
        """From a reference short side in pixels to the parameter at severities 1 to 5."""
        ...

    @property
    def severity(self) -> int | None:
        """1 (mild) to 5 (harsh)."""
        ...

    @property
    def value(self) -> float | None:
        """The parameter itself, instead of a severity; None where the parameter is several numbers."""
        ...

    def __call__(self, x: Images, keys: Keys) -> Images:
        """The corrupted images, in [0, 1]."""
        ...


def parameter(corruption: Corruption, short_side: int) -> Any:
    """The parameter: one's own, or the severity's at the reference size nearest to `short_side` pixels.

    A number, or a tuple of them; the corruption's own table says which.
    """
    if corruption.severity is None:
        assert corruption.value is not None
        return corruption.value
    nearest = min(corruption.table, key=lambda size: (abs(size - short_side), size))
    return corruption.table[nearest][corruption.severity - 1]


def check_strength(name: str, severity: int | None, value: float | None) -> None:
    """Refuse both or neither, a severity outside 1 to 5, a negative value."""
    if (severity is None) == (value is None):
        raise InputError(f"{name} takes either `severity`, from 1 to 5, or `value`, its parameter; give one of them.")
    if severity is not None:
        check_severity(name, severity)
    if value is not None and not 0 <= value < math.inf:
        raise InputError(f"{name}: `value` must be a number that is not negative; got {value!r}.")


def check_severity(name: str, severity: int) -> None:
    """Refuse a severity outside 1 to 5."""
    if severity not in {1, 2, 3, 4, 5}:
        raise InputError(f"{name}: `severity` must be 1, 2, 3, 4 or 5; got {severity!r}.")


def check_value(name: str, value: float | None, low: float, high: float) -> None:
    """Refuse a parameter of one's own outside its range."""
    if value is not None and not low <= value <= high:
        raise InputError(f"{name}: `value` must lie in [{low:g}, {high:g}]; got {value!r}.")
