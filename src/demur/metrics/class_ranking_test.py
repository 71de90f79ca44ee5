"""Whether classes differ by more than noise."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from demur.errors import InputError
from demur.metrics.bootstrap import ENOUGH, Resampler
from demur.metrics.estimate import Estimate
from demur.metrics.quantiles import FEWEST
from demur.metrics.rank_correlation import rank_correlation
from demur.metrics.ranking import Floats

Codes = NDArray[np.intp]

PERMUTATIONS = 1999
SPLITS = 400
_CHUNK = 2**20


@dataclass(frozen=True, kw_only=True)
class RankingTest:
    """Kruskal and Wallis's `statistic` of `classes` with its `p_value`, and how far two halves of the images agree."""

    classes: int
    n: int
    statistic: float
    p_value: float
    halves: Estimate


def ranking_test(values: ArrayLike, labels: ArrayLike, groups: NDArray[Any] | None = None) -> RankingTest | None:
    """Whether classes rank as they do by more than noise; None where there are fewer than two classes.

    The statistic is H, corrected for ties: high when classes have different ranks, 0 where all values are equal. The
    order of the rows changes nothing, and the same rows give the same numbers always.
    Kruskal & Wallis (1952), "Use of ranks in one-criterion variance analysis".

    Args:
        values: one number per image, +∞ above a cap; equal ones share their middle rank.
        labels: the class of each image.
        groups: the unit of independence of each image.
    """
    rows, codes, units = _sorted(values, labels, groups)
    classes = int(codes.max(initial=-1)) + 1
    if classes < 2:
        return None
    ranks = rankdata(rows)
    generator = np.random.default_rng(_seed(ranks, codes))
    observed = float(_kruskal(ranks, codes[None], classes)[0])
    drawn = np.concatenate(
        [_kruskal(ranks, some, classes) for some in _shuffled(codes, units, generator, PERMUTATIONS)]
    )
    above = int((drawn >= observed - 1e-9 * max(1.0, observed)).sum())
    return RankingTest(
        classes=classes,
        n=len(rows),
        statistic=observed,
        p_value=(1 + above) / (1 + PERMUTATIONS),
        halves=_halves(rows, codes, units, generator),
    )


def _sorted(values: ArrayLike, labels: ArrayLike, groups: NDArray[Any] | None) -> tuple[Floats, Codes, Codes | None]:
    """Values, class numbers and group numbers in an order that does not depend on that of the rows."""
    rows, classes = np.asarray(values, np.float64), np.asarray(labels)
    if rows.ndim != 1 or rows.shape != classes.shape or np.isnan(rows).any():
        raise InputError(
            "`values` must be one number per label, +∞ above a cap and never NaN; got shapes "
            f"{rows.shape} and {classes.shape}, and NaN on {int(np.isnan(rows).sum())} rows."
        )
    codes = np.unique(classes, return_inverse=True)[1]
    units = None if groups is None else np.unique(groups, return_inverse=True)[1]
    order = np.lexsort((rows, codes) if units is None else (rows, codes, units))
    return rows[order], codes[order], None if units is None else units[order]


def _seed(ranks: Floats, codes: Codes) -> int:
    return int.from_bytes(hashlib.sha256(ranks.tobytes() + codes.astype(np.int64).tobytes()).digest()[:8], "little")


def _kruskal(ranks: Floats, codes: Codes, classes: int) -> Floats:
    """H under each row of class numbers, (draws, n) → (draws,)."""
    draws, n = codes.shape
    own = (codes + classes * np.arange(draws)[:, None]).ravel()
    sums = np.bincount(own, np.broadcast_to(ranks, codes.shape).ravel(), draws * classes).reshape(draws, classes)
    counts = np.bincount(own, minlength=draws * classes).reshape(draws, classes)
    between = (sums - counts * (n + 1) / 2) ** 2 / np.maximum(counts, 1)
    spread = float(((ranks - (n + 1) / 2) ** 2).sum())
    return np.asarray((n - 1) * between.sum(axis=1) / spread if spread else np.zeros(draws))


