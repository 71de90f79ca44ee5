"""The certified threshold: a bound on the share of wrong answers among the answered, or why none can be given."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demur.errors import InputError
from demur.metrics.binomial import (
    check_levels,
    labels_without_error,
    power,
    power_start,
    risk_lower_bound,
    risk_upper_bound,
)
from demur.metrics.delong import Kinds
from demur.metrics.units import unit_codes
from demur.policies.certificate import Certificate, Refusal, Weighting
from demur.policies.coverage_bound import bound_coverage
from demur.policies.fixed_sequence import (
    CHANCE,
    STEP,
    Calibration,
    Passed,
    Start,
    ThresholdGrid,
    ThresholdSequence,
    fixed_sequence,
    labels_by_guess,
    lay_out,
    starts,
)
from demur.policies.group_means import betting_applies, climb_by_betting, pooled
from demur.policies.look import Look
from demur.policies.policy import Flags, Scores, column
from demur.policies.second_threshold import BUDGET, Purpose, check_second, refuse_alone
from demur.registry import Call

GROWTH = 1.05
_LEVEL = 0.05


def refuse(tune: Calibration, certify: Calibration, risk: float, delta: float, look: Look) -> Refusal:
    """Say whether labels are missing or the model is too weak.

    Too few labels: fewer than even a faultless model needs, or some larger number exists at which the next look would
    pass with probability ≥ .9 were the risks those seen so far, or the labels cannot tell. Too weak: at every coverage
    wide enough to judge the risk is shown to lie above the target, one-sided at 95 %. Once nothing is guaranteed all
    labels may be read, so tune and certify rows are taken together: an early failure on the certify rows then speaks
    against the model.
    """
    seen, level = _together(tune, certify), look.next.risk_level(delta)
    least = labels_without_error(risk, look.risk_level(delta))
    needed = _labels_needed(seen, len(certify) + 1, least, risk, level)
    counts = _counts(seen, least)
    if needed is None and len(certify) < least:
        needed = _round_up(labels_by_guess(risk, level))
    weak = needed is None and all(risk_lower_bound(wrong, answered, _LEVEL) > risk for answered, wrong in counts)
    lowest = min((wrong / answered for answered, wrong in counts), default=math.nan)
    return Refusal(
        reason="model_too_weak" if weak else "too_few_labels",
        risk=risk,
        delta=delta,
        labels_given=len(certify),
        labels_needed=needed,
        lowest_risk=lowest,
        unit=certify.unit,
        sentence=_of_groups(tune, certify, look.risk_level(delta))
        + _sentence(certify, needed, lowest, risk, weak=weak),
        look=look,
    )


def _together(tune: Calibration, certify: Calibration) -> Calibration:
    scores, wrong = np.append(tune.scores, certify.scores), np.append(tune.wrong, certify.wrong)
    return Calibration(scores, wrong, tolerance=certify.tolerance)


def _labels_needed(seen: Calibration, more: int, fewest: int, risk: float, level: float) -> int | None:
    """The smallest number of certify rows, in steps of 5 %, at which one of the starts would pass nine times in ten.

    A risk seen on fewer answers than `fewest` says too little to build on.
    """
    grid = ThresholdGrid.of(seen.scores)
    m, most = float(max(more, labels_without_error(risk, level))), 3 * power_start(risk, level) * len(seen) / fewest
    while m <= most:
        chances = (_chance(seen, grid, start, int(m), risk, fewest) for start in starts(int(m), risk, level))
        if max(chances) >= CHANCE:
            return _round_up(int(m))
        m *= GROWTH
    return None


def _chance(seen: Calibration, grid: ThresholdGrid, start: Start, m: int, risk: float, fewest: int) -> float:
    """The chance that the first test of a sequence passes, 0 where too few answers were seen to guess its risk."""
    counts = seen.counts(float(grid.near(start.coverage)))
    if counts.answered < fewest:
        return 0.0
    return power(round(m * counts.answered / len(seen)), risk, start.level, counts.wrong / counts.answered)


def _counts(seen: Calibration, fewest: int) -> list[tuple[int, int]]:
    """How many are answered and how many of these are wrong, at every coverage of at least `fewest` answers."""
    coverages = np.append(np.arange(min(1.0, fewest / max(1, len(seen))), 1, STEP), 1.0)
    counts = [seen.counts(float(threshold)) for threshold in ThresholdGrid.of(seen.scores).near(coverages)]
    return [(each.answered, each.wrong) for each in counts if each.answered]


def _round_up(count: int) -> int:
    """Two significant digits: more would be pretended."""
    unit = 10 ** max(0, len(str(count)) - 2)
    return -(-count // unit) * unit


def _sentence(certify: Calibration, needed: int | None, lowest: float, risk: float, *, weak: bool) -> str:
    opening = f"No threshold can be guaranteed to keep wrong answers at or below {_percent(risk)}: "
    units = f"labelled {certify.unit}s"
    if needed is not None:
        return (
            f"{opening}{len(certify):,} {units} are too few; about {needed:,} would be needed at the next look, which "
            "has less of the confidence to spend."
        )
    if math.isnan(lowest):
        return f"{opening}its score is infinite on every one of {len(certify):,} {units}."
    if not weak:
        return f"{opening}{len(certify):,} {units} are too few to tell whether it could; more are needed to tell."
    return f"{opening}at every threshold more are wrong, {_percent(lowest)} at best, and more {units} would not help."


def _of_groups(tune: Calibration, certify: Calibration, level: float) -> str:
    """The smallest risk that so many groups could prove, which no better model changes; nothing where images count."""
    if tune.groups is None or certify.groups is None:
        return ""
    names, count = unit_codes(np.append(tune.groups, certify.groups))[0], len(certify)
    if len(names) == 1:
        return f"{one_group(str(names[0]))} "
    if not count:
        return ""
    return f"The smallest risk that {count:,} groups can prove is {_percent(1 - level ** (1 / count))}. "


def one_group(name: str) -> str:
    """Why nothing can be shown where the group tells no images apart."""
    return (
        f"All labelled images have one and the same group, {name!r}, and so are one independent observation; if the "
        "group is not what makes images alike, leave it out."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"


@dataclass(frozen=True, kw_only=True)
class Certified:
    """The laxest threshold of which it can be shown that at most `risk` of its answers are wrong.

    The guarantee fails with probability at most `delta` over the draw of the certify rows of all looks. Thresholds are
    tested by exact binomial tails in a sequence fixed before any certify label is read (`fixed_sequence`), or nothing
    is guaranteed. Angelopoulos et al. (2021), arXiv:2110.01052 (fixed-sequence testing of a risk).

    Where groups are many and large all of their images take part, by betting on the means of groups, and weighted
    images by betting on them; of fewer or smaller groups one image of each. `largest_group` asks for a guarantee in
    which each image counts equally instead of each group, and is the largest number of images a group can have, fixed
    beforehand. Waudby-Smith & Ramdas (2024), arXiv:2010.09686.

    With a `second` signal, of `purpose` "attack", "shift" or "unknown", an image is answered only where that one is low
    too: its threshold withholds at most `budget` of the right tune answers, and what is guaranteed is of answers that
    pass both (`certify_pair`).
    """

    risk: float = 0.02
    delta: float = 0.05
    largest_group: int | None = None
    second: Call | None = None
    budget: float = BUDGET
    purpose: Purpose = "attack"

    def __post_init__(self) -> None:
        check_levels(self.risk, self.delta)
        if self.largest_group is not None and self.largest_group < 1:
            raise InputError(
                f"`largest_group` is the number of images of the largest group there can be; got {self.largest_group}."
            )
        check_second(self.second, self.budget, self.purpose)

    def plan(self, tune: Calibration, m: int, look: Look = Look()) -> tuple[ThresholdSequence, ...]:  # noqa: B008 - frozen
        """The thresholds that `m` certify units will be tested at, in order; no label is read."""
        return lay_out(ThresholdGrid.of(tune.one_per_group().scores), m, self.risk, look.risk_level(self.delta))

    def fit(
        self,
        tune: Calibration,
        certify: Calibration,
        look: Look = Look(),  # noqa: B008 - frozen
        unlabelled: Calibration | None = None,
    ) -> Certificate | Refusal:
        """A guarantee from two disjoint sets of rows, or a refusal.

        The signal and everything else must have been chosen without the certify rows.

        Args:
            tune: rows that place the thresholds.
            certify: rows that test them.
            look: which look at these labels this is; it says what of `delta` there is to spend.
            unlabelled: rows that chose nothing and whose flags are not read; their scores bound the coverage.

        Raises:
            InputError: there are no tune rows, or a second signal is named, whose scores are not here.
        """
        refuse_alone(self.second)
        if not len(tune):
            raise InputError(
                "a certified threshold needs readable tune rows to place its grid; there are none. Give more images, "
                "or call some of them `tune` or `val` in your split."
            )
        weighting = self._weighting(certify, look)
        if weighting is not None:
            return self._bet(tune, certify, (look, unlabelled), weighting)
        tune, certify = tune.one_per_group(), certify.one_per_group()
        sequences = self.plan(tune, len(certify), look)
        climbed = [fixed_sequence(sequence, certify, self.risk) for sequence in sequences]
        reached = [passed for passed, _ in climbed if passed is not None]
        if not reached:
            return refuse(tune, certify, self.risk, self.delta, look)
        best = max(reached, key=lambda passed: passed.threshold)
        bare = None if unlabelled is None else unlabelled.one_per_group()
        grid = len({threshold for sequence in sequences for threshold in sequence.thresholds})
        return Certificate(
            risk=self.risk,
            delta=self.delta,
            **_of_rows(best, certify),
            grid=grid,
            tests=sum(tests for _, tests in climbed),
            procedure=_procedure(sequences),
            look=look,
            coverage=bound_coverage(best.threshold, look.coverage_level(self.delta), certify, grid, bare),
        )

    def _weighting(self, certify: Calibration, look: Look) -> Weighting | None:
        """What counts equally where bets are made; None for the exact binomial tail. Sees no label."""
        if certify.weights is not None:
            return "weight"
        if certify.groups is not None and self.largest_group is not None:
            return "image"
        return "group" if betting_applies(certify, self.risk, look.risk_level(self.delta)) else None

    def _bet(
        self,
        tune: Calibration,
        certify: Calibration,
        rest: tuple[Look, Calibration | None],
        weighting: Weighting,
    ) -> Certificate | Refusal:
        look, unlabelled = rest
        bet = climb_by_betting(tune, certify, self.risk, look.risk_level(self.delta), self.largest_group)
        singles, bare = certify.one_per_group(), None if unlabelled is None else unlabelled.one_per_group()
        if bet.threshold is None:
            return refuse(tune.one_per_group(), singles, self.risk, self.delta, look)
        return Certificate(
            risk=self.risk,
            delta=self.delta,
            **pooled(bet.threshold, bet.level, certify, bet.stakes, weighting),
            grid=bet.grid,
            tests=bet.tests,
            procedure=(
                "fixed-sequence testing by betting, the e-values of three fixed bets averaged; thresholds .5 % of the "
                f"tune rows apart, each at level {bet.level:g}; exact bound on coverage"
            ),
            look=look,
            coverage=bound_coverage(bet.threshold, look.coverage_level(self.delta), singles, bet.grid, bare),
        )


def _of_rows(best: Passed, certify: Calibration) -> dict[str, Any]:
    """What a certificate says of the threshold that passed and of the rows it passed on."""
    return {
        "threshold": best.threshold,
        "level": best.level,
        "m": len(certify),
        "answered": best.counts.answered,
        "wrong": best.counts.wrong,
        "near": best.counts.near,
        "tolerance": certify.tolerance,
        "bound": risk_upper_bound(best.counts.wrong, best.counts.answered, best.level),
        "unit": certify.unit,
    }


PROCEDURE = (
    "fixed-sequence testing by exact binomial tails; thresholds .5 % of the tune rows apart; one or two label-free "
    "starts; exact bound on coverage"
)
"""Part of what makes a look: tests of another kind, or with other starts, are other looks."""


def _procedure(sequences: tuple[ThresholdSequence, ...]) -> str:
    return f"{PROCEDURE}; here {len(sequences)} at level {sequences[0].level:g}"


FEWEST_ERRORS = 30


def choose_signal(scores: Scores, wrong: Flags, groups: NDArray[Any] | None = None, baseline: str = "msp") -> str:
    """The signal that ranks errors best on the tune rows, if it is clearly better than `baseline`; else `baseline`.

    Clearly better: the paired interval of its AUROC gain by DeLong lies above 0 (with one classifier AUROC and AUGRC
    agree). The largest gain wins, name order breaks ties. With fewer than 30 errors any ranking is noise: the baseline.
    """
    reference = column(scores, baseline)
    if np.count_nonzero(wrong) < FEWEST_ERRORS:
        return baseline
    kinds, best, best_gain = Kinds.of(wrong, groups), baseline, 0.0
    ranked = kinds.ranked(reference)
    for name in sorted(set(scores) - {baseline}):
        gain = kinds.ranked(column(scores, name)).gain(ranked)
        if gain.low > 0 and gain.value > best_gain:
            best, best_gain = name, gain.value
    return best
