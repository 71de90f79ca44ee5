"""Acceptance rules, judged on the bad end of the 95 % interval, and how often the labels they rest on were opened."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypeAlias, cast

from demur.analysis.accuracy.overall import Measure
from demur.analysis.quantity import Quantity
from demur.analysis.results import Results
from demur.analysis.signals.signal_ranking import TargetRow
from demur.analysis.verdict.verdict import Guarantee
from demur.analysis.verdict.verdict_tables import Bearing, GateRow, LabelAccess
from demur.metrics import wilson
from demur.metrics.estimate import Estimate, counted
from demur.openings import Opening
from demur.registry.gate_rules import Gate, read_gate

Outcome: TypeAlias = Literal["pass", "fail", "inconclusive"]
Found: TypeAlias = list[tuple[str | None, Quantity]]

_SEVERITY: Mapping[Outcome, int] = {"fail": 0, "inconclusive": 1, "pass": 2}
_MOST = 10_000_000
_NO_GUARD = "no guarantee was issued, so it abstains on nothing"


def judge_gates(gates: Mapping[str, str], results: Results) -> tuple[GateRow, ...]:
    """Every gate of a plan against the results of its audit, in the order of the plan."""
    return tuple(_judged(read_gate(key, rule), key, results) for key, rule in gates.items())


def gates_next_step(gates: tuple[GateRow, ...]) -> str | None:
    """What to do where the gates are not all passed."""
    failed, open_ = ([row for row in gates if row.outcome == outcome] for outcome in ("fail", "inconclusive"))
    if failed:
        return (
            f"Do not use it by your own rules ({_listed(failed)}). Improve the model, and audit it on images whose "
            "labels that have not been opened yet."
        )
    if open_:
        return f"Label more images: your own rules are not decided yet ({_listed(open_)})."
    return None


def _listed(rows: list[GateRow]) -> str:
    return ", ".join(f"{row.key} {row.rule}" for row in rows)


def _judged(gate: Gate, key: str, results: Results) -> GateRow:
    found = _found(gate, results)
    if gate.subject not in {"checks", "guarantee"} and (void := _void(gate, results)) is not None:
        found = [(None, _undefined(f"{void}, so it decides nothing"))]
    of, value = min(found, key=lambda one: (_SEVERITY[outcome(gate, one[1])], _slack(gate, one[1])))
    decided = outcome(gate, value)
    needed = units_needed(gate, value) if decided == "inconclusive" else None
    return GateRow(
        key=key,
        rule=gate.rule,
        of=of,
        value=value,
        outcome=decided,
        units_needed=needed,
        sentence=_sentence(gate, value, decided, needed),
    )


def _void(gate: Gate, results: Results) -> str | None:
    """Why the figure that a gate is about is not to be used."""
    if results.state == "measurement_failed":
        return "the measurement failed its checks"
    failed = results.void(_figures(gate, results))
    return f"the measurement of this {failed}" if failed else None


def _figures(gate: Gate, results: Results) -> Bearing:
    """Which figures a gate is about."""
    if gate.subject == "guard_attack":
        return "the guard under attack"
    if gate.subject == "robust" or gate.measure == "attack_auroc":
        return "attacks"
    if gate.subject == "unknown" or gate.measure == "unknown_auroc":
        return "unknown images"
    kind = next((row.kind for row in results.conditions if row.condition == gate.condition), None)
    if kind in {"attack", "corruption"} or gate.measure == "shift_auroc":
        return "attacks" if kind == "attack" else "corruptions"
    return "rankings" if gate.signal is not None else "everything"


def outcome(gate: Gate, value: Quantity) -> Outcome:
    """The verdict on one number: by the bad end of its interval, or the good one."""
    bad, good = _ends(gate, value)
    if gate.holds(bad):
        return "pass"
    return "inconclusive" if math.isnan(good) or gate.holds(good) else "fail"


def _ends(gate: Gate, value: Quantity) -> tuple[float, float]:
    """The bad end of the interval and the good one."""
    return (value.low, value.high) if gate.upward else (value.high, value.low)


def _slack(gate: Gate, value: Quantity) -> float:
    """How far the bad end lies on the good side of the bar; the worst is the smallest."""
    bad, _ = _ends(gate, value)
    return -math.inf if math.isnan(bad) else (bad - gate.bar) * (1 if gate.upward else -1)


def units_needed(gate: Gate, value: Quantity) -> int | None:
    """About how many images or groups would decide, if the value stays as it is; None where no number would.

    Shares of images have Wilson's interval; other intervals shrink with the root of their number.
    """
    gap = abs(value.value - gate.bar)
    if math.isnan(value.value) or gap == 0 or not value.n:
        return None
    if gate.measure in {"accuracy", "coverage", "risk", "answered"} and value.unit == "image":
        needed: float = _enough(gate, value)
    else:
        bad, good = _ends(gate, value)
        reach = abs(value.value - (bad if gate.holds(value.value) else good))
        needed = value.n * (reach / gap) ** 2
    return _rounded_up(needed) if needed < _MOST else None


def _enough(gate: Gate, value: Quantity) -> int:
    low, high = value.n, 2 * value.n
    while high < _MOST and not _decides(gate, value.value, high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _decides(gate, value.value, middle) else (middle, high)
    return high


def _decides(gate: Gate, value: float, n: int) -> bool:
    return outcome(gate, Quantity.of(wilson(value * n, n))) != "inconclusive"


def _rounded_up(number: float) -> int:
    """To two digits, upwards."""
    base: int = 10 ** max(0, len(str(math.ceil(number))) - 2)
    return math.ceil(number / base) * base


def _sentence(gate: Gate, value: Quantity, decided: Outcome, needed: int | None) -> str:
    if gate.relation == "is":
        return f"It is {'so' if value.value else 'not so'}"
    if math.isnan(value.value):
        return f"Not measured: {value.reason or 'undefined here'}"
    bad, good = _ends(gate, value)
    if value.low == value.high:
        return f"Counted: {value.value:g}"
    if decided == "pass":
        return f"Even the bad end of the interval, {bad:.4g}, is {gate.rule}"
    if decided == "fail":
        return f"Not even the good end of the interval, {good:.4g}, is {gate.rule}"
    if math.isnan(bad) or math.isnan(good):
        return f"The interval has no end on that side: {value.reason or 'undefined here'}"
    more = f"about {needed:,} would probably decide" if needed else "no realistic number would decide"
    seen = counted(value.n, value.unit)
    return f"The interval, {value.low:.4g} to {value.high:.4g}, straddles {gate.bar:.4g}: {seen} measured, {more}"


def _found(gate: Gate, results: Results) -> Found:
    """What a gate is about, by name where it is about several."""
    if gate.signal is not None:
        return [(None, _of_signal(gate.signal, gate.measure, results))]
    if gate.condition is not None:
        return [(None, _of_condition(gate.condition, gate.measure, results))]
    if gate.subject == "worst_class":
        return _classes(gate, results)
    return _SUBJECTS[gate.subject](gate.measure, results)


def _of_signal(name: str, measure: str, results: Results) -> Quantity:
    targets = {f"{target}_auroc": (target, "auroc") for target in ("attack", "shift", "unknown")}
    target, metric = targets.get(measure, ("error", measure))
    rows: dict[str, TargetRow] = {
        row.target: row for signal in results.signals if signal.name == name for row in signal.targets
    }
    quantity: Quantity | None = getattr(rows.get(target), metric, None)
    return quantity or _undefined(f"the plan measures no {target} for {name}")


def _of_condition(name: str, measure: str, results: Results) -> Quantity:
    row = next((row for row in results.conditions if row.condition == name), None)
    quantity: Quantity | None = getattr(row, measure, None)
    return quantity or _undefined(_NO_GUARD if row else "the audit has no such condition")


def _guarantee(measure: str, results: Results) -> Found:
    if measure == "issued":
        return [(None, _exact(results.state == "issued"))]
    if results.guarantee is None:
        return [(None, _undefined("no guarantee was issued"))]
    if measure == "coverage":
        return [(None, _coverage(results.guarantee))]
    return [(None, results.guarantee.test_risk)]


def _coverage(guarantee: Guarantee) -> Quantity:
    """The share of test images answered; without any the certified one, whose low end is its bound."""
    if guarantee.test_n:
        return guarantee.coverage
    n = guarantee.coverage_n
    value = guarantee.coverage_answers / n
    return Quantity(value=value, low=guarantee.coverage_low, high=1.0, n=n, unit=guarantee.unit)


def _robust(measure: str, results: Results) -> Found:
    if results.manipulation is None:
        return [(None, _undefined("no attack was run"))]
    found = results.manipulation
    accuracy = found.robust_accuracy or _undefined("the plan has no attack of a stated size")
    return [(None, accuracy if measure == "accuracy" else found.median_distance)]


def _guard_attack(measure: str, results: Results) -> Found:
    """What an attacker who knows the guard found, at the size of the headline: a better one can only find more."""
    attacked = results.guard_attack
    if attacked is None:
        return [(None, _undefined("the guard was not attacked: there is none, or the plan has no [guard_attack]"))]
    size = next((size for size in attacked.sizes if size.eps == attacked.eps), None)
    if size is None:
        return [(None, _undefined(f"the guard was not attacked: {attacked.reason}"))]
    return [(None, getattr(size, measure))]


def _unknown(measure: str, results: Results) -> Found:
    if results.unknown is None:
        return [(None, _undefined("the plan names no images of none of the classes"))]
    return [(None, getattr(results.unknown, measure))]


def _classes(gate: Gate, results: Results) -> Found:
    """Every class with the ends that a gate reads.

    That some class fails is read off many at once, so the good end is that of the interval which holds for all; that
    every class passes needs no correction, so the bad end is the class's own.
    """
    end, measure = "low" if gate.upward else "high", cast("Measure", gate.measure)
    together = ((row, getattr(row, measure) or _undefined(_NO_GUARD)) for row in results.per_class)
    return [
        (row.name, found.model_copy(update={end: getattr(row.alone.get(measure, found), end)}))
        for row, found in together
    ]


def _calibration(measure: str, results: Results) -> Found:
    return [(None, getattr(results.calibration, measure))]


def _checks(measure: str, results: Results) -> Found:
    """Checks of the labels do not count: a model that is judged by them must not clear or damn itself."""
    state = {"failed": "fail", "warned": "warn"}[measure]
    return [(None, _exact(sum(check.state == state and check.bears_on != "labels" for check in results.checks)))]


_SUBJECTS: Mapping[str, Callable[[str, Results], Found]] = {
    "guarantee": _guarantee,
    "robust": _robust,
    "guard_attack": _guard_attack,
    "unknown": _unknown,
    "calibration": _calibration,
    "checks": _checks,
}


def _exact(value: float) -> Quantity:
    """A count, without an interval."""
    return Quantity(value=value, low=value, high=value, n=1)


def _undefined(reason: str) -> Quantity:
    return Quantity.of(Estimate.undefined(reason))


def label_access(known: Sequence[Opening]) -> LabelAccess | None:
    """How often the labels of a run were opened, from its notes, oldest first; None where nothing was noted."""
    if not known:
        return None
    certify, test = ([entry for entry in known if entry["split"] == split] for split in ("certify", "test"))
    plans, models = (len({entry[f"{name}_sha256"] for entry in known}) for name in ("plan", "model"))
    return LabelAccess(
        certify=len(certify),
        test=len(test),
        first_certify=certify[0]["at"] if certify else None,
        first_test=test[0]["at"] if test else None,
        plans=plans,
        models=models,
        sentence=_access_sentence(test, plans, models, known),
        gate_changes=_gate_changes(test),
    )


def _access_sentence(test: Sequence[Opening], plans: int, models: int, known: Sequence[Opening]) -> str:
    if not test:
        return "Test labels not opened yet"
    first = test[0]["at"][:16].replace("T", " ")
    alone = "; other runs on the same images could not be counted" if known[-1]["scope"] == "run" else ""
    return (
        f"Test opened {_plural(len(test), 'time')}, under {_plural(plans, 'plan')} and for {_plural(models, 'model')}, "
        f"first on {first} UTC{alone} (another limit of the same data is counted apart)"
    )


def _gate_changes(test: Sequence[Opening]) -> tuple[str, ...]:
    """How today's gates differ from the last ones before they were written, if the test labels were open by then."""
    if not test:
        return ()
    now = test[-1]["gates"]
    written = next(at for at, entry in enumerate(test) if entry["gates"] == now)
    if written == 0:
        return ()
    before = test[written - 1]["gates"]
    return tuple(
        f"{key}: {now.get(key, 'dropped')}, {f'was {before[key]}' if key in before else 'not asked before'}"
        for key in sorted({*before, *now})
        if before.get(key) != now.get(key)
    )


def _plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
