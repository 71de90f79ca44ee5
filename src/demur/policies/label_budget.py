"""How many labels a certificate needs, of which class, and what a given number of them could support."""

import math
from dataclasses import dataclass, field
from functools import cache, cached_property

import numpy as np
from scipy.optimize import brentq

from demur.errors import InputError
from demur.metrics.binomial import check_levels, labels_without_error
from demur.policies.certificate import Certificate
from demur.policies.certified import Certified
from demur.policies.fixed_sequence import Calibration, labels_by_guess
from demur.policies.look import Look
from demur.policies.policy import Floats
from demur.splits import FEW, FEWEST, shares_of

DRAWS = 100
STEEPNESS = 6.0
"""How fast errors thin out towards the surest answers in the profile that stands for a typical classifier."""

_LARGEST = 10_000_000
_SIZES = (300, 500, 1_000, 2_000, 5_000, 10_000)
_RISKS = np.geomspace(1e-4, 0.5, 400)


@dataclass(frozen=True, kw_only=True)
class Prospect:
    """What so many certify labels would probably give a model of the stated error rate.

    Attributes:
        labels: of the certify split.
        coverage: the share answered under the certificate, on average over draws; a refusal counts as 0.
        refusals: the share of draws in which nothing is certified.
    """

    labels: int
    coverage: float
    refusals: float


@dataclass(frozen=True, kw_only=True)
class LabelBudget:
    """How many labels are needed to certify that at most `risk` of the answers are wrong.

    Attributes:
        risk: the largest tolerable share of wrong answers among those given.
        delta: the probability that the guarantee may fail.
        error_rate: the share of all answers that are wrong, where it is known about.
        positive_rate: how common the class that must not be missed is, where the guarantee is to be about that class.
        labels: how many labels there are, where they are.
        look: how often labels of this series were asked before decides what is left of delta.
    """

    risk: float
    delta: float = 0.05
    error_rate: float | None = None
    positive_rate: float | None = None
    labels: int | None = None
    look: Look = field(default_factory=Look)

    def __post_init__(self) -> None:
        check_levels(self.risk, self.delta)
        for name, value in (("error_rate", self.error_rate), ("positive_rate", self.positive_rate)):
            if value is not None and not 0 < value < 1:
                raise InputError(f"`{name}` must lie strictly between 0 and 1; got {value:g}. Write 3 % as 0.03.")
        if self.labels is not None and not 1 <= self.labels <= _LARGEST:
            raise InputError(f"`labels` must be from 1 to {_LARGEST:,}; got {self.labels:,}.")

    @property
    def level(self) -> float:
        """What this look leaves for the test of the risk."""
        return self.look.risk_level(self.delta)

    @cached_property
    def faultless(self) -> int:
        """Certify labels below which not even a model without errors passes."""
        return labels_without_error(self.risk, self.level)

    @cached_property
    def probable(self) -> int:
        """Certify labels with which nine of ten would pass if the surest answers are four times as good as asked."""
        return labels_by_guess(self.risk, self.level)

    def images(self, certify: int) -> int:
        """Labelled images, or positives, of which as many certify as asked: others place the thresholds and check."""
        for fewest, most in ((0, FEWEST), (FEWEST, FEW), (FEW, math.inf)):
            whole = max(fewest, math.ceil(certify / shares_of(fewest)["certify"]))
            if whole < most:
                return whole
        raise AssertionError

    def drawn(self, positives: int) -> int | None:
        """Images to be drawn as they come so that as many are positive, on average; None without a rate."""
        return None if self.positive_rate is None else math.ceil(positives / self.positive_rate)

    @property
    def certify_labels(self) -> int | None:
        """How many of the labels that there are would certify."""
        return None if self.labels is None else round(self.labels * shares_of(self.labels)["certify"])

    @cached_property
    def provable(self) -> float | None:
        """The smallest risk that the labels there are could show, were all answers right."""
        count = self.certify_labels
        return 1 - self.level ** (1 / count) if count else None

    @cached_property
    def supported(self) -> float | None:
        """The smallest risk that the labels there are would pass nine times in ten, by the same guess; None if none."""
        count = self.certify_labels or 0
        enough = [float(risk) for risk in _RISKS if labels_by_guess(float(risk), self.level) <= count]
        return min(enough, default=None)

    @cached_property
    def possible(self) -> float | None:
        """The share that could be answered within the risk with endless labels, at the stated error rate."""
        return None if self.error_rate is None else widest(self.error_rate, self.risk)

    @cached_property
    def prospects(self) -> tuple[Prospect, ...]:
        """What several numbers of labels, and those there are, would probably give at the stated error rate."""
        if self.error_rate is None:
            return ()
        sizes = sorted({*_SIZES, *([self.certify_labels] if self.certify_labels else ())})
        return tuple(self._prospect(size) for size in sizes)

    def _prospect(self, m: int) -> Prospect:
        """The procedure itself, on drawn rows of the typical profile."""
        assert self.error_rate is not None
        generator, policy = np.random.default_rng(0), Certified(risk=self.risk, delta=self.delta)
        tune = max(60, m // 3)
        coverages = np.zeros(DRAWS)
        for draw in range(DRAWS):
            rows = _rows(generator, m, self.error_rate)
            found = policy.fit(_rows(generator, tune, self.error_rate), rows, self.look)
            coverages[draw] = found.threshold if isinstance(found, Certificate) else np.nan
        refusals = float(np.isnan(coverages).mean())
        return Prospect(labels=m, coverage=float(np.nan_to_num(np.minimum(coverages, 1)).mean()), refusals=refusals)


def profile(uncertainty: Floats, error_rate: float) -> Floats:
    """The chance of an error at each place (rows,) in the order of uncertainty, 0 to 1, for a typical classifier.

    Falls exponentially towards the surest, e^(−6·(1 − u)) up to a cap of 1, scaled to the stated rate of all errors.
    """
    return np.minimum(1.0, _scale(error_rate) * np.exp(-STEEPNESS * (1 - uncertainty)))


def widest(error_rate: float, risk: float) -> float:
    """The largest share answered of which at most `risk` is wrong, in the typical profile."""
    if error_rate <= risk:
        return 1.0
    return float(brentq(lambda share: _risk_within(share, error_rate) - risk, 1e-9, 1.0))


def _risk_within(share: float, error_rate: float) -> float:
    """The risk among the surest share."""
    places = (np.arange(4_096) + 0.5) / 4_096 * share
    return float(profile(places, error_rate).mean())


@cache
def _scale(error_rate: float) -> float:
    """The factor at which the profile has the stated rate; infinite steepness is never needed below a rate of 1."""
    places = (np.arange(4_096) + 0.5) / 4_096
    falls = np.exp(-STEEPNESS * (1 - places))

    def excess(log_scale: float) -> float:
        return float(np.minimum(1.0, math.exp(log_scale) * falls).mean()) - error_rate

    return math.exp(float(brentq(excess, -30.0, STEEPNESS + 1)))


def _rows(generator: np.random.Generator, count: int, error_rate: float) -> Calibration:
    places = generator.random(count)
    return Calibration(places, generator.random(count) < profile(places, error_rate))
