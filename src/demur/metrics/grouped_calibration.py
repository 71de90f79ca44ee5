"""Calibration of rows that come in groups, from sums over groups, where no rows can be held."""

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from demur.metrics.binomial import proportion_of
from demur.metrics.calibration import ReliabilityBin, ece_of_unit_sums
from demur.metrics.calibration_sums import BINS, reliability_of
from demur.metrics.estimate import Estimate, counted
from demur.metrics.jackknife import FEWEST, Jackknife
from demur.metrics.ranking import Floats
from demur.metrics.unit_sums import UnitSums

_BLOCKS = 200


@dataclass(frozen=True, eq=False)
class BinLines:
    """Rows of the same group and bin added up, one number per line each; `units` are the groups by number from 0 on.

    `confidence`, `surprise` and `distance` are sums over the rows of a line, of which there are `n`, `right` of them
    right.
    """

    units: NDArray[np.intp]
    place: NDArray[np.intp]
    n: NDArray[np.int64]
    right: NDArray[np.int64]
    confidence: Floats
    surprise: Floats
    distance: Floats

    def by_unit(self, values: ArrayLike) -> Floats:
        """Sums of something over the lines of each group."""
        return np.bincount(self.units, np.asarray(values, np.float64)).astype(np.float64)

    def by_bin(self, values: ArrayLike) -> Floats:
        """Sums of something over the lines of each bin."""
        return np.bincount(self.place, np.asarray(values, np.float64), minlength=BINS).astype(np.float64)


@dataclass(frozen=True, eq=False)
class GroupedCalibration:
    """Sums over groups, by bin of the confidence, that add up over any parts of the groups.

    Attributes:
        n, right, confidence: rows, right answers and confidences of each bin (15,).
        units, within, cross, sizes: of each bin what `UnitSums` says of its right answers.
        noise: Σ s sᵀ over groups, s being right less confidence by bin (15, 15).
        tilt: Σ s·m, where m is how many rows a group has (15,).
        groups: how many groups there are, and Σ m² (2,).
        blocks: rows, Σ −log p of the true class and Σ of the squared distances, of up to 200 blocks of groups (any, 3).
    """

    n: Floats
    right: Floats
    confidence: Floats
    units: Floats
    within: Floats
    cross: Floats
    sizes: Floats
    noise: Floats
    tilt: Floats
    groups: Floats
    blocks: Floats

    @classmethod
    def empty(cls) -> "GroupedCalibration":
        """Of no rows."""
        shapes = {"noise": (BINS, BINS), "groups": (2,), "blocks": (0, 3)}
        return cls(**{each.name: np.zeros(shapes.get(each.name, (BINS,))) for each in fields(cls)})

    def plus(self, lines: BinLines) -> "GroupedCalibration":
        """Some more groups, all rows of each; what blocks are made of is told once, by `with_blocks`."""
        n, right, count = lines.n, lines.right, int(lines.units.max(initial=-1)) + 1
        spread = np.bincount(lines.units * BINS + lines.place, right - lines.confidence, minlength=count * BINS)
        surplus, held = spread.reshape(count, BINS), lines.by_unit(n)
        by_bin = (n, right, lines.confidence, np.ones(len(n)), right * right, right * n, n * n)
        more = [*map(lines.by_bin, by_bin), surplus.T @ surplus, surplus.T @ held, np.array([count, held @ held])]
        names = [name for name in self.arrays if name != "blocks"]
        return replace(self, **{name: self.arrays[name] + each for name, each in zip(names, more, strict=True)})

    def with_blocks(self, totals: Floats) -> "GroupedCalibration":
        """The same with blocks of groups, from what each group has of them (groups, 3), in an order that is random."""
        blocks = np.arange(len(totals)) % _BLOCKS
        return replace(self, blocks=np.stack([np.bincount(blocks, each) for each in totals.T], axis=1))

    @property
    def arrays(self) -> dict[str, Floats]:
        """The sums by name."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @property
    def ece(self) -> Estimate:
        """As `ece_interval`."""
        rows, count = max(1.0, self.n.sum()), int(self.groups[0])
        share, tilt = (self.right - self.confidence) / rows, self.tilt / rows**2
        crossed = np.outer(tilt, share)
        off = self.noise / rows**2 - crossed - crossed.T + self.groups[1] / rows**2 * np.outer(share, share)
        return ece_of_unit_sums(share, off * count / max(1, count - 1), count)

    @property
    def nll(self) -> Estimate:
        """The mean of −log p of the true class, in nats."""
        return self._mean(1)

    @property
    def brier(self) -> Estimate:
        """The mean squared distance of the probabilities to the truth."""
        return self._mean(2)

    def _mean(self, column: int) -> Estimate:
        """As `mean_interval`: the jackknife leaves out one block of groups after the other."""
        count, rows = int(self.groups[0]), self.blocks[:, 0]
        lack = f"no 95 % interval from {counted(count, 'group')}, only from {FEWEST}" if count < FEWEST else None
        jackknife = Jackknife(len(rows))
        found = jackknife.estimates(_ratio, self.blocks[:, column], rows, scales={"mean": "skew"}, reason=lack)["mean"]
        return replace(found, n=count, unit="group")

    @property
    def reliability(self) -> tuple[ReliabilityBin, ...]:
        """Confidence against accuracy, bin by bin."""
        return reliability_of(self.n, self.confidence, [proportion_of(self._sums(at)) for at in range(BINS)])

    def _sums(self, at: int) -> UnitSums:
        columns = (self.n, self.right, self.right, self.units, self.within, self.cross, self.sizes)
        return UnitSums(*(int(each[at]) for each in columns))


def _ratio(totals: Floats, rows: Floats, weights: Any = None) -> dict[str, Any]:
    if weights is None:
        return {"mean": totals.sum() / rows.sum() if len(rows) else math.nan}
    return {"mean": weights @ totals / (weights @ rows)}
