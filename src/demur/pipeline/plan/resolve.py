"""The plan with every default written out and checked against the classes and the shape of the images."""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches

from demur.errors import UnknownNameError
from demur.pipeline.plan.conditions import Shape, conditions
from demur.pipeline.plan.plan_file import Plan
from demur.registry import build, describe, parse
from demur.registry.error_costs import check_positive, read_costs, read_prevalence
from demur.registry.gate_rules import Gate, read_gate


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


def with_error_direction(plan: Plan, classes: Sequence[str]) -> Plan:
    """The plan with its positive class and prevalence in one spelling.

    Raises:
        InputError: a class that is none, a prevalence that is no share, or a cost of another form.
    """
    read_costs(plan.costs, classes)
    positive, prevalence = plan.data.positive, plan.data.prevalence
    if prevalence is not None:
        positive, share = read_prevalence(prevalence, positive)
        prevalence = f"positive={share:.8g}"
    if positive is not None:
        check_positive(positive, classes)
    data = plan.data.model_copy(update={"positive": positive, "prevalence": prevalence})
    return plan.model_copy(update={"data": data})
