"""Fixed-sequence testing of thresholds that stand between neighbouring scores."""

import sys
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import bdtrc

from demur.errors import InputError
from demur.metrics.binomial import labels_without_error, p_value, power_start
from demur.metrics.estimate import Unit
from demur.metrics.ranking import nearest
from demur.metrics.units import id_hashes, unit_codes
from demur.policies.policy import Flags, Floats
from demur.policies.tolerance import EXACT, Tolerance


class Counts(NamedTuple):
    """What a threshold does to labelled rows, as it counts in a test.

    Attributes:
        answered: surely answered and right, or perhaps answered and wrong.
        wrong: perhaps answered and wrong.
        near: within their tolerance of the threshold, so that they may be decided either way.
    """

    answered: int
    wrong: int
    near: int


@dataclass(frozen=True, eq=False)
class Calibration:
    """Scores of one signal (higher = more uncertainty) with what was wrong; `groups` names each row's independent unit.

    `ids` (sample ids) decide which row stands for its group; without them it is the first one. `tolerance` is how far a
    score may move when its image is asked again. `weights` are shares, in [0, 1], of the largest weight there can be,
    which was fixed before the rows were drawn.
    """

    scores: Floats
    wrong: Flags
    groups: NDArray[Any] | None = None
    ids: Sequence[str] | None = None
    tolerance: Tolerance = EXACT
    weights: Floats | None = None

    def __post_init__(self) -> None:
        rows_of = {"wrong": self.wrong, "groups": self.groups, "ids": self.ids, "weights": self.weights}
        for name, rows in rows_of.items():
            if rows is not None and len(rows) != len(self.scores):
                raise InputError(f"`{name}` must have one entry per score; got {len(rows)} for {len(self.scores)}.")
        undefined = int(np.isnan(self.scores).sum())
        if undefined:
            raise InputError(
                f"a guarantee needs a score on every row; got NaN on {undefined} of {len(self.scores)}. "
                "Choose a signal that is defined everywhere, or leave these rows out and say so."
            )
        if self.weights is not None and not ((self.weights >= 0) & (self.weights <= 1)).all():
            raise InputError(
                "weights are shares of the largest weight, in [0, 1]; got "
                f"{np.min(self.weights):g} to {np.max(self.weights):g}. Divide by a bound fixed before rows were drawn."
            )

    def __len__(self) -> int:
        return len(self.scores)

    @property
    def unit(self) -> Unit:
        """What counts as one independent observation."""
        return "image" if self.groups is None else "group"

    def one_per_group(self) -> "Calibration":
        """One row of each group, so that rows are independent: the one whose id has the smallest hash.

        The choice sees neither labels nor scores. Itself where there are no groups.
        """
        if self.groups is None:
            return self
        names, codes = unit_codes(self.groups)
        order = np.arange(len(self)) if self.ids is None else np.argsort(id_hashes(self.ids), kind="stable")
        chosen = np.empty(len(names), np.intp)
        chosen[codes[order[::-1]]] = order[::-1]  # of what is written to one place the last stays, the smallest hash
        return self.rows(chosen)

    def rows(self, places: NDArray[Any]) -> "Calibration":
        """Some of the rows, by their places or by one flag per row."""
        kept = np.arange(len(self))[places]
        groups, weights = (None if each is None else np.asarray(each)[kept] for each in (self.groups, self.weights))
        ids = None if self.ids is None else [self.ids[row] for row in kept]
        return Calibration(self.scores[kept], self.wrong[kept], groups, ids, self.tolerance, weights)

    def surely_answered(self, threshold: float) -> int:
        """How many rows a threshold answers however they are asked again: those near it do not count."""
        return int(np.searchsorted(self._ends[2], threshold, side="right"))

    def counts(self, threshold: float) -> Counts:
        """What a threshold answers, each row within its tolerance of it counted against: wrong ones only as answered.

        So whatever such rows turn into when they are asked again, a risk shown here is at most that high.
        """
        right, wrong, surely, perhaps = (int(np.searchsorted(ends, threshold, side="right")) for ends in self._ends)
        return Counts(right + wrong, wrong, perhaps - surely)

    @cached_property
    def reach(self) -> tuple[Floats, Floats]:
        """The smallest threshold that may answer each row, and the smallest that surely does, both (rows,)."""
        width = self.tolerance.of(self.scores)
        return self.scores - width, self.scores + width

    @cached_property
    def _ends(self) -> tuple[Floats, ...]:
        """Upper ends of right rows, lower ends of wrong ones, upper and lower ends of all rows, each ascending."""
        low, high = self.reach
        wrong = np.asarray(self.wrong, bool)
        return tuple(np.sort(ends) for ends in (high[~wrong], low[wrong], high, low))


ACCEPT_ALL = sys.float_info.max
"""The threshold of full coverage: every finite uncertainty is accepted. Finite itself, so that it survives JSON."""


