"""Guarantees of a plan, each fitted on the tune and certify rows of an audit, or refused with what the rows support."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from demur.data import Index
from demur.errors import InputError, unknown
from demur.pipeline.plan.resolve import AnyPolicy
from demur.pipeline.run.score_tolerance import ScoreTolerance
from demur.policies import (
    AnyCertificate,
    Calibration,
    Capacity,
    Certificate,
    Certified,
    CertifiedByClass,
    CertifiedBySite,
    Certifier,
    Classes,
    Look,
    PairRows,
    Refusal,
    SecondThreshold,
    SiteRows,
    certify_pair,
    control_average_loss,
    dump_policy,
    unlabelled_rows,
)
from demur.policies.by_site import GROUP
from demur.policies.certified import one_group
from demur.policies.certify_pair import alone
from demur.policies.policy import Floats
from demur.records import META, groups, wrong


def certify_policy(
    policy: Certifier,
    clean: pl.DataFrame,
    chosen: ScoreTolerance,
    look: Look,
    classes: Sequence[str],
    second: ScoreTolerance | None = None,
) -> dict[str, Any]:
    """A certificate as plain JSON values, `signal` and `policy`; or `refusal`, with what the rows support instead.

    `second` is the signal of the second threshold, where the policy has one.
    """
    splits = {split: readable_rows(clean, split) for split in ("tune", "certify", "test")}
    tune, certify = (_calibration(splits[split], chosen) for split in ("tune", "certify"))
    refused, plainly = _without_groups(policy, clean, look), policy
    if isinstance(policy, Certified | Capacity) and second is not None:
        pair = _Pair(chosen, second, _second_threshold(policy, splits["tune"], second))
        tune, certify = (pair.rows(splits[split]).screened(pair.threshold) for split in ("tune", "certify"))
        answer, plainly = refused or pair.fit(policy, splits, look), alone(policy)
    else:
        answer = refused or _fit(policy, splits, chosen, look, classes)
    found = {"signal": chosen.name, "tune": len(splits["tune"])}
    if not isinstance(answer, Refusal):
        return {**found, "policy": dump_policy(answer.on(chosen.name))}
    support = {
        **_support(plainly, answer, tune, certify),
        "kind": _kind(policy),
        "constant_group": _constant_group(clean),
    }
    return {
        **found,
        "refusal": {**plain(asdict(answer)), **support},
        "average_loss": None if second is not None else _average_loss(policy, tune, certify),
    }


def _second_threshold(policy: Certified | Capacity, tune: pl.DataFrame, second: ScoreTolerance) -> SecondThreshold:
    """The threshold that the tune rows fix at the budget of the policy."""
    return SecondThreshold.fit(
        _second_scores(tune, second),
        wrong(tune),
        signal=second.name,
        budget=policy.budget,
        purpose=policy.purpose,
        tolerance=second.tolerance,
    )


def _second_scores(rows: pl.DataFrame, second: ScoreTolerance) -> Floats:
    """One score per row, NaN where it is undefined."""
    return np.asarray(rows[f"signal.{second.name}"].to_numpy(), np.float64)


@dataclass(frozen=True)
class _Pair:
    """Two signals, and the threshold on the second."""

    first: ScoreTolerance
    second: ScoreTolerance
    threshold: SecondThreshold

    def rows(self, rows: pl.DataFrame) -> PairRows:
        return PairRows(_calibration(rows, self.first), _second_scores(rows, self.second))

    def fit(
        self, policy: Certified | Capacity, splits: Mapping[str, pl.DataFrame], look: Look
    ) -> AnyCertificate | Refusal:
        tune, certify = (self.rows(splits[split]) for split in ("tune", "certify"))
        bare = _unlabelled(splits["test"], certify.first, self.first.name)
        others = None if bare is None else PairRows(bare, _second_scores(splits["test"], self.second))
        return certify_pair(policy, self.threshold, tune, certify, look, others)


def _constant_group(clean: pl.DataFrame) -> str | None:
    """The group that all rows are of; None where there are several, or none."""
    names = clean["group"].unique()
    return None if len(names) != 1 or names[0] is None or len(clean) == 1 else str(names[0])


def _without_groups(policy: Certifier, clean: pl.DataFrame, look: Look) -> Refusal | None:
    """The refusal where there is one group, or so few that a split which a guarantee needs has none."""
    names = clean["group"].drop_nulls().unique()
    empty = [split for split in ("tune", "certify") if not len(readable_rows(clean, split))]
    if not len(names) or clean["group"].null_count() or (len(names) > 1 and not empty):
        return None
    few = f"{len(names)} groups are too few to give every split some: {', '.join(empty)} has none."
    return Refusal(
        reason="too_few_labels",
        risk=1.0 if isinstance(policy, Capacity) else policy.risk,
        delta=policy.delta,
        labels_given=len(readable_rows(clean, "certify")["group"].unique()),
        labels_needed=None,
        lowest_risk=math.nan,
        unit="group",
        sentence=few if len(names) > 1 else one_group(str(names[0])),
        look=look,
    )


def _fit(
    policy: Certifier,
    splits: Mapping[str, pl.DataFrame],
    chosen: ScoreTolerance,
    look: Look,
    classes: Sequence[str],
) -> AnyCertificate | Refusal:
    tune, certify = (_calibration(splits[split], chosen) for split in ("tune", "certify"))
    bare = _unlabelled(splits["test"], certify, chosen.name)
    match policy:
        case CertifiedByClass():
            labels = splits["certify"]["label"].to_numpy()
            return policy.fit(tune, certify, Classes(classes, labels), look, bare)
        case CertifiedBySite():
            at_sites = [
                None if rows is None else SiteRows(_within(policy, rows), _sites(policy, splits[split]))
                for split, rows in (("tune", tune), ("certify", certify), ("test", bare))
            ]
            placing, testing, scored = at_sites
            if placing is None or testing is None:
                raise InputError("a threshold for each site needs tune and certify rows; there are none.")
            return policy.fit(placing, testing, look, scored)
        case _:
            return policy.fit(tune, certify, look, bare)


def _kind(policy: Certifier) -> str:
    """What the guarantee would have been about, as the results say it."""
    match policy:
        case CertifiedByClass():
            return "class"
        case CertifiedBySite():
            return "site"
        case Capacity():
            return "capacity"
        case _:
            return "risk"


def _sites(policy: CertifiedBySite, rows: pl.DataFrame) -> NDArray[Any]:
    """The site of each row, None where it is not given."""
    name = policy.column if policy.column == GROUP else f"{META}{policy.column}"
    values = rows[name].to_list() if name in rows.columns else [None] * len(rows)
    return np.array([None, *values], object)[1:]


def _within(policy: CertifiedBySite, rows: Calibration) -> Calibration:
    """The rows as they are independent within a site: images, where the group is the site itself."""
    return replace(rows, groups=None) if policy.column == GROUP else rows


def check_sites(policies: Mapping[str, AnyPolicy], index: Index) -> None:
    """Refuse thresholds for sites that the data do not name, before anything is measured.

    Raises:
        InputError: no image has the column, or the groups, which stay whole in one split, are to be the sites.
    """
    for text, policy in policies.items():
        if not isinstance(policy, CertifiedBySite):
            continue
        if policy.column != GROUP and policy.column not in index.meta:
            raise unknown(f"column of {text}", policy.column, [*index.meta, GROUP])
        if policy.column == GROUP and not _mixed(index):
            raise InputError(
                f"{text}: no group has images both to certify and to test, for a split keeps groups whole, so that a "
                "threshold of its own would meet no image. Name a column of the metadata, such as column='camera', or "
                "bring a split of your own."
            )


def _mixed(index: Index) -> bool:
    """Whether some group has images in the certify and in the test split."""
    certify, test = ({index.groups[row] for row in index.rows_of(split)} for split in ("certify", "test"))
    return bool((certify & test) - {None})


def _unlabelled(test: pl.DataFrame, certify: Calibration, signal: str) -> Calibration | None:
    """The scores of the test rows, which chose nothing; their labels are not read."""
    units = groups(test)
    ids = None if units is None else test["sample_id"].to_list()
    return unlabelled_rows(test[f"signal.{signal}"].to_numpy(), certify, units, ids)


def readable_rows(clean: pl.DataFrame, split: str) -> pl.DataFrame:
    """The rows of a split whose images could be read."""
    return clean.filter(pl.col("error").is_null() & (pl.col("split") == split))


_ROUNDER = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4)


def _support(policy: Certifier, refusal: Refusal, tune: Calibration, certify: Calibration) -> dict[str, float | None]:
    """What these labels could prove at best, and the smallest rounder risk they would have passed at.

    The labels are open once a guarantee was refused, so this is a hint for the next plan and no guarantee.
    """
    level, units = refusal.look.risk_level(policy.delta), refusal.labels_given
    return {
        "provable": 1 - level ** (1 / units) if units else None,
        "supported": next(_passed(policy, tune, certify, refusal.look), None) if len(tune) and units else None,
    }


def _passed(policy: Certifier, tune: Calibration, certify: Calibration, look: Look) -> Iterator[float]:
    """The rounder risks at which the rows would have passed."""
    if isinstance(policy, Certified):
        for laxer in (replace(policy, risk=risk) for risk in _ROUNDER if risk > policy.risk):
            if isinstance(laxer.fit(tune, certify, look), Certificate):
                yield laxer.risk


def _average_loss(policy: Certifier, tune: Calibration, certify: Calibration) -> dict[str, Any] | None:
    """The weaker statement, at the same share; None for guarantees it does not stand in for."""
    if isinstance(policy, CertifiedByClass | CertifiedBySite | Capacity) or not len(tune) or not len(certify):
        return None
    found = control_average_loss(tune, certify, policy.risk)
    return None if found is None else {**asdict(found), "sentence": found.sentence}


def _calibration(rows: pl.DataFrame, signal: ScoreTolerance) -> Calibration:
    units = groups(rows)
    return Calibration(
        scores=rows[f"signal.{signal.name}"].to_numpy(),
        tolerance=signal.tolerance,
        wrong=wrong(rows),
        groups=units,
        ids=None if units is None else rows["sample_id"].to_list(),  # only groups ask for them
    )


def plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """JSON has no NaN."""
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in values.items()}
