"""The one way from scores to answers and abstentions, for an audit, a table of scores and a guard alike."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Protocol, TypeAlias, cast, runtime_checkable

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


@runtime_checkable
class Floored(Protocol):
    """A policy that answers from a floor of some of its signals on."""

    @property
    def floors(self) -> Bounds:
        """The lowest uncertainty of such a signal at which an answer is given."""
        ...


@dataclass(frozen=True, eq=False)
class PolicyDecisions:
    """What a policy does with some rows.

    Attributes:
        accepted: whether each row's answer may be given, (rows,).
        reasons: why it is withheld, a reason code; empty where it is given.
        distances: per signal the bound minus the score, or the score minus its floor where that is nearer, in the unit
            of the signal: negative where that withholds the answer, NaN where there is no bound or no score. Empty for
            a policy without bounds.
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
    distances = _distances(here, scores)
    close = [np.abs(each) <= widths.get(name, EXACT).of(scores[name]) for name, each in distances.items()]
    near = reduce(or_, close) if close else np.zeros(len(column(scores, here.signals[0])), bool)
    return PolicyDecisions(here.accepts(scores), here.reasons(scores), distances, near)


_MEETS = dict[tuple[type, type], bool]()


def _meets(policy: Policy, protocol: type) -> bool:
    """Whether a policy meets a protocol; asked once for each class, for that takes longer than a decision."""
    key = type(policy), protocol
    if key not in _MEETS:
        _MEETS[key] = isinstance(policy, protocol)
    return _MEETS[key]


def _distances(policy: Policy, scores: Scores) -> dict[str, Floats]:
    if not _meets(policy, Bounded):
        return {}
    bounds = cast("Bounded", policy).bounds
    floors = cast("Floored", policy).floors if _meets(policy, Floored) else {}
    found = {name: np.asarray(bound - column(scores, name)) for name, bound in bounds.items()}
    return found | {name: np.minimum(found[name], column(scores, name) - floor) for name, floor in floors.items()}


def _there(policy: Policy, scores: Scores, sites: ArrayLike | None) -> Policy:
    """The policy at the sites of the rows, where it has thresholds by site."""
    if not _meets(policy, Sited):
        return policy
    by_site = cast("Sited", policy)
    rows = len(column(scores, policy.signals[0]))
    if sites is None or len(np.asarray(sites, object)) != rows:
        raise InputError(
            f"this policy has a threshold for each {by_site.column} and must be told where each image comes from; got "
            f"{'nothing' if sites is None else len(np.asarray(sites, object))} for {rows} images."
        )
    return by_site.at(sites)
