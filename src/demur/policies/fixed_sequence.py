"""Fixed-sequence testing: which thresholds are tested, in which order, and how far one gets."""

from dataclasses import dataclass

import numpy as np

from demur.metrics.binomial import p_value, power_start
from demur.policies.calibration import Calibration
from demur.policies.gaps import ACCEPT_ALL, Gaps

STEP = 0.02


@dataclass(frozen=True)
class Start:
    """Where a sequence begins, as a share of images answered, and the level of each of its tests."""

    coverage: float
    level: float


@dataclass(frozen=True)
class Sequence:
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
    answered: int
    wrong: int


def starts(m: int, risk: float, delta: float) -> tuple[Start, ...]:
    """The label-free rule: where to begin with `m` labels.

    n₀ answers pass with probability .9 if their true risk is a quarter of `risk`. One start, at n₀ answers and level δ,
    if 3·n₀ > m/2; else two, at n₀ and 3·n₀ answers and level δ/2 each, because one unlucky error among the surest
    answers ends the first. With fewer than n₀ labels full coverage is the only threshold tested.
    """
    first = power_start(risk, delta)
    answers = (first,) if 3 * first > m / 2 else (first, 3 * first)
    return tuple(Start(min(1.0, count / max(1, m)), delta / len(answers)) for count in answers)


def lay_out(gaps: Gaps, m: int, risk: float, delta: float) -> tuple[Sequence, ...]:
    """The sequences to test on `m` certify rows: coverage grows by 2 % of the tune rows up to full coverage.

    Sees the tune scores and the number of certify rows, nothing else, so each later binomial test is exact.
    """
    sequences = []
    for start in starts(m, risk, delta):
        steps = gaps.near(np.arange(start.coverage, 1, STEP))
        thresholds = np.unique(np.append(steps, ACCEPT_ALL)) if start.coverage < 1 else np.array([ACCEPT_ALL])
        sequences.append(Sequence(tuple(float(threshold) for threshold in thresholds), start.level))
    return tuple(sequences)


def climb(sequence: Sequence, certify: Calibration, risk: float) -> tuple[Passed | None, int]:
    """The laxest threshold reached without a failure, if any, and how many tests that took."""
    passed = None
    for tests, threshold in enumerate(sequence.thresholds, start=1):
        answered, wrong = certify.counts(threshold)
        if p_value(wrong, answered, risk) > sequence.level:
            return passed, tests
        passed = Passed(threshold, sequence.level, answered, wrong)
    return passed, len(sequence.thresholds)
