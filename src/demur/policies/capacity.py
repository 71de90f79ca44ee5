"""The guarantee at a coverage fixed beforehand: how many answers are wrong if so many are to be given."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from demur.errors import InputError
from demur.metrics.binomial import labels_without_error, risk_upper_bound
from demur.metrics.units import unit_codes
from demur.policies.certificate import Certificate, Refusal, Weighting
from demur.policies.coverage_bound import bound_coverage
from demur.policies.fixed_sequence import ACCEPT_ALL, Calibration, threshold_near
from demur.policies.group_means import LARGE, pooled, stakes
from demur.policies.look import FIRST_LOOK, Look
from demur.policies.second_threshold import BUDGET, Purpose, check_second, refuse_alone
from demur.registry import Call


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """The threshold that answers `coverage` of the tune images, with the smallest risk that can be shown of it.

    For those whose reviewers take so many and no more. The threshold comes from the tune rows alone, so one exact test
    is made: Clopper & Pearson (1934); of groups of three images and more by betting on their means:
    Waudby-Smith & Ramdas (2024), arXiv:2010.09686. `second`, `budget` and `purpose` are those of `certified`;
    the coverage is then of answers that pass both thresholds, as far as the second lets so many pass.
    """

    coverage: float = 0.85
    delta: float = 0.05
    second: Call | None = None
    budget: float = BUDGET
    purpose: Purpose = "attack"

    def __post_init__(self) -> None:
        if not 0 < self.coverage <= 1:
            raise InputError(f"`coverage` must lie in (0, 1]; got {self.coverage}. Write 85 % as 0.85.")
        if not 0 < self.delta < 1:
            raise InputError(f"`delta` must lie strictly between 0 and 1; got {self.delta}. Write 5 % as 0.05.")
        check_second(self.second, self.budget, self.purpose)

    def fit(
        self,
        tune: Calibration,
        certify: Calibration,
        look: Look = FIRST_LOOK,
        unlabelled: Calibration | None = None,
    ) -> Certificate | Refusal:
        """What can be shown of the threshold, or a refusal where none of the certify rows is answered.

        Args:
            tune: rows that place the threshold; their labels are not read.
            certify: rows that test it.
            look: which look at these labels this is; it says what of `delta` there is to spend.
            unlabelled: rows that chose nothing, whose scores bound the coverage.

        Raises:
            InputError: there are no tune rows, or a second signal is named, whose scores are not here.
        """
        refuse_alone(self.second)
        if not len(tune):
            raise InputError("a threshold at a fixed coverage needs tune rows to place it; there are none. Give some.")
        threshold = ACCEPT_ALL if self.coverage == 1 else threshold_near(tune.scores, self.coverage)
        found = _evidence_at(threshold, look.risk_level(self.delta), certify)
        if found["bound"] == 1:
            return self._refusal(certify, found["answered"], look)
        singles, bare = certify.one_per_group(), None if unlabelled is None else unlabelled.one_per_group()
        return Certificate(
            risk=found["bound"],
            delta=self.delta,
            **found,
            grid=1,
            tests=1,
            procedure=f"one test of a threshold that the tune rows placed, at level {found['level']:g}; exact bound on "
            "coverage",
            look=look,
            coverage=bound_coverage(threshold, look.coverage_level(self.delta), singles, 1, bare),
            capacity=self.coverage,
        )

    def _refusal(self, certify: Calibration, answered: int, look: Look) -> Refusal:
        units = len(certify.one_per_group())
        why = "every one of them was wrong" if answered else f"none of {units:,} labelled {certify.unit}s was"
        return Refusal(
            reason="model_too_weak" if answered else "too_few_labels",
            risk=1.0,
            delta=self.delta,
            labels_given=units,
            labels_needed=None if answered else round(labels_without_error(0.5, self.delta) / self.coverage),
            lowest_risk=1.0 if answered else float("nan"),
            unit=certify.unit,
            sentence=f"Nothing can be shown of answers at a coverage of {100 * self.coverage:.3g} %: {why} answered.",
            look=look,
        )


def _evidence_at(threshold: float, level: float, certify: Calibration) -> dict[str, Any]:
    """What a certificate says of a threshold, its bound among it; weights and groups of some size are bet on."""
    if certify.weights is not None or _has_large_groups(certify):
        weighting: Weighting = "weight" if certify.weights is not None else "group"
        return pooled(threshold, level, certify, stakes(certify), weighting)
    rows = certify.one_per_group()
    counts = rows.counts(threshold)
    return {
        "threshold": threshold,
        "level": level,
        "m": len(rows),
        "answered": counts.answered,
        "wrong": counts.wrong,
        "near": counts.near,
        "tolerance": certify.tolerance,
        "bound": risk_upper_bound(counts.wrong, counts.answered, level),
        "unit": certify.unit,
    }


def _has_large_groups(certify: Calibration) -> bool:
    """Whether the median group has three images or more; with one test bets on their means never bound it worse."""
    if certify.groups is None or not len(certify):
        return False
    return float(np.median(np.bincount(unit_codes(certify.groups)[1]))) >= LARGE
