"""A second threshold beside a certified one, on a signal of attacks, of a shift or of images of none of the classes."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike

from demur.errors import InputError, unknown
from demur.policies.fixed_sequence import ACCEPT_ALL, Calibration, ThresholdGrid
from demur.policies.policy import Flags, Floats, Reasons, Scores, column
from demur.policies.tolerance import EXACT, Tolerance
from demur.registry import Call, lookup

Purpose: TypeAlias = Literal["attack", "shift", "unknown"]
"""What a second signal is for: images changed on purpose, images from elsewhere, images of none of the classes."""

WATCHED: Mapping[Purpose, str] = {
    "attack": "images changed on purpose",
    "shift": "images unlike those measured",
    "unknown": "images of none of the classes",
}
"""What a second signal is to keep out, in words."""

BUDGET = 0.02
"""The share of right answers that a second threshold may withhold where nothing else is said."""


@dataclass(frozen=True, kw_only=True)
class SecondThreshold:
    """Withholds the answer where the uncertainty of `signal` is above a threshold that the tune rows fixed.

    Attributes:
        signal: its canonical name.
        uncertainty: the threshold, in the signal's unit.
        budget: the largest share of right tune answers that it was to withhold.
        spent: the share that it does withhold.
        purpose: what it is to keep out.
        tolerance: how far a score may move when its image is asked again.
    """

    signal: str
    uncertainty: float
    budget: float
    spent: float
    purpose: Purpose
    tolerance: Tolerance = EXACT

    def __post_init__(self) -> None:
        if not math.isfinite(self.uncertainty):
            raise InputError(
                f"`uncertainty` of a second threshold on {self.signal!r} must be finite; got {self.uncertainty}. "
                "To let everything pass, write the largest float, demur.policies.ACCEPT_ALL."
            )
        check_purpose(self.budget, self.purpose)

    @classmethod
    def fit(
        cls,
        scores: ArrayLike,
        wrong: ArrayLike,
        *,
        signal: str,
        budget: float = BUDGET,
        purpose: Purpose = "attack",
        tolerance: Tolerance = EXACT,
    ) -> "SecondThreshold":
        """The strictest threshold that withholds at most the budget of the right tune answers.

        It stands between neighbouring scores of these. A score that is NaN is withheld by every threshold.

        Args:
            scores: of the second signal, (rows,), of tune rows.
            wrong: whether the answer is wrong, (rows,).
            signal: its canonical name.
            budget: the share of right answers that may be withheld.
            purpose: what it is to keep out.
            tolerance: how far a score may move when its image is asked again.

        Raises:
            InputError: so many right answers have no finite score that every threshold withholds more.
        """
        right = np.sort(np.asarray(scores, np.float64)[~np.asarray(wrong, bool)])  # NaN comes last
        thresholds = ThresholdGrid.of(right).thresholds
        lost = len(right) - np.searchsorted(right, thresholds, side="right")
        within = np.flatnonzero(lost <= math.floor(budget * len(right) + 1e-9))
        if not len(within):
            raise InputError(
                f"a second threshold on {signal!r} may withhold {budget:.3g} of the right tune answers; {lost[-1]} of "
                f"{len(right)} have no finite score, which every threshold withholds. Choose a signal that is defined "
                "everywhere, or a larger budget."
            )
        chosen = within[0]
        return cls(
            signal=signal,
            uncertainty=float(thresholds[chosen]),
            budget=budget,
            spent=float(lost[chosen] / max(1, len(right))),
            purpose=purpose,
            tolerance=tolerance,
        )

    @property
    def signals(self) -> tuple[str, ...]:
        """The one signal it reads."""
        return (self.signal,)

    @property
    def reason(self) -> str:
        """The code of an answer that it withholds: what is suspected, such as "suspected_attack"."""
        return f"suspected_{self.purpose}"

    def accepts(self, scores: Scores) -> Flags:
        """Uncertainty ≤ threshold; never where it is NaN."""
        return column(scores, self.signal) <= self.uncertainty

    def reasons(self, scores: Scores) -> Reasons:
        """Empty where it lets an answer pass; else what is suspected, such as "suspected_attack"."""
        uncertainty = column(scores, self.signal)
        above = np.where(uncertainty <= self.uncertainty, "", self.reason)
        return np.where(np.isnan(uncertainty), "undefined_score", above)

    @property
    def words(self) -> str:
        """The condition, behind that of the first signal."""
        at = "anything" if self.uncertainty >= ACCEPT_ALL else f"{self.uncertainty:.4g}"
        return (
            f"that of {self.signal}, which is to keep out {WATCHED[self.purpose]}, at most {at} "
            f"(it withholds {100 * self.spent:.3g} % of right tune answers; the budget was {100 * self.budget:.3g} %)"
        )

    def reach(self, scores: Floats) -> tuple[Flags, Flags]:
        """Whether it may let each row pass, and whether it surely does, however often its image is asked again."""
        width = self.tolerance.of(scores)
        return scores - width <= self.uncertainty, scores + width <= self.uncertainty


@dataclass(frozen=True, eq=False)
class PairRows:
    """Rows with the scores of both signals, of which `first` is the one whose threshold is certified.

    `second` has one score per row; NaN is above every threshold.
    """

    first: Calibration
    second: Floats

    def __post_init__(self) -> None:
        if len(self.second) != len(self.first):
            raise InputError(
                f"a second signal must have one score per row; got {len(self.second)} for {len(self.first)} rows."
            )

    def screened(self, second: SecondThreshold) -> Calibration:
        """The rows as the first threshold meets them: those that the second one withholds have a score of infinity.

        Rows within their tolerance of the second threshold count against the guarantee: wrong ones pass, right ones
        do not.
        """
        perhaps, surely = second.reach(self.second)
        return self._passing(np.where(np.asarray(self.first.wrong, bool), perhaps, surely))

    def surely_screened(self, second: SecondThreshold) -> Calibration:
        """The rows with a score of infinity wherever the second threshold may withhold the answer."""
        return self._passing(second.reach(self.second)[1])

    def _passing(self, rows: Flags) -> Calibration:
        return replace(self.first, scores=np.where(rows, self.first.scores, np.inf))

    def near(self, threshold: float, second: SecondThreshold, *, one_per_group: bool) -> int:
        """How many rows may be decided either way, because they are near the one threshold or the other."""
        low, high = self.first.reach
        perhaps, surely = second.reach(self.second)
        either = (low <= threshold) & perhaps & ~((high <= threshold) & surely)
        flagged = replace(self.first, scores=either.astype(np.float64))
        return int((flagged.one_per_group() if one_per_group else flagged).scores.sum())


def check_purpose(budget: float, purpose: str) -> None:
    """Refuse a budget that is no share, and a purpose that is none.

    Raises:
        InputError: it is named, with what it may be.
    """
    if not 0 <= budget < 1:
        raise InputError(
            f"`budget` is the share of right answers that a second threshold may withhold, in [0, 1); got {budget:g}. "
            "Write 2 in 100 as 0.02."
        )
    if purpose not in get_args(Purpose):
        raise unknown("purpose of a second signal", purpose, get_args(Purpose))


def check_second(second: Call | None, budget: float, purpose: str) -> None:
    """Refuse a second signal that nobody knows, and what is said of one that is not named.

    Raises:
        UnknownNameError: no signal has the name; the nearest is offered.
        InputError: a budget or a purpose without a signal, or out of range.
    """
    check_purpose(budget, purpose)
    if second is not None:
        lookup("signal", second.name)
    elif (budget, purpose) != (BUDGET, "attack"):
        raise InputError(
            f"`budget` and `purpose` are about a second signal, and none is named; got {budget:g} and {purpose!r}. "
            "Name it, such as second=knn(k=10), or leave both out."
        )


def refuse_alone(second: Call | None) -> None:
    """Refuse to certify one threshold by a policy about two.

    Raises:
        InputError: a second signal is named.
    """
    if second is not None:
        raise InputError(
            f"the second signal {second} has scores of its own, and they are not among these rows. Certify both by "
            "demur.policies.certify_pair, or leave `second` out."
        )
