"""A certified threshold for each site (camera, clinic, lot), at the price of a part of δ each."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demur.errors import InputError
from demur.metrics.binomial import check_levels, labels_without_error
from demur.policies.certificate import Certificate, Refusal
from demur.policies.certified import Certified
from demur.policies.fixed_sequence import Calibration
from demur.policies.look import FIRST_LOOK, Look
from demur.policies.site_certificate import SiteCertificate, SiteCount

GROUP = "group"
"""The column of the units of independence: a site that is one has images that are independent within it."""


@dataclass(frozen=True, eq=False)
class SiteRows:
    """Rows and the site of each, (rows,); None where it is not given."""

    rows: Calibration
    sites: NDArray[Any]

    def of(self, site: str) -> Calibration:
        """The rows of one site."""
        return self.rows.rows(self.sites == site)


@dataclass(frozen=True, kw_only=True)
class CertifiedBySite:
    """A certified threshold for each site, such that at every one of them at most `risk` of the answers are wrong.

    `column` names the site of each row: a column of the metadata, or `group`. The error level `delta` is divided
    equally among the sites that have labels enough to pass at all; an image of another site is not answered.
    Dunn (1961), "Multiple comparisons among means" (Bonferroni's inequality); at each site `certified`.
    """

    risk: float = 0.02
    delta: float = 0.05
    column: str = "site"

    def __post_init__(self) -> None:
        check_levels(self.risk, self.delta)

    def fit(
        self, tune: SiteRows, certify: SiteRows, look: Look = FIRST_LOOK, unlabelled: SiteRows | None = None
    ) -> SiteCertificate | Refusal:
        """Thresholds for the sites that the certify rows have, or a refusal where none of them could be given one.

        Args:
            tune: rows that place the thresholds; a site without any takes those of all.
            certify: rows that test them.
            look: which look at these labels this is; it says what of `delta` there is to spend.
            unlabelled: rows that chose nothing, whose scores bound the coverage at each site.
        """
        sizes = _sizes(certify)
        chosen = self._large_enough(sizes, look)
        found = dict(self._fitted(chosen, tune, certify, (look, unlabelled)))
        issued = {site: made for site, made in found.items() if isinstance(made, Certificate)}
        if not issued:
            return self._refusal(sizes, found, look)
        return SiteCertificate(
            column=self.column,
            risk=self.risk,
            delta=self.delta,
            sites=tuple(SiteCount(site=site, certificate=made) for site, made in issued.items()),
            refused={site: self._why(site, sizes, found) for site in sizes if site not in issued},
        )

    def _large_enough(self, sizes: dict[str, int], look: Look) -> list[str]:
        """As many of the largest sites as could each pass, without an error, at an equal part of the level."""
        order = sorted(sizes, key=lambda site: (-sizes[site], site))
        for count in range(len(order), 0, -1):
            if sizes[order[count - 1]] >= labels_without_error(self.risk, look.risk_level(self.delta / count)):
                return order[:count]
        return []

    def _fitted(
        self,
        chosen: list[str],
        tune: SiteRows,
        certify: SiteRows,
        rest: tuple[Look, SiteRows | None],
    ) -> Iterator[tuple[str, Certificate | Refusal]]:
        look, unlabelled = rest
        each = Certified(risk=self.risk, delta=self.delta / max(1, len(chosen)))
        for site in sorted(chosen):
            placing, bare = tune.of(site), None if unlabelled is None else unlabelled.of(site)
            placing = placing if len(placing) else tune.rows
            yield site, each.fit(placing, certify.of(site), look, bare if bare is not None and len(bare) else None)

    def _why(self, site: str, sizes: dict[str, int], found: dict[str, Certificate | Refusal]) -> str:
        refusal = found.get(site)
        if isinstance(refusal, Refusal):
            return refusal.sentence
        return f"{sizes[site]:,} labels are fewer than even a faultless model needs."

    def _refusal(self, sizes: dict[str, int], found: dict[str, Certificate | Refusal], look: Look) -> Refusal:
        """The refusal of the site that came nearest, in words about all of them."""
        if not sizes:
            raise InputError(
                f"thresholds for each site need rows whose {self.column!r} is given; none of the certify rows has one. "
                "Give the column, or name another one, such as certified_by_site(column='camera')."
            )
        largest = max(sizes, key=lambda site: sizes[site])
        refused = [each for each in found.values() if isinstance(each, Refusal)]
        weak = [each for each in refused if each.reason == "model_too_weak"]
        needed = labels_without_error(self.risk, look.next.risk_level(self.delta / len(sizes)))
        why = refused[0].sentence if len(refused) == 1 else f"the largest, {largest!r}, has {sizes[largest]:,} labels."
        base = next(iter(refused), None)
        made = Refusal(
            reason="model_too_weak" if refused and len(weak) == len(refused) else "too_few_labels",
            risk=self.risk,
            delta=self.delta,
            labels_given=sizes[largest],
            labels_needed=None if base else needed,
            lowest_risk=float("nan") if base is None else base.lowest_risk,
            unit="image" if base is None else base.unit,
            sentence=f"No threshold can be guaranteed at any of {len(sizes)} sites: {why}",
            look=look,
        )
        return made if base is None else replace(made, labels_needed=base.labels_needed)


def _sizes(certify: SiteRows) -> dict[str, int]:
    """The number of independent units at each site, by name."""
    units = np.arange(len(certify.rows)) if certify.rows.groups is None else certify.rows.groups
    pairs = {(str(site), unit) for site, unit in zip(certify.sites, units, strict=True) if site is not None}
    return dict(sorted(Counter(site for site, _ in pairs).items()))
