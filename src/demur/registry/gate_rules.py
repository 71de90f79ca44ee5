"""The costs of errors and the gates that a plan writes in a line each."""

import hashlib
import json
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from demur.errors import InputError, unknown

ABSTAINED = "abstained"
"""The key of `[costs]` for an image the guard abstains on."""

HUMAN_ERROR = "human_error"
"""The key of `[costs]` for the share of images that a person answers wrong."""

_AS = " as "


def read_prevalence(text: str, positive: str | None) -> tuple[str, float]:
    """The positive class and its share in use, from `positive=0.005` or `defective=0.005`.

    >>> read_prevalence("positive=.005", "defective")
    ('defective', 0.005)

    Raises:
        InputError: not a share, no positive class is named, or two different ones are.
    """
    name, _, number = text.partition("=")
    try:
        share = float(number)
    except ValueError:
        share = math.nan
    if not 0 < share < 1:
        raise InputError(
            f"a prevalence is NAME=SHARE with a share strictly between 0 and 1; got {text!r}. Write 0.5 % of positives "
            "as positive=0.005."
        )
    name = name.strip()
    if name == "positive" and positive is None:
        raise InputError(
            f"the prevalence {text!r} needs to know which class is the positive one. Set data.positive to its name, or "
            "write the name instead of the word positive."
        )
    if positive is not None and name not in {"positive", positive}:
        raise InputError(f"the prevalence is that of {name!r}, the positive class is {positive!r}. Name one of them.")
    return positive or name, share


def check_positive(positive: str, classes: Sequence[str]) -> None:
    """Refuse a positive class that is none."""
    if positive not in classes:
        raise unknown("class in data.positive", positive, classes)


def read_costs(costs: Mapping[str, float], classes: Sequence[str]) -> dict[tuple[str, str], float]:
    """(true class, answer) → cost, from keys such as `defective as functional`, without `abstained`, `human_error`.

    Raises:
        InputError: a key of another form, a class that is none, a cost that is not a finite number of at least 0, or an
            error rate of a person that is no share.
    """
    for key, cost in costs.items():
        if not (math.isfinite(cost) and cost >= 0):
            raise InputError(f"the cost of {key!r} must be a finite number of at least 0; got {cost}.")
    if costs.get(HUMAN_ERROR, 0.0) > 1:
        raise InputError(
            f"`{HUMAN_ERROR}` is the share of images that a person answers wrong, from 0 to 1; got "
            f"{costs[HUMAN_ERROR]:g}. Write 5 % as 0.05."
        )
    return {_pair(key, classes): cost for key, cost in costs.items() if key not in {ABSTAINED, HUMAN_ERROR}}


def _pair(key: str, classes: Sequence[str]) -> tuple[str, str]:
    pairs = [(one, other) for one in classes for other in classes if f"{one}{_AS}{other}" == key and one != other]
    if pairs:
        return pairs[0]
    for name in key.split(_AS, 1):
        if _AS in key and name not in classes:
            raise unknown(f"class in the cost of {key!r}:", name, classes)
    raise InputError(
        f"a cost is written “{classes[0]} as {classes[1]}” (the true class, then the wrong answer), “{ABSTAINED}” or "
        f"“{HUMAN_ERROR}”; "
        f"got {key!r}."
    )


Kind: TypeAlias = Literal["share", "number", "count", "flag"]

CONDITION: Mapping[str, Kind] = {"accuracy": "share", "coverage": "share", "risk": "share"}
"""Measures of one condition: accuracy over all its rows; coverage and risk of the guard over its test rows."""

SIGNAL: Mapping[str, Kind] = {
    **dict.fromkeys(("auroc", "aurc", "augrc", "fpr95", "coverage_at_risk"), "share"),
    **dict.fromkeys(("attack_auroc", "shift_auroc", "unknown_auroc"), "share"),
}
"""Measures of one signal: against errors, and its AUROC against attacked, corrupted and unknown images."""

