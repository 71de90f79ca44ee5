"""Which signal a threshold should be set on."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from demur.metrics.auroc import auroc
from demur.metrics.resampling import Resampler
from demur.policies.policy import Flags, Scores, column

FEWEST_ERRORS = 30


def choose_signal(scores: Scores, wrong: Flags, groups: NDArray[Any] | None = None, baseline: str = "msp") -> str:
    """The signal that ranks errors best on the tune rows, if it is clearly better than `baseline`; else `baseline`.

    Clearly better: the paired bootstrap interval of its AUROC gain lies above 0 (with one classifier AUROC and AUGRC
    agree). The largest gain wins, name order breaks ties. With fewer than 30 errors any ranking is noise: the baseline.
    """
    reference = column(scores, baseline)
    if np.count_nonzero(wrong) < FEWEST_ERRORS:
        return baseline
    resampler = Resampler(len(wrong), groups)
    best, best_gain = baseline, 0.0
    for name in sorted(set(scores) - {baseline}):
        gain = resampler.gain(auroc, column(scores, name), reference, wrong)
        if gain.low > 0 and gain.value > best_gain:
            best, best_gain = name, gain.value
    return best
