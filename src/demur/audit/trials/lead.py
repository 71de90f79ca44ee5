"""Which attack of a plan is tried, and whether those of a fixed step can reach the edge of their ball."""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any, cast

from demur.attacks.ensemble import Ensemble
from demur.attacks.pgd import PGD
from demur.attacks.walk import Attack
from demur.audit.conditions import Condition
from demur.audit.trials.lab import Finding

_STEPS = 20


def lead_of(found: Sequence[Condition]) -> Attack | None:
    """The longest iterated attack in a ball, at the reported size where there is one.

    The reported size is that of the attack that keeps its worst point, of an ensemble, or of the first in a ball. An
    ensemble lends its own attack where the plan has no other; PGD stands in where there is none. None without a size.
    """
    untargeted = (c for c in found if c.attack is not None and c.target is None)
    bounded = [c for c in untargeted if c.severity > 0 and c.norm in {"linf", "l2"}]
    if not bounded:
        return None
    reported = min(bounded, key=lambda c: (c.keep != "worst", not isinstance(c.attack, Ensemble)))
    plain = [attack for c in bounded for attack in _iterated(c.attack)]
    iterated = plain or [attack for c in bounded for attack in _stages(c.attack)]
    here = [a for a in iterated if (a.eps, a.norm) == (reported.severity, reported.norm)]
    if not iterated:
        return PGD(eps=reported.severity, norm=cast(Any, reported.norm), steps=_STEPS)
    return max(here or iterated, key=lambda attack: attack.steps)


def _iterated(attack: Any) -> Iterator[Attack]:
    """An attack that follows gradients in a ball step by step."""
    if _fields(attack) >= {"eps", "steps", "norm", "loss"} and attack.needs == "gradient":
        yield attack


def _stages(attack: Any) -> Iterator[Attack]:
    """The first such attack of an ensemble."""
    if isinstance(attack, Ensemble):
        yield from [found for stage in attack.stages for found in _iterated(stage.attack)][:1]


def starts_at_random(attack: Attack) -> bool:
    """Whether another start could find something else."""
    return "restarts" in _fields(attack)


def reach(found: Sequence[Condition]) -> Iterator[Finding]:
    """Attacks whose step is so short that all of their steps together do not lead to the edge of their ball."""
    stepped = [c for c in found if _fields(c.attack) >= {"eps", "steps", "step"}]
    short = [c.name for c in stepped if _path(c.attack) < c.severity * (1 - 1e-9)]
    if stepped:
        yield Finding("reach", tuple(short), len(stepped))


def _path(attack: Any) -> float:
    """How far all steps lead; a step that is left open is chosen to lead far enough."""
    return float("inf") if attack.step is None else attack.step * attack.steps


def _fields(attack: Any) -> set[str]:
    return set() if attack is None else {field.name for field in fields(attack)}
