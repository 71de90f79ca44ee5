"""The share of wrong answers by the means of whole groups, or of weighted images, tested by betting."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from demur.errors import InputError
from demur.metrics.binomial import power_start, proportion
from demur.metrics.units import unit_codes
from demur.policies.betting import Stakes
from demur.policies.certificate import Pool, Weighting
from demur.policies.fixed_sequence import ACCEPT_ALL, STEP, Calibration, Start, ThresholdGrid

ENOUGH = 1.5
"""Groups, as a multiple of n₀, from which betting on their means answers more than one image of each does."""

LARGE = 3
"""Images of the median group from which its mean says more than one of them."""

_FIRST, _LATEST, _PART = 0.7, 1.5, 1 / 3


@dataclass(frozen=True)
class Bet:
    """Where a climb by betting ended: the laxest threshold that passed, None if none did.

    Attributes:
        threshold: in the score's unit.
        level: of the tests of its sequence.
        stakes: of the certify rows.
        grid: how many thresholds there were to test.
        tests: how many were tested.
    """

    threshold: float | None
    level: float
    stakes: Stakes
    grid: int
    tests: int


def betting_applies(certify: Calibration, risk: float, level: float) -> bool:
    """Whether whole groups are bet on: at least 1.5·n₀ of them, of which the median one has three images or more.

    Sees groups, never labels or scores. Below, one image of each group and the exact binomial tail answer more.
    """
    if certify.groups is None or not len(certify):
        return False
    sizes = np.bincount(unit_codes(certify.groups)[1])
    return len(sizes) >= ENOUGH * power_start(risk, level) and float(np.median(sizes)) >= LARGE


def stakes(certify: Calibration, largest_group: int | None = None) -> Stakes:
    """What each row stakes: an equal share of its group, or 1 in `largest_group`, times its weight.

    Rows within their tolerance count against the guarantee: wrong ones from where they may be answered, right ones from
    where they surely are.

    Raises:
        InputError: a group has more rows than `largest_group`.
    """
    groups = np.arange(len(certify)) if certify.groups is None else np.asarray(certify.groups)
    names, units = unit_codes(groups)
    sizes = np.bincount(units)
    if largest_group is not None and sizes.max(initial=0) > largest_group:
        raise InputError(
            f"`largest_group` must be fixed beforehand and hold for every group; it is {largest_group}, and the group "
            f"{str(names[np.argmax(sizes)])!r} has {sizes.max()} images. Name a larger one for fresh images."
        )
    shares = 1 / sizes[units] if largest_group is None else np.full(len(units), 1 / largest_group)
    weights = 1.0 if certify.weights is None else certify.weights
    perhaps, surely = certify.reach
    return Stakes(
        ends=np.where(certify.wrong, perhaps, surely),
        wrong=np.asarray(certify.wrong, bool),
        units=units,
        shares=shares * weights,
        count=len(names),
    )


def bet_starts(size: float, risk: float, level: float) -> tuple[Start, ...]:
    """Where to begin with the weight of so many full units: at a third of it, but within .7·n₀ and 1.5·n₀.

    From 9·n₀ on a second sequence begins at three times that, each at half the level. Follows from the sizes alone.
    """
    enough = power_start(risk, level)
    first = min(_LATEST * enough, max(_FIRST * enough, _PART * size))
    answers = (first, 3 * first) if 3 * first <= size / 2 else (first,)
    return tuple(Start(min(1.0, count / max(size, 1e-9)), level / len(answers)) for count in answers)


def climb_by_betting(
    tune: Calibration, certify: Calibration, risk: float, level: float, largest_group: int | None = None
) -> Bet:
    """The laxest threshold whose risk is rejected to be above `risk`, in sequences fixed before labels are read.

    A threshold passes if its e-value reaches 1/level. Raises InputError as `stakes` does.
    """
    staked, grid = stakes(certify, largest_group), ThresholdGrid.of(tune.scores)
    best, level_of_best, tests = None, level, 0
    thresholds = set[float]()
    for start in bet_starts(staked.size, risk, level):
        steps = np.unique(np.append(grid.near(np.arange(start.coverage, 1, STEP)), ACCEPT_ALL))
        passed = staked.log_e_values(steps, risk) >= -math.log(start.level)
        count = len(steps) if passed.all() else int(np.argmin(passed))
        thresholds |= set(steps.tolist())
        tests += min(count + 1, len(steps))
        if count and (best is None or steps[count - 1] > best):
            best, level_of_best = float(steps[count - 1]), start.level
    return Bet(best, level_of_best, staked, len(thresholds), tests)


def pooled(
    threshold: float, level: float, certify: Calibration, staked: Stakes, weighting: Weighting
) -> dict[str, Any]:
    """What a certificate says of a threshold and of the rows that were bet on at a level."""
    counts, answered = certify.counts(threshold), certify.scores <= threshold
    groups = None if certify.groups is None else np.asarray(certify.groups)[answered]
    plain = proportion(certify.wrong[answered], groups)
    return {
        "threshold": threshold,
        "level": level,
        "m": staked.count,
        "answered": counts.answered,
        "wrong": counts.wrong,
        "near": counts.near,
        "tolerance": certify.tolerance,
        "bound": staked.bound(threshold, level),
        "unit": certify.unit,
        "pool": Pool(weighting=weighting, images=len(certify), image_risk=(plain.value, plain.low, plain.high)),
    }