def _shuffled(
    codes: Codes, units: Codes | None, generator: np.random.Generator, draws: int
) -> Iterator[NDArray[np.intp]]:
    """Class numbers as they might have been were classes alike, in chunks of (some draws, n).

    Images change places; with groups, whole groups of one class change places with each other, and images of a group of
    several classes change places within it. Exact if groups of one class are alike up to their class, whatever else is
    shared within groups.
    """
    rows = max(1, _CHUNK // len(codes))
    for done in range(0, draws, rows):
        count = min(rows, draws - done)
        yield (_permuted(codes, generator, count) if units is None else _by_group(codes, units, generator, count))


def _permuted(codes: Codes, generator: np.random.Generator, draws: int) -> Codes:
    return np.asarray(generator.permuted(np.tile(codes, (draws, 1)), axis=1))


def _by_group(codes: Codes, units: Codes, generator: np.random.Generator, draws: int) -> Codes:
    """`units` ascend."""
    starts = np.flatnonzero(np.diff(units, prepend=-1))
    lowest, highest = np.minimum.reduceat(codes, starts), np.maximum.reduceat(codes, starts)
    pure = lowest == highest
    within = np.argsort(units + generator.random((draws, len(codes))), axis=1)
    drawn = codes[within]
    of_groups = np.tile(lowest, (draws, 1))
    of_groups[:, pure] = _permuted(lowest[pure], generator, draws)
    return np.where(pure[units], of_groups[:, units], drawn)


def _halves(rows: Floats, codes: Codes, units: Codes | None, generator: np.random.Generator) -> Estimate:
    """Spearman's ρ of the classes' medians in two random halves: the mean over splits, and where 95 % of them lie."""
    classes = int(codes.max()) + 1
    found = np.array([_split(rows, codes, _coin(codes, units, generator), classes) for _ in range(SPLITS)])
    resampler = Resampler(len(rows), units)
    defined = found[~np.isnan(found)]
    if len(defined) < ENOUGH * SPLITS:
        reason = "too few classes with images in both halves"
        return Estimate.undefined(reason, n=resampler.units, unit=resampler.unit)
    low, high = (float(end) for end in np.percentile(defined, [2.5, 97.5]))
    return Estimate(value=float(defined.mean()), low=low, high=high, n=resampler.units, unit=resampler.unit)


def _coin(codes: Codes, units: Codes | None, generator: np.random.Generator) -> Codes:
    """Which half each row is in: half of each class, or of the groups."""
    if units is not None:
        return np.asarray((generator.permutation(int(units.max()) + 1) % 2)[units])
    order = np.lexsort((generator.random(len(codes)), codes))
    turn = np.empty(len(codes), np.intp)
    turn[order] = np.arange(len(codes)) % 2
    return turn


def _split(rows: Floats, codes: Codes, half: Codes, classes: int) -> float:
    cells = 2 * codes + half
    order = np.lexsort((rows, cells))
    counts = np.bincount(cells, minlength=2 * classes)
    starts = counts.cumsum() - counts
    complete = (counts.reshape(-1, 2) > 0).all(axis=1)
    if complete.sum() < 2:
        return float("nan")
    middles = np.where(counts > 0, rows[order][np.minimum(starts + (counts - 1) // 2, len(rows) - 1)], np.nan)
    one, other = middles.reshape(-1, 2)[complete].T
    return float(rank_correlation(one, other))


def class_ranks(values: Sequence[float], counts: Sequence[int], *, largest: bool = False) -> list[int | None]:
    """Each class's place by its value, 1 for the smallest, or the largest; ties share the better place.

    None for classes of fewer than six units, which have no 95 % interval, for undefined values, and for one class
    alone.

    >>> class_ranks([0.2, 0.1, 0.1, 0.0], [9, 9, 9, 5]), class_ranks([0.2, 0.1], [9, 5])
    ([3, 1, 1, None], [None, None])
    """
    told = np.array([n >= FEWEST and not np.isnan(value) for value, n in zip(values, counts, strict=True)], bool)
    if told.sum() < 2:
        return [None] * len(told)
    signed = np.asarray(values, np.float64) * (-1 if largest else 1)
    places = np.zeros(len(told), np.intp)
    places[told] = rankdata(signed[told], method="min")
    return [int(place) or None for place in places]
