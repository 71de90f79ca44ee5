"""A guarantee about a threshold, or the refusal to make one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np

from demur.errors import InputError
from demur.metrics.estimate import Unit
from demur.policies.coverage_bound import CoverageBound
from demur.policies.look import Look
from demur.policies.policy import Flags, OneThreshold, Reasons, Scores, Threshold
from demur.policies.second_threshold import SecondThreshold
from demur.policies.tolerance import Tolerance

Weighting: TypeAlias = Literal["group", "image", "weight"]

EQUALLY: Mapping[Weighting, str] = {
    "group": "each group counting equally, whatever its number of images",
    "image": "each image counting equally",
    "weight": "each image counting by its weight",
}
"""What counts equally in a guarantee about all images of groups, or about weighted ones, in words."""


@dataclass(frozen=True, kw_only=True)
class Pool:
    """All images of groups, or weighted ones, where they were bet on instead of one image of each group.

    Attributes:
        weighting: what counts equally.
        images: how many certify images there were; a certificate's `answered`, `wrong` and `near` then count images.
        image_risk: the share of wrong answers where each answered image counts equally, with its 95 % interval; an
            estimate beside the guarantee, NaN where nothing was answered.
    """

    weighting: Weighting
    images: int
    image_risk: tuple[float, float, float]

    @property
    def sentence(self) -> str:
        """The estimate beside the guarantee; nothing where each image counts equally in that already."""
        if self.weighting == "image":
            return ""
        value, low, high = (f"{100 * number:.3g}" for number in self.image_risk)
        return f" Of these images as they are, {value} in 100 answers were wrong ({low} to {high}; an estimate)."


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """With probability ≥ 1 − `delta`, at most `risk` of what the threshold answers is wrong, and it answers enough.

    The probability is over the rows of all looks of a series; this `look` has spent its part of `delta`, for the risk
    and for the bound on `coverage`, which hold together. Holds for data exchangeable with the certify rows: not for
    shifted or manipulated images. `answered` of `m` certify units (`unit`) were answered and `wrong` of these were
    wrong; `bound` is the largest risk that leaves plausible at the `level` of the test. `near` units lie within their
    `tolerance` of the threshold, so that another batch or machine may decide them otherwise: right ones count as not
    answered, wrong ones as answered. Where the unit is a group, the guarantee is about one image of a new group.

    `pool` says what counts equally where all images of the groups took part, or weighted ones. `capacity` is the
    coverage that was fixed beforehand, and `risk` then what could be shown of it; None where the risk was fixed.
    `second` is another threshold, which the tune rows fixed: the guarantee is then of answers that pass both, `near`
    counts units near either, and nothing is guaranteed of one of them alone.
    """

    threshold: float
    risk: float
    delta: float
    level: float
    m: int
    answered: int
    wrong: int
    near: int
    tolerance: Tolerance
    bound: float
    unit: Unit
    grid: int
    tests: int
    procedure: str
    look: Look
    coverage: CoverageBound
    pool: Pool | None = None
    capacity: float | None = None
    second: SecondThreshold | None = None

    @property
    def images(self) -> int:
        """What `answered` is of: the certify units, or their images where all of them took part."""
        return self.m if self.pool is None else self.pool.images

    @property
    def sentence(self) -> str:
        """The guarantee in one sentence, with what it rests on."""
        return (
            f"When it answers, at most {100 * self.risk:.3g} in 100 answers are wrong{self._equally}, and "
            f"{self.coverage.sentence} "
            f"({100 * (1 - self.delta):.3g} % confidence; {self.m:,} labelled {self.unit}s; {self.look.sentence}, "
            f"spends {self.spent:.3g} of {self.delta:.3g}). It answers where the score is at most "
            f"{self.threshold:.4g}{self._also}: {self.answered:,} of {self.images:,}, of which {self.wrong:,} were "
            f"wrong.{'' if self.pool is None else self.pool.sentence}{self._near}{self._together}"
        )

    @property
    def _also(self) -> str:
        return "" if self.second is None else f" and {self.second.words}"

    @property
    def _together(self) -> str:
        alone = " The guarantee is of both thresholds together: it is void where one of them changes or is left out."
        return "" if self.second is None else alone

    @property
    def _equally(self) -> str:
        return "" if self.pool is None else f", {EQUALLY[self.pool.weighting]}"

    @property
    def spent(self) -> float:
        """What this look has spent of `delta`."""
        return self.look.spent(self.delta)

    @property
    def _near(self) -> str:
        kind = self.unit if self.pool is None else "image"
        units = kind if self.near == 1 else f"{kind}s"
        which = "the threshold" if self.second is None else "a threshold"
        return f" {self.near:,} {units} so near {which} that rounding decides count against it." * bool(self.near)

    def on(self, signal: str) -> "CertifiedThreshold | CertifiedPair":
        """The policy that keeps this guarantee, on the signal it was made for."""
        policy = CertifiedThreshold if self.second is None else CertifiedPair
        return policy(signal=signal, certificate=self)


@dataclass(frozen=True, kw_only=True)
class CertifiedThreshold(OneThreshold):
    """Answers iff the uncertainty of `signal` is at most the certified threshold."""

    signal: str
    certificate: Certificate

    def __post_init__(self) -> None:
        if self.certificate.second is not None:
            raise InputError(
                "a certificate of two thresholds is kept by both of them alone; got a policy of the first. Write "
                "certificate.on(signal)."
            )


@dataclass(frozen=True, kw_only=True)
class CertifiedPair:
    """Answers iff `signal` is at most the certified threshold and the second signal at most its own.

    The certificate is of both together, and holds the second threshold.
    """

    signal: str
    certificate: Certificate

    def __post_init__(self) -> None:
        if self.certificate.second is None:
            raise InputError(
                "a policy of two thresholds needs a certificate with a second one; this has none. Write "
                "certificate.on(signal)."
            )

    @property
    def first(self) -> Threshold:
        """The certified threshold, of which nothing is guaranteed without the second."""
        return Threshold(signal=self.signal, uncertainty=self.certificate.threshold)

    @property
    def second(self) -> SecondThreshold:
        """The threshold that the tune rows fixed."""
        assert self.certificate.second is not None
        return self.certificate.second

    @property
    def signals(self) -> tuple[str, ...]:
        """The two signals it reads, the certified one first; one where they are the same."""
        return tuple(dict.fromkeys((self.signal, self.second.signal)))

    @property
    def bounds(self) -> Mapping[str, float]:
        """The highest uncertainty of each signal at which an answer is given; the lower one where they are the same."""
        first, second = self.certificate.threshold, self.second.uncertainty
        if self.signal == self.second.signal:
            return {self.signal: min(first, second)}
        return {self.signal: first, self.second.signal: second}

    def accepts(self, scores: Scores) -> Flags:
        """Uncertainty ≤ threshold, of both."""
        return self.first.accepts(scores) & self.second.accepts(scores)

    def reasons(self, scores: Scores) -> Reasons:
        """Empty where accepted; what the second signal suspects is named before a low confidence."""
        suspicion = self.second.reasons(scores)
        return np.where(suspicion == "", self.first.reasons(scores), suspicion)


Reason: TypeAlias = Literal["too_few_labels", "model_too_weak"]


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """No threshold can be guaranteed, and why.

    `labels_needed` is an estimate of the certify units that would do at the next look of the series, which spends less
    than this `look` did; None where no number can be named.
    `lowest_risk` is the smallest share of wrong answers seen at a coverage wide enough to tell, NaN if none was.
    """

    reason: Reason
    risk: float
    delta: float
    labels_given: int
    labels_needed: int | None
    lowest_risk: float
    unit: Unit
    sentence: str
    look: Look
