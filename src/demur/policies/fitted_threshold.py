"""A threshold that follows from the scores of tune rows, by any of the usual methods."""

import math
from dataclasses import dataclass, field

import numpy as np

from demur.errors import InputError, unknown
from demur.policies.band import Band
from demur.policies.policy import Floats, Policy, Scores, Threshold, column
from demur.policies.policy_fit import FEWEST, Flagged, PolicyFit, check_purpose, flagged_kinds
from demur.policies.threshold_methods import METHODS, TWO_SIDED, ThresholdMethod, TuneScores, mean
from demur.registry import named_as


@dataclass(frozen=True, kw_only=True)
class FittedThreshold:
    """Answers iff the uncertainty of `signal` is at most a threshold that `method` places on tune rows.

    `purpose` says what is to be flagged: an `error` (tune rows answered wrongly, against those answered rightly), an
    `attack` or a `shift` (attacked or corrupted tune images, against all clean ones). `level` is what the method is
    told: k of `mean_sigma` and `mean_sigma_two_sided`, the share of `percentile`, `target_fpr`, `target_coverage` and
    `target_recall`; `midpoint`, `youden`, `least_fpr_fnr` and `balanced_recall` are told nothing. Nothing is
    guaranteed. Youden (1950), "Index for rating diagnostic tests".
    """

    signal: str = field(default="msp", metadata=named_as("signal"))
    method: str = "target_fpr"
    level: float | None = None
    purpose: Flagged = "error"

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise unknown("method", self.method, METHODS)
        check_purpose(self.purpose)
        if self.level is None:
            return
        if self._way.level is None:
            raise InputError(f"the method {self.method!r} takes no `level`; got {self.level}. Leave it out.")
        if self._way.is_share and not 0 < self.level < 1:
            raise InputError(f"`level` of {self.method!r} must lie strictly between 0 and 1; got {self.level}.")
        if not 0 < self.level < np.inf:
            raise InputError(f"`level` of {self.method!r} must be a positive number of σ; got {self.level}.")

    @property
    def _way(self) -> ThresholdMethod:
        return METHODS[self.method]

    @property
    def signals(self) -> tuple[str, ...]:
        """The one signal it reads."""
        return (self.signal,)

    @property
    def needs_positives(self) -> bool:
        """Whether it reads rows that are to be flagged."""
        return self._way.needs_positives

    def fit(self, negative: Scores, positive: Scores) -> PolicyFit:
        """The threshold of these tune rows, and what it does to them.

        Args:
            negative: scores of rows that are to be answered, (rows,) for the signal.
            positive: scores of rows that are to be flagged, (rows,); several methods need none.

        Raises:
            InputError: there are too few rows for the method, or the signal is no higher where it should be.
        """
        rows = TuneScores(column(negative, self.signal), column(positive, self.signal))
        level = (self._way.level or 0.0) if self.level is None else self.level
        self._check(rows, level)
        high = self._way.place(rows, level)
        policy: Policy = Threshold(signal=self.signal, uncertainty=high)
        if self.method == TWO_SIDED:
            policy = Band(signal=self.signal, low=2 * mean(rows.negative) - high, high=high)
        how = self.method if self._way.level is None else f"{self.method} at {level:g}"
        return PolicyFit.of(policy, negative, positive, self.purpose, how)

    def _check(self, rows: TuneScores, level: float) -> None:
        """Refuse rows that are too few, and a signal that points the other way."""
        kinds, tail = flagged_kinds(self.purpose), 1.0 if self._way.tail is None else self._way.tail(level)
        self._need(rows.negative, max(FEWEST, math.ceil(1 / tail - 1e-9)), kinds[0])
        if not self.needs_positives:
            return
        self._need(rows.positive, FEWEST, kinds[1])
        low, high = mean(rows.negative), mean(rows.positive)
        if high <= low:
            raise InputError(
                f"{self.method!r} flags what is uncertain, and on split tune {self.signal!r} is on average no higher "
                f"on {kinds[1]} ({high:.3g}) than on {kinds[0]} ({low:.3g}). Choose a signal that rises there."
            )

    def _need(self, scores: Floats, fewest: int, what: str) -> None:
        found = int(np.isfinite(scores).sum())
        if found < fewest:
            raise InputError(
                f"{self.method!r} needs at least {fewest} {what} of split tune with a finite score of {self.signal!r}; "
                f"there are {found}. Bring more images, or take a method that needs fewer."
            )
