"""Fitted policies to and from plain JSON values."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from demur.errors import InputError, unknown
from demur.policies.certificate import Certificate, CertifiedThreshold
from demur.policies.coverage_bound import CoverageBound
from demur.policies.look import Look
from demur.policies.policy import Policy, Rule, Threshold
from demur.policies.tolerance import Tolerance
from demur.registry import TABLES, kind_of, names, resolve
from demur.registry.lookup import name_of_class

Built = TypeVar("Built")

KINDS: Mapping[str, type[Any]] = {
    "certified": CertifiedThreshold,
    "rule": Rule,
    "threshold": Threshold,
}
"""Fitted policies of demur's own; one of another package is stored by its registered name."""


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
        cls = _of_a_package(str(kind))
        return _build(f"policy {kind!r}", cls, _fields(cls), fields)
    if kind == "certified":
        fields["certificate"] = _certificate(fields.get("certificate"))
    return _build(f"policy {kind!r}", KINDS[kind], _fields(KINDS[kind]), fields)


def _certificate(stored: object) -> Certificate:
    if not isinstance(stored, Mapping):
        return _build("certificate", Certificate, _fields(Certificate), stored)
    parts = {
        "tolerance": Tolerance.load(stored.get("tolerance")),
        "look": _build("look", Look, _fields(Look), stored.get("look")),
        "coverage": _build("bound on coverage", CoverageBound, _fields(CoverageBound), stored.get("coverage")),
    }
    return _build("certificate", Certificate, _fields(Certificate), {**stored, **parts})


def _of_a_package(kind: str) -> type[Any]:
    if kind in TABLES["policy"] or kind_of(kind, "policy") is None:
        raise unknown("policy", kind, {*KINDS, *names("policy")})
    return resolve("policy", kind)


def _fields(cls: type[Any]) -> set[str]:
    return {field.name for field in dataclasses.fields(cls)}


def _build(what: str, cls: Callable[..., Built], known: set[str], fields: object) -> Built:
    if not isinstance(fields, Mapping) or set(fields) != known:
        found = ", ".join(sorted(fields)) if isinstance(fields, Mapping) else repr(fields)
        raise InputError(f"cannot read a stored {what}: it must have exactly {', '.join(sorted(known))}; got {found}.")
    return cls(**fields)
