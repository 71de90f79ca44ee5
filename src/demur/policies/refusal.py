"""Why nothing could be promised, and how many labels would change that."""

import math

import numpy as np

from demur.metrics.binomial import labels_without_error, power, power_start
from demur.policies.calibration import Calibration
from demur.policies.certificate import Refusal
from demur.policies.fixed_sequence import STEP, Start, starts
from demur.policies.gaps import Gaps

CHANCE = 0.9
GROWTH = 1.05


def refuse(tune: Calibration, certify: Calibration, risk: float, delta: float) -> Refusal:
    """Say whether labels are missing or the model is too weak.

    Too few labels: fewer than even a faultless model needs, or some larger number exists at which the procedure would
    pass with probability ≥ .9 were the risks those seen so far. Too weak: no such number exists, because the risk seen
    among the surest answers is not clearly below the target. Once nothing is promised all labels may be read, so tune
    and certify rows are taken together: an early failure on the certify rows then speaks against the model.
    """
    seen = _together(tune, certify)
    least = labels_without_error(risk, delta)
    needed = _labels_needed(seen, max(len(certify) + 1, least), risk, delta)
    too_few = needed is not None or len(certify) < least
    if too_few and needed is None:
        needed = _round_up(power_start(risk, delta))
    lowest = _lowest_risk(seen, least)
    return Refusal(
        reason="too_few_labels" if too_few else "model_too_weak",
        risk=risk,
        delta=delta,
        labels_given=len(certify),
        labels_needed=needed,
        lowest_risk=lowest,
        unit=certify.unit,
        sentence=_sentence(certify, needed, lowest, risk),
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


def _lowest_risk(seen: Calibration, fewest: int) -> float:
    """The smallest share of wrong answers seen at any coverage of at least `fewest` answers."""
    coverages = np.append(np.arange(min(1.0, fewest / max(1, len(seen))), 1, STEP), 1.0)
    counts = [seen.counts(float(threshold)) for threshold in Gaps.of(seen.scores).near(coverages)]
    return min((wrong / answered for answered, wrong in counts if answered), default=math.nan)


def _round_up(count: int) -> int:
    """Two significant digits: more would be pretended."""
    unit = 10 ** max(0, len(str(count)) - 2)
    return -(-count // unit) * unit


def _sentence(certify: Calibration, needed: int | None, lowest: float, risk: float) -> str:
    opening = f"No threshold can be promised to keep wrong answers at or below {_percent(risk)}: "
    units = f"labelled {certify.unit}s"
    if needed is not None:
        return f"{opening}{len(certify):,} {units} are too few; about {needed:,} would be needed."
    if math.isnan(lowest):
        return f"{opening}its score is infinite on every one of {len(certify):,} {units}."
    close = ", too close to that" if lowest <= risk else ""
    return (
        f"{opening}even among the answers it is surest of, {_percent(lowest)} are wrong{close}, "
        f"and more {units} are not expected to help."
    )


def _percent(share: float) -> str:
    return f"{100 * share:.3g} %"
