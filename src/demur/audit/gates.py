"""The gates of a plan, each about a condition or signal the plan has, under its canonical name."""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches

from demur.audit.conditions import Shape, conditions
from demur.errors import UnknownNameError
from demur.registry import build, describe, parse
from demur.registry.gates import Gate, read_gate


def canonical_gates(
    gates: Mapping[str, str], shape: Shape, known: Sequence[str], signals: Sequence[str]
) -> dict[str, str]:
    """Every gate in one spelling; a family of conditions, or a list of values, is one gate for each condition.

    Args:
        gates: key → rule.
        shape: of the images.
        known: canonical names of the plan's conditions.
        signals: canonical names of its signals.

    Raises:
        UnknownNameError: a gate about a condition or signal that is not in the plan.
    """
    found = {}
    for key, rule in gates.items():
        gate = read_gate(key, rule)
        for subject in _subjects(gate, shape, known, signals):
            found[f"{subject}.{gate.measure}"] = gate.rule
    return found


def _subjects(gate: Gate, shape: Shape, known: Sequence[str], signals: Sequence[str]) -> Iterator[str]:
    if gate.signal is not None:
        name = describe(parse(gate.signal).name, build("signal", gate.signal))
        yield f"signals.{_among(name, signals, 'signal', 'signals.use')}"
    elif gate.condition is None:
        yield gate.subject
    else:
        for name in _conditions(gate.condition, shape, known):
            yield _among(name, known, "condition", "conditions.use")


def _conditions(text: str, shape: Shape, known: Sequence[str]) -> list[str]:
    """One condition, each value of a list, or every condition of a family."""
    if text in known:
        return [text]
    family = [name for name in known if parse(name).name == text]
    return family or [condition.name for condition in conditions([text], shape) if condition.kind != "clean"]


def _among(name: str, known: Sequence[str], kind: str, where: str) -> str:
    if name in known:
        return name
    nearest = get_close_matches(name, known, n=1, cutoff=0.0)
    hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
    raise UnknownNameError(
        f"a gate asks about the {kind} {name!r}, which the plan has not.{hint} Or add it to {where}."
    )
