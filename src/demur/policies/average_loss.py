"""The weaker kind: answered errors among *all* images, bounded on average over calibration draws."""

from dataclasses import dataclass

import numpy as np

from demur.metrics.estimate import Unit
from demur.policies.fixed_sequence import Calibration, ThresholdGrid
from demur.policies.group_means import stakes


@dataclass(frozen=True, kw_only=True)
class AverageLoss:
    """On average over draws of the calibration rows, at most `loss` of *all* images are answered and wrong.

    Not the share wrong among the answers, which may be many times larger, and no statement about this one draw.
    `wrong` is the share (of all images, or in the mean of the groups) that was answered wrong on the `m` calibration
    units, `answered` the share that was answered.
    """

    threshold: float
    loss: float
    m: int
    unit: Unit
    answered: float
    wrong: float

    @property
    def sentence(self) -> str:
        """What it says, and what it does not."""
        return (
            f"A weaker statement holds on average over draws of {self.m:,} labelled {self.unit}s, not for this one: "
            f"of all images, answered or not, at most {100 * self.loss:.3g} in 100 are answered and wrong where the "
            f"score is at most {self.threshold:.4g}. It says nothing of the share of wrong answers among those given."
        )


def control_average_loss(tune: Calibration, certify: Calibration, loss: float) -> AverageLoss | None:
    """The laxest tune threshold of which it holds; None where there are too few units, or it would answer nothing.

    The loss, answered and wrong, never falls as the threshold grows and is at most 1 for each unit, so that
    (Σ loss + 1)/(m + 1) ≤ α suffices: one over the mean of the rows for what the next unit may do. Of a group it is the
    mean of its rows. Angelopoulos et al. (2022), arXiv:2208.02814.
    """
    staked, thresholds = stakes(certify), ThresholdGrid.of(tune.scores).thresholds
    most = loss * (staked.count + 1) - 1
    ends, lost = staked.ends[staked.wrong], staked.shares[staked.wrong]
    order = np.argsort(ends, kind="stable")
    total = np.append(0.0, np.cumsum(lost[order]))[np.searchsorted(ends[order], thresholds, side="right")]
    usable = np.flatnonzero(total <= most + 1e-12)
    if not len(usable):
        return None
    threshold = float(thresholds[usable[-1]])
    answered, wrong = (float(part.sum()) / staked.count for part in staked.sums(threshold))
    if not answered:
        return None
    return AverageLoss(
        threshold=threshold, loss=loss, m=staked.count, unit=certify.unit, answered=answered, wrong=wrong
    )
