"""Short names of conditions for tables: `FGSM, eps 8/255 (3.1 %)`, `Gaussian noise, severity 3`."""

from collections.abc import Iterator, Mapping

from demur.pipeline.plan.conditions import Condition
from demur.registry import changed_fields
from demur.registry.tables import CENTRED, MARKED

_WORDS = frozenset(
    {"callable", "ensemble", "hopskipjump", "noise", "ray", "spatial", "square", "deepfool", "foolbox", "torchattacks"}
)
"""Attacks that papers write as words; the names of all others are letters."""

_ELSEWHERE = frozenset({"eps", "norm", "keep", "target", "severity", "part", "region", "by"})
_NORMS: Mapping[str, str] = {"l1": "L1", "l2": "L2"}
_POINTS: Mapping[str, str] = {"worst": "worst point", "nearest": "minimal points", "first": "first success"}
_NEAREST = "nearest points found"
_FULL = 255
_FINE, _ROUNDING = 16, 1e-6
"""Small half steps of 1/255 are written as such, as papers on colour images do; others as decimals."""


def title_facts(condition: Condition) -> dict[str, str | None]:
    """What a condition is called in tables, for `run.json`.

    `title` says all: the family, the size, and every field that differs from its default. `heading` is the family
    alone, `level` the size alone. `points` is what the kept points of an attack are, where they are not of the size it
    is judged at: an ensemble is judged at its size and keeps the nearest point of every image, which is its minimal
    perturbation where that is searched for.
    """
    heading, level, rest = _heading(condition), _level(condition), [*_rest(condition)]
    nearest = condition.kind == "attack" and condition.keep == "nearest"
    ends = [_POINTS["nearest"]] if nearest and condition.unlimited and not condition.severity else []
    return {
        "title": ", ".join(filter(None, [heading, level, *rest, *ends])),
        "heading": heading,
        "level": level or None,
        "points": ", ".join([heading, *rest, _POINTS["nearest"] if condition.unlimited else _NEAREST])
        if nearest
        else None,
    }


def _heading(condition: Condition) -> str:
    match condition.kind:
        case "clean":
            return "Clean images"
        case "unknown":
            return "Images of none of the classes"
        case "attack" | "epsilon":
            name = condition.family
            said = name.capitalize() if name in _WORDS else name.upper().replace("_", "-")
            norm = _NORMS.get(condition.norm or "")
            return f"{said} {norm}" if norm else said
        case "intervention":
            return f"{_headed(str(condition.part))} occluded"
        case "corruption" | "map":
            return _headed(condition.family)


def _level(condition: Condition) -> str:
    """The size as it is said: of an attack its eps, of a corruption its severity."""
    if not condition.severity:
        return ""
    if condition.kind != "attack":
        return f"severity {condition.severity:g}"
    if condition.norm != "linf":
        return f"eps {condition.severity:.3g}"
    steps = condition.severity * _FULL
    halves = steps <= _FINE and abs(steps * 2 - round(steps * 2)) < _ROUNDING
    written = f"{steps:g}/{_FULL}" if halves else f"{condition.severity:.3g}"
    return f"eps {written} ({condition.severity * 100:.2g} %)"


def _rest(condition: Condition) -> Iterator[str]:
    """The target, a point that is not the usual one, the region, and the fields that nothing else says."""
    if condition.target is not None:
        yield f"towards {condition.target.replace('_', ' ')}"
    if condition.kind == "attack" and condition.attack and condition.keep != condition.attack.keeps[0]:
        yield _POINTS[condition.keep]
    if condition.region is not None:
        yield " ".join(filter(None, [condition.by, f"{condition.part} by {_region(condition)}"]))
    yield from _fields(condition)


def _fields(condition: Condition) -> Iterator[str]:
    """The fields of a name that nothing else says."""
    thing = condition.attack or condition.map
    for name, value in sorted(changed_fields(thing).items()) if thing else ():
        if name not in _ELSEWHERE:
            yield _field(name.replace("_", " "), value)


def _field(name: str, value: object) -> str:
    match value:
        case bool():
            return name if value else f"no {name}"
        case int() if name.endswith("s"):
            return f"{value} {name if value != 1 else name[:-1]}"
        case float():
            return f"{name} {value:g}"
        case _:
            return f"{name} {value}"


def _region(condition: Condition) -> str:
    known = {MARKED: "object masks", CENTRED: "a blob in the middle"}
    return known.get(str(condition.region), str(condition.region).replace("_", " "))


def _headed(name: str) -> str:
    text = name.replace("_", " ")
    return text[:1].upper() + text[1:]
