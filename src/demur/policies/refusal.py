"""Why nothing could be promised, and how many labels would change that."""

import math

import numpy as np

from demur.metrics.binomial import labels_without_error, power, power_start, risk_lower_bound
from demur.policies.calibration import Calibration
from demur.policies.certificate import Refusal
from demur.policies.fixed_sequence import STEP, Start, starts
from demur.policies.gaps import Gaps

CHANCE = 0.9
GROWTH = 1.05
_DOUBT = 0.05


def refuse(tune: Calibration, certify: Calibration, risk: float, delta: float) -> Refusal:
    """Say whether labels are missing or the model is too weak.

    Too few labels: fewer than even a faultless model needs, or some larger number exists at which the procedure would
    pass with probability ≥ .9 were the risks those seen so far, or the labels cannot tell. Too weak: at every coverage
    wide enough to judge the risk is shown to lie above the target, one-sided at 95 %. Once nothing is promised all
    labels may be read, so tune and certify rows are taken together: an early failure on the certify rows then speaks
    against the model.
    """
    seen = _together(tune, certify)
    least = labels_without_error(risk, delta)
    needed = _labels_needed(seen, max(len(certify) + 1, least), risk, delta)
    counts = _counts(seen, least)
    if needed is None and len(certify) < least:
        needed = _round_up(power_start(risk, delta))
    weak = needed is None and all(risk_lower_bound(wrong, answered, _DOUBT) > risk for answered, wrong in counts)
    lowest = min((wrong / answered for answered, wrong in counts), default=math.nan)
    return Refusal(
        reason="model_too_weak" if weak else "too_few_labels",
        risk=risk,
        delta=delta,
        labels_given=len(certify),
        labels_needed=needed,
        lowest_risk=lowest,
        unit=certify.unit,
        sentence=_sentence(certify, needed, lowest, risk, weak=weak),
    )


def _together(tune: Calibration, certify: Calibration) -> Calibration:
    return Calibration(np.append(tune.scores, certify.scores), np.append(tune.wrong, certify.wrong))


def _labels_needed(seen: Calibration, least: int, risk: float, delta: float) -> int | None:
    """The smallest number of certify rows, in steps of 5 %, at which one of the starts would pass nine times in ten.

    A risk seen on fewer answers than a faultless model needs says too little to build on.
    """
    gaps, fewest = Gaps.of(seen.scores), labels_without_error(risk, delta)
    m, most = float(least), 3 * power_start(risk, delta) * len(seen) / fewest
    while m <= most:
        chances = (_chance(seen, gaps, start, int(m), risk, fewest) for start in starts(int(m), risk, delta))
        if max(chances) >= CHANCE:
            return _round_up(int(m))
        m *= GROWTH
    return None


def _chance(seen: Calibration, gaps: Gaps, start: Start, m: int, risk: float, fewest: int) -> float:
    """The chance that the first test of a sequence passes, 0 where too few answers were seen to guess its risk."""
    answered, wrong = seen.counts(float(gaps.near(start.coverage)))
    if answered < fewest:
        return 0.0
    return power(round(m * answered / len(seen)), risk, start.level, wrong / answered)


def _counts(seen: Calibration, fewest: int) -> list[tuple[int, int]]:
    """How many are answered and how many of these are wrong, at every coverage of at least `fewest` answers."""
    coverages = np.append(np.arange(min(1.0, fewest / max(1, len(seen))), 1, STEP), 1.0)
    counts = [seen.counts(float(threshold)) for threshold in Gaps.of(seen.scores).near(coverages)]
    return [(answered, wrong) for answered, wrong in counts if answered]


def _round_up(count: int) -> int:
    """Two significant digits: more would be pretended."""
    unit = 10 ** max(0, len(str(count)) - 2)
    return -(-count // unit) * unit


def _sentence(certify: Calibration, needed: int | None, lowest: float, risk: float, *, weak: bool) -> str:
    opening = f"No threshold can be promised to keep wrong answers at or below {_percent(risk)}: "
    units = f"labelled {certify.unit}s"
    if needed is not None:
        return f"{opening}{len(certify):,} {units} are too few; about {needed:,} would be needed."
    if math.isnan(lowest):
        return f"{opening}its score is infinite on every one of {len(certify):,} {units}."
    if not weak:
        return f"{opening}{len(certify):,} {units} are too few to tell whether it could; more are needed to tell."
    return f"{opening}at every threshold more are wrong, {_percent(lowest)} at best, and more {units} would not help."


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