@dataclass(frozen=True, eq=False)
class ThresholdGrid:
    """Every threshold that tells some scores of a sample apart, ascending; the last one accepts everything.

    One stands in the middle between two neighbouring scores that differ, whatever their distance, with the share of the
    scores at or below it. How far scores may move is no matter of where thresholds stand, but of how they are tested.
    """

    thresholds: Floats
    coverages: Floats

    @classmethod
    def of(cls, scores: ArrayLike) -> "ThresholdGrid":
        """The thresholds of a sample of scores."""
        ordered = np.sort(np.asarray(scores, np.float64))
        ordered = ordered[np.isfinite(ordered)]
        usable = np.flatnonzero(ordered[:-1] < ordered[1:])
        low, high = ordered[usable], ordered[usable + 1]
        middle = low / 2 + high / 2
        return cls(
            thresholds=np.append(np.where((low < middle) & (middle < high), middle, low), ACCEPT_ALL),
            coverages=np.append((usable + 1) / max(1, np.size(scores)), 1.0),
        )

    def near(self, coverages: ArrayLike) -> Floats:
        """The threshold whose coverage is closest to each of `coverages`, the lower one on a tie."""
        return self.thresholds[nearest(self.coverages, np.asarray(coverages, np.float64))]


def threshold_near(scores: ArrayLike, coverage: float) -> float:
    """The threshold that accepts about `coverage` of `scores`."""
    return float(ThresholdGrid.of(scores).near(coverage))


STEP = 0.005
CHANCE = 0.9


@dataclass(frozen=True)
class Start:
    """Where a sequence begins, as a share of images answered, and the level of each of its tests."""

    coverage: float
    level: float


@dataclass(frozen=True)
class ThresholdSequence:
    """Thresholds to test from strict to lax, each at `level`, until one fails.

    Because testing stops at the first failure, the chance of ever passing a threshold whose risk is too high is at most
    `level`, however many are tested.
    """

    thresholds: tuple[float, ...]
    level: float


@dataclass(frozen=True)
class Passed:
    """A threshold that passed its test: the last before the first failure."""

    threshold: float
    level: float
    counts: Counts


def starts(m: int, risk: float, level: float) -> tuple[Start, ...]:
    """The label-free rule: where to begin with `m` labels, at a `level` that all tests have together.

    n₀ answers pass with probability .9 if their true risk is a quarter of `risk`. With m ≥ 6·n₀ there are two starts,
    at n₀ and 3·n₀ answers and half the level each, because one unlucky error among the surest answers ends the first.
    Below there is one, at n₀ answers, and below m = 5/3·n₀ at seven answers fewer for every ten labels fewer, because
    the whole of few labels is rarely pure enough; never at so few that not even a faultless model passes. With fewer
    labels than that needs, full coverage is the only threshold tested. Follows from m, risk and level alone; measured
    in `benchmarks/certificates.py`.
    """
    first = power_start(risk, level)
    if 6 * first <= m:
        return tuple(Start(count / m, level / 2) for count in (first, 3 * first))
    answers = max(min(first, 0.7 * m - first / 6), fewest_answers(m, labels_without_error(risk, level)))
    return (Start(answers / m if answers < m else 1.0, level),)


def labels_by_guess(risk: float, level: float) -> int:
    """The labels at which the one start is at n₀ answers: what to ask for where nothing is known of the model."""
    return -(-5 * power_start(risk, level) // 3)


def fewest_answers(m: int, faultless: int) -> int:
    """Where to begin at the least, so that nine times in ten `faultless` of `m` rows are answered; `m` if none does.

    A threshold that answers a share of the tune rows answers a little more or less of the certify rows.
    """
    counts = range(faultless, m)
    return faultless + bisect_left(counts, CHANCE, key=lambda n: bdtrc(faultless - 1, m, n / m)) if counts else m


def lay_out(grid: ThresholdGrid, m: int, risk: float, level: float) -> tuple[ThresholdSequence, ...]:
    """The sequences to test on `m` certify rows: coverage grows by .5 % of the tune rows up to full coverage.

    Sees the tune scores and the number of certify rows, nothing else, so each later binomial test is exact.
    """
    return tuple(sequence_from(grid, start) for start in starts(m, risk, level))


def sequence_from(grid: ThresholdGrid, start: Start) -> ThresholdSequence:
    """The thresholds from a start on, to full coverage."""
    steps = grid.near(np.arange(start.coverage, 1, STEP))
    thresholds = np.unique(np.append(steps, ACCEPT_ALL)) if start.coverage < 1 else np.array([ACCEPT_ALL])
    return ThresholdSequence(tuple(float(threshold) for threshold in thresholds), start.level)


def fixed_sequence(sequence: ThresholdSequence, certify: Calibration, risk: float) -> tuple[Passed | None, int]:
    """The laxest threshold reached without a failure, if any, and how many tests that took."""
    passed = None
    for tests, threshold in enumerate(sequence.thresholds, start=1):
        counts = certify.counts(threshold)
        if p_value(counts.wrong, counts.answered, risk) > sequence.level:
            return passed, tests
        passed = Passed(threshold, sequence.level, counts)
    return passed, len(sequence.thresholds)
