"""The one way from scores to answers and abstentions, for an audit, a table of scores and a guard alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import ArrayLike

from demur.errors import InputError
from demur.policies.policy import Flags, Floats, Policy, Reasons, Scores, column
from demur.policies.site_certificate import Sited
from demur.policies.tolerance import EXACT, Tolerance

Bounds: TypeAlias = Mapping[str, float | Floats]
"""Canonical signal name → the highest uncertainty at which an answer is given, one number or one per row."""


@runtime_checkable
class Bounded(Protocol):
    """A policy that answers up to a bound on each of its signals."""

    @property
    def bounds(self) -> Bounds:
        """The highest uncertainty of each signal at which an answer is given."""
        ...


@dataclass(frozen=True, eq=False)
class PolicyDecisions:
    """What a policy does with some rows.

    Attributes:
        accepted: whether each row's answer may be given, (rows,).
        reasons: why it is withheld, a reason code; empty where it is given.
        distances: per signal the bound minus the score, in the unit of the signal: negative above the bound, NaN where
            there is no bound or no score. Empty for a policy without bounds.
        near: within its tolerance of a bound, so that another batch or machine may decide otherwise.
    """

    accepted: Flags
    reasons: Reasons
    distances: Mapping[str, Floats]
    near: Flags


def decide(
    policy: Policy,
    scores: Scores,
    sites: ArrayLike | None = None,
    tolerances: Mapping[str, Tolerance] | None = None,
) -> PolicyDecisions:
    """Answers and abstentions of a policy on rows with these scores.

    Args:
        policy: any policy; one that goes by sites needs them.
        scores: one per row for each signal that the policy reads.
        sites: where each row comes from, where the policy has a threshold for each site.
        tolerances: how far a score of each signal may move; those that are not there are exact.

    Raises:
        InputError: the policy goes by sites, and none, or not one per row, were given.
        UnknownNameError: a signal of the policy has no scores.
    """
    here, widths = _there(policy, scores, sites), tolerances or {}
    distances = {name: _distance(here, scores, name) for name in here.signals} if isinstance(here, Bounded) else {}
    near = np.zeros(len(column(scores, here.signals[0])), bool)
    for name, distance in distances.items():
        near |= np.abs(distance) <= widths.get(name, EXACT).of(column(scores, name))
    return PolicyDecisions(here.accepts(scores), here.reasons(scores), distances, near)


def _distance(policy: Bounded, scores: Scores, name: str) -> Floats:
    with np.errstate(invalid="ignore"):  # an infinite score has no distance from an infinite bound
        return np.asarray(policy.bounds[name] - column(scores, name), np.float64)


def _there(policy: Policy, scores: Scores, sites: ArrayLike | None) -> Policy:
    """The policy at the sites of the rows, where it has thresholds by site."""
    if not isinstance(policy, Sited):
        return policy
    rows = len(column(scores, policy.signals[0]))
    if sites is None or len(np.asarray(sites, object)) != rows:
        raise InputError(
            f"this policy has a threshold for each {policy.column} and must be told where each image comes from; got "
            f"{'nothing' if sites is None else len(np.asarray(sites, object))} for {rows} images."
        )
    return policy.at(sites)
