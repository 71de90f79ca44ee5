"""A guarantee about each site by itself: what it says, and the policy that keeps it with a threshold for each."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from demur.metrics.estimate import Unit
from demur.policies.certificate import Certificate
from demur.policies.coverage_bound import CoverageBound
from demur.policies.look import Look
from demur.policies.policy import Flags, Floats, Policy, Reasons, Scores, column, explain

UNKNOWN = "unknown_site"
"""The reason code of a row whose site has no certified threshold."""


@runtime_checkable
class Sited(Protocol):
    """A policy whose decision depends on where an image comes from, too.

    `column` names what tells the site of a row; as it is it knows no row's site and answers nothing.
    """

    @property
    def column(self) -> str:
        """The column that names the site: of the metadata, or `group`."""

    def at(self, sites: ArrayLike) -> Policy:
        """The policy for rows of these sites, (rows,); None and names it does not know are unknown sites."""


@dataclass(frozen=True, kw_only=True)
class SiteCount:
    """The certificate of one site."""

    site: str
    certificate: Certificate


@dataclass(frozen=True, kw_only=True)
class SiteCertificate:
    """With probability ≥ 1 − `delta`, at every site with a threshold at most `risk` of its answers are wrong.

    `sites` have a threshold each, `refused` are those that have none, with the reason; `column` names the site.
    """

    column: str
    risk: float
    delta: float
    sites: tuple[SiteCount, ...]
    refused: dict[str, str]

    @property
    def m(self) -> int:
        """The certify units of the sites with a threshold."""
        return sum(each.certificate.m for each in self.sites)

    @property
    def images(self) -> int:
        """What `answered` is of."""
        return sum(each.certificate.images for each in self.sites)

    @property
    def answered(self) -> int:
        """How many of their images, or units, were answered."""
        return sum(each.certificate.answered for each in self.sites)

    @property
    def wrong(self) -> int:
        """How many of these were wrong."""
        return sum(each.certificate.wrong for each in self.sites)

    @property
    def unit(self) -> Unit:
        """What counts as one independent observation within a site."""
        return self.sites[0].certificate.unit

    @property
    def look(self) -> Look:
        """Which look at these labels it was."""
        return self.sites[0].certificate.look

    @property
    def coverage(self) -> CoverageBound:
        """What is answered at the least at every one of the sites: the bound of the one that answers least."""
        bounds = [each.certificate.coverage for each in self.sites]
        least = min(bounds, key=lambda bound: bound.low)
        return replace(least, level=sum(bound.level for bound in bounds))

    @property
    def sentence(self) -> str:
        """The guarantee in one sentence, with what it rests on."""
        found = [(each.site, each.certificate) for each in self.sites]
        names = ", ".join(f"{site} ({made.answered:,} of {made.images:,})" for site, made in found)
        refused = f" No threshold: {', '.join(self.refused)}." if self.refused else ""
        return (
            f"When it answers an image of one of these sites, at most {100 * self.risk:.3g} in 100 answers at that "
            f"site are wrong ({100 * (1 - self.delta):.3g} % confidence for all at once; {self.look.sentence}); "
            f"answered: {names}. Elsewhere it abstains.{refused}"
        )

    def on(self, signal: str) -> "SiteThresholds":
        """The policy that keeps this guarantee, on the signal it was made for."""
        return SiteThresholds(signal=signal, certificate=self)


@dataclass(frozen=True, kw_only=True)
class SiteThresholds:
    """Answers iff the uncertainty of `signal` is at most the threshold of the row's site; abstains without one."""

    signal: str
    certificate: SiteCertificate

    @property
    def signals(self) -> tuple[str, ...]:
        """The one signal it reads."""
        return (self.signal,)

    @property
    def column(self) -> str:
        """The column that names the site."""
        return self.certificate.column

    @property
    def thresholds(self) -> dict[str, float]:
        """The threshold of each site that has one."""
        return {each.site: each.certificate.threshold for each in self.certificate.sites}

    def at(self, sites: ArrayLike) -> "RowLimits":
        """The policy for rows of these sites."""
        known = self.thresholds
        limits = [np.nan if site is None else known.get(str(site), np.nan) for site in np.asarray(sites, object)]
        return RowLimits(signal=self.signal, limits=np.asarray(limits, np.float64))

    def accepts(self, scores: Scores) -> Flags:
        """Nothing: no row's site is known."""
        return np.zeros(len(column(scores, self.signal)), bool)

    def reasons(self, scores: Scores) -> Reasons:
        """Every row's site is unknown."""
        return np.full(len(column(scores, self.signal)), UNKNOWN)


@dataclass(frozen=True, kw_only=True, eq=False)
class RowLimits:
    """Answers row by row against the `limits` (rows,) of their sites, NaN for sites without one."""

    signal: str
    limits: Floats

    @property
    def signals(self) -> tuple[str, ...]:
        """The one signal it reads."""
        return (self.signal,)

    @property
    def bounds(self) -> Mapping[str, Floats]:
        """The highest uncertainty of each signal at which an answer is given."""
        return {self.signal: self.limits}

    def accepts(self, scores: Scores) -> Flags:
        """Uncertainty ≤ the threshold of the row's site."""
        return column(scores, self.signal) <= self.limits

    def reasons(self, scores: Scores) -> Reasons:
        """Empty where accepted; an unknown site is named before a high score."""
        return np.where(np.isnan(self.limits), UNKNOWN, explain(column(scores, self.signal), self.limits, self.signal))
