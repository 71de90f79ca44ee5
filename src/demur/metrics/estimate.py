"""A number with its interval, its count and the unit that was counted."""

import math
from dataclasses import dataclass
from typing import Literal

Unit = Literal["image", "group"]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A measured value between `low` and `high` (95 % unless said otherwise), from `n` units of independence.

    An undefined value is NaN and `reason` says why.
    """

    value: float
    low: float
    high: float
    n: int
    unit: Unit = "image"
    reason: str | None = None

    @classmethod
    def undefined(cls, reason: str, n: int = 0, unit: Unit = "image") -> "Estimate":
        """NaN with the reason why there is no number."""
        return cls(value=math.nan, low=math.nan, high=math.nan, n=n, unit=unit, reason=reason)


def counted(n: int, unit: Unit) -> str:
    """So many units of independence, in words.

    >>> counted(1, "image"), counted(1200, "group")
    ('1 image', '1,200 groups')
    """
    return f"{n:,} {unit}{'' if n == 1 else 's'}"
