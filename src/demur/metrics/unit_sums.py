"""What a mean over rows that come in groups, and its variance, are made of: a few sums over groups."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import stdtrit

from demur.metrics.units import unit_codes


@dataclass(frozen=True)
class UnitSums:
    """Sums over the groups of some rows, each with a whole number such as a flag or a sign.

    Whole numbers add up exactly, so whoever counted them, in whatever order and parts, is told the same to the digit.

    Attributes:
        n: rows.
        total: the sum of their numbers.
        squares: the sum of the squares of their numbers.
        units: groups.
        within: Σ t² over groups, where t is the sum of the numbers of a group.
        cross: Σ t·m over groups, where m is how many rows a group has.
        sizes: Σ m² over groups.
    """

    n: int
    total: int
    squares: int
    units: int
    within: int
    cross: int
    sizes: int

    @classmethod
    def of(cls, values: ArrayLike, groups: NDArray[Any]) -> "UnitSums":
        """The sums of rows, with the name of the group of each.

        Raises:
            ValueError: a number is not whole.
        """
        rows, codes = np.asarray(values).astype(np.int64), unit_codes(groups)[1]
        if (rows != values).any():
            raise ValueError("sums over groups are of whole numbers; got others")
        held = np.bincount(codes)
        totals = np.rint(np.bincount(codes, weights=rows, minlength=len(held))).astype(np.int64)
        products = (totals @ totals, totals @ held, held @ held)
        return cls(len(rows), int(rows.sum()), int(rows @ rows), len(held), *map(int, products))

    @classmethod
    def of_singles(cls, flagged: int, n: int) -> "UnitSums":
        """The sums of rows each of which is a group by itself."""
        return cls(n, flagged, flagged, n, flagged, flagged, n)

    @property
    def effective_size(self) -> float:
        """As `binomial.effective_size`."""
        n, units, total = self.n, self.units, self.total
        if units < 2 or n * self.squares == total**2:
            return units
        spread = self.squares / n - (total / n) ** 2
        off = n**2 * self.within - 2 * n * total * self.cross + total**2 * self.sizes  # n² Σ (t − mean·m)²
        variance = units / (units - 1) * (off / n**4)
        effective = spread / variance if variance > 0 else float(units)
        few = (stdtrit(n - 1, 0.975) / stdtrit(units - 1, 0.975)) ** 2
        return min(float(n), effective * float(few))
