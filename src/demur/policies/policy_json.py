"""Fitted policies to and from plain JSON values."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from demur.errors import InputError, unknown
from demur.policies.band import Band
from demur.policies.certificate import CertifiedPair, CertifiedThreshold
from demur.policies.certificate_json import (
    build_stored,
    load_certificate,
    load_class_certificate,
    load_site_certificate,
)
from demur.policies.class_certificate import ClassThreshold
from demur.policies.policy import Policy, Rule, Threshold
from demur.policies.site_certificate import SiteThresholds
from demur.registry import TABLES, kind_of, names, resolve
from demur.registry.lookup import name_of_class

KINDS: Mapping[str, type[Any]] = {
    "band": Band,
    "certified": CertifiedThreshold,
    "certified_by_class": ClassThreshold,
    "certified_pair": CertifiedPair,
    "certified_by_site": SiteThresholds,
    "rule": Rule,
    "threshold": Threshold,
}
"""Fitted policies of demur's own; one of another package is stored by its registered name."""

LOADERS: Mapping[str, Callable[[object], Any]] = {
    "certified": load_certificate,
    "certified_by_class": load_class_certificate,
    "certified_by_site": load_site_certificate,
    "certified_pair": load_certificate,
}
"""What reads the certificates of those that have one."""


def dump_policy(policy: Policy) -> dict[str, Any]:
    """Plain values that `load_policy` reads back.

    >>> dump_policy(Threshold(uncertainty=0.25))
    {'policy': 'threshold', 'signal': 'msp', 'uncertainty': 0.25}
    """
    for kind, cls in KINDS.items():
        if isinstance(policy, cls):
            return {"policy": kind, **dataclasses.asdict(policy)}
    name = name_of_class("policy", type(policy))
    if name is None or name in TABLES["policy"]:
        raise InputError(
            f"cannot store {type(policy).__name__}: only a fitted policy can be stored ({', '.join(KINDS)}, or one of "
            "another package)."
        )
    stored: Any = policy  # a frozen dataclass, as all that have a name are
    return {"policy": name, **dataclasses.asdict(stored)}


def load_policy(values: Mapping[str, Any]) -> Policy:
    """The policy that `dump_policy` wrote.

    Raises:
        InputError: its kind or one of its fields is unknown or missing.
    """
    fields = dict(values)
    kind = fields.pop("policy", None)
    if kind not in KINDS:
        policy: Policy = build_stored(f"policy {kind!r}", _of_a_package(str(kind)), fields)
        return policy
    if kind in LOADERS:
        fields["certificate"] = LOADERS[kind](fields.get("certificate"))
    made: Policy = build_stored(f"policy {kind!r}", KINDS[kind], fields)
    return made


def _of_a_package(kind: str) -> type[Any]:
    if kind in TABLES["policy"] or kind_of(kind, "policy") is None:
        raise unknown("policy", kind, {*KINDS, *names("policy")})
    return resolve("policy", kind)