SUBJECTS: Mapping[str, Mapping[str, Kind]] = {
    "guarantee": {"issued": "flag", "coverage": "share", "risk": "share"},
    "robust": {"accuracy": "share", "distance": "share"},
    "worst_class": CONDITION,
    "guard_attack": {"found": "share", "robust": "share"},
    "unknown": {"answered": "share"},
    "calibration": {"ece": "share", "nll": "number", "brier": "number"},
    "checks": {"failed": "count", "warned": "count"},
}
"""Measures of the whole audit; those of `worst_class` are asked of every class."""

_RELATIONS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    ">": operator.gt,
    "<": operator.lt,
    "is": operator.eq,
}
_RULE = re.compile(r"(>=|<=|>|<)\s*([0-9.]+(?:[eE][-+]?[0-9]+)?)(?:\s*/\s*([0-9.]+))?")


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One acceptance rule."""

    subject: str
    measure: str
    relation: str
    bar: float

    @property
    def signal(self) -> str | None:
        """The signal it is about."""
        return self.subject.removeprefix("signals.") if self.subject.startswith("signals.") else None

    @property
    def condition(self) -> str | None:
        """The condition, or family of conditions, it is about."""
        return None if self.signal is not None or self.subject in SUBJECTS else self.subject

    @property
    def rule(self) -> str:
        """Its rule in one spelling."""
        return ("true" if self.bar else "false") if self.relation == "is" else f"{self.relation} {self.bar:.8g}"

    @property
    def upward(self) -> bool:
        """Whether more is better, so that the low end of an interval is its bad end."""
        return self.relation.startswith(">")

    def holds(self, value: float) -> bool:
        """Whether a value satisfies the rule; NaN satisfies none."""
        return _RELATIONS[self.relation](value, self.bar)


def read_gate(key: str, rule: str) -> Gate:
    """A gate from its key and its rule.

    >>> read_gate("clean.accuracy", ">= 4/5")
    Gate(subject='clean', measure='accuracy', relation='>=', bar=0.8)

    Raises:
        InputError: the key or the rule does not parse, or the number is none the measure can take.
        UnknownNameError: a measure its subject does not have; the nearest is offered.
    """
    subject, dot, measure = key.strip().rpartition(".")
    if not dot or not subject:
        raise InputError(f"a gate's key is SUBJECT.MEASURE, such as clean.accuracy or guarantee.issued; got {key!r}.")
    measures = SIGNAL if subject.startswith("signals.") else SUBJECTS.get(subject, CONDITION)
    if measure not in measures:
        others = [] if subject in SUBJECTS else [f"{name}.{one}" for name, known in SUBJECTS.items() for one in known]
        raise unknown("gate", key, [*(f"{subject}.{one}" for one in measures), *others])
    relation, bar = _read_rule(key, rule.strip(), measures[measure])
    return Gate(subject=subject, measure=measure, relation=relation, bar=bar)


def _read_rule(key: str, rule: str, kind: Kind) -> tuple[str, float]:
    if kind == "flag":
        if rule not in {"true", "false"}:
            raise InputError(f'gate {key!r} asks a yes-or-no question: write "true" or "false"; got {rule!r}.')
        return "is", float(rule == "true")
    match = _RULE.fullmatch(rule)
    if match is None:
        raise InputError(
            f"gate {key!r}: a rule is >=, <=, > or < and a number, such as >= 0.80; got {rule!r}. Write 80 % as 0.80."
        )
    bar = _number(key, match)
    if kind == "share" and not 0 <= bar <= 1:
        raise InputError(f"gate {key!r}: {match[0]!r} must compare with a number in [0, 1]. Write 80 % as 0.80.")
    return match[1], bar


def _number(key: str, match: re.Match[str]) -> float:
    try:
        return float(match[2]) / float(match[3] or 1)
    except (ValueError, ZeroDivisionError):
        raise InputError(f"gate {key!r}: the number in {match[0]!r} does not parse. Write it as 0.80 or 4/5.") from None


def gates_sha256(gates: Mapping[str, str]) -> str:
    """Hash of a set of gates, whatever their order."""
    return hashlib.sha256(json.dumps(dict(gates), sort_keys=True).encode()).hexdigest()
