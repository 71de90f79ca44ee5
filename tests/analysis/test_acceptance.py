"""Every gate against the table its number stands in, and every outcome against the definition."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests import tiny

from demur.analysis import analyse
from demur.analysis.acceptance import gates_next_step, judge_gates, outcome, units_needed
from demur.analysis.quantity import Quantity
from demur.analysis.verdict.verdict_tables import Check
from demur.metrics import wilson
from demur.registry.gate_rules import SIGNAL, SUBJECTS, read_gate


def quantity(low, value, high, n=100, unit="image"):
    return Quantity(value=value, low=low, high=high, n=n, unit=unit)


def one(results, key, rule):
    return judge_gates({key: rule}, results)[0]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (">= 0.7", "pass"),
        (">= 0.8", "pass"),
        (">= 0.85", "inconclusive"),
        (">= 0.9", "inconclusive"),
        (">= 0.91", "fail"),
        ("> 0.8", "inconclusive"),
        ("> 0.9", "fail"),
        ("<= 0.95", "pass"),
        ("<= 0.9", "pass"),
        ("<= 0.85", "inconclusive"),
        ("<= 0.8", "inconclusive"),
        ("<= 0.7", "fail"),
        ("< 0.9", "inconclusive"),
        ("< 0.8", "fail"),
    ],
)
def test_the_bad_end_decides(rule, expected):
    assert outcome(read_gate("clean.accuracy", rule), quantity(0.8, 0.85, 0.9)) == expected


@pytest.mark.parametrize(
    ("found", "rule", "expected"),
    [
        (quantity(math.nan, math.nan, math.nan), ">= 0.1", "inconclusive"),
        (quantity(math.nan, 0.5, math.nan), ">= 0.9", "inconclusive"),
        (quantity(0.2, 0.3, math.nan), ">= 0.1", "pass"),
        (quantity(0.2, 0.3, math.nan), ">= 0.25", "inconclusive"),
        (quantity(0.2, 0.3, math.nan), "<= 0.1", "fail"),
    ],
)
def test_an_end_that_is_not_there_passes_nothing(found, rule, expected):
    assert outcome(read_gate("robust.distance", rule), found) == expected


@given(right=st.integers(0, 200), bar=st.floats(0.01, 0.99), upward=st.booleans())
def test_as_many_images_as_it_says_would_decide(right, bar, upward):
    gate = read_gate("clean.accuracy", f"{'>=' if upward else '<='} {bar!r}")
    value = Quantity.of(wilson(right, 200))
    if outcome(gate, value) != "inconclusive":
        return
    needed = units_needed(gate, value)
    if needed is None:
        assert abs(value.value - bar) < 0.001
        return
    assert needed > 200
    assert outcome(gate, Quantity.of(wilson(value.value * needed, needed))) != "inconclusive"
    before = int(needed / 1.2)
    if before > 200:
        assert outcome(gate, Quantity.of(wilson(value.value * before, before))) == "inconclusive"


def test_other_intervals_shrink_with_the_root_of_their_number():
    gate = read_gate("signals.msp.auroc", ">= 0.88")
    assert units_needed(gate, quantity(0.8, 0.9, 0.95, n=100)) == 2500
    assert units_needed(read_gate("clean.accuracy", ">= 0.88"), quantity(0.8, 0.9, 0.95, 12, "group")) == 300
    assert units_needed(gate, quantity(0.8, 0.88, 0.95)) is None


@pytest.mark.parametrize("entry", range(9))
def test_a_condition_s_gate_reads_its_row(results, entry):
    row = results.conditions[entry]
    for measure in ("accuracy", "coverage", "risk"):
        found = one(results, f"{row.condition}.{measure}", ">= 0.5")
        assert found.value == getattr(row, measure)
        assert found.outcome == outcome(read_gate("clean.accuracy", ">= 0.5"), getattr(row, measure))


@pytest.mark.parametrize("measure", sorted(set(SIGNAL) - {"unknown_auroc"}))
def test_a_signal_s_gate_reads_its_target(results, measure):
    targets = {row.target: row for row in results.signals[1].targets}
    name = results.signals[1].name
    target = {"attack_auroc": "attack", "shift_auroc": "shift"}.get(measure, "error")
    expected = getattr(targets[target], "auroc" if measure.endswith("auroc") else measure)
    assert one(results, f"signals.{name}.{measure}", ">= 0.5").value == expected


def test_the_gates_of_the_whole_audit_read_their_tables(results):
    expected = {
        "guarantee.issued": quantity(1, 1, 1, 1),
        "guarantee.coverage": results.guarantee.coverage,
        "guarantee.risk": results.guarantee.test_risk,
        "robust.accuracy": results.manipulation.robust_accuracy,
        "robust.distance": results.manipulation.median_distance,
        "calibration.ece": results.calibration.ece,
        "calibration.nll": results.calibration.nll,
        "calibration.brier": results.calibration.brier,
        "checks.failed": quantity(0, 0, 0, 1),
        "checks.warned": quantity(*3 * [sum(check.state == "warn" for check in results.checks)], 1),
    }
    assert {key.partition(".")[0] for key in expected} | {"worst_class", "unknown", "guard_attack"} == set(SUBJECTS)
    for key, value in expected.items():
        assert one(results, key, "true" if key == "guarantee.issued" else "<= 1").value == value, key


def test_a_rule_on_the_worst_class_is_asked_of_every_class(results):
    rows = results.per_class
    ends = [row.alone["accuracy"].low for row in rows]
    found = one(results, "worst_class.accuracy", f">= {min(ends) - 0.01:.8f}")
    assert (found.outcome, found.of) == ("pass", rows[int(np.argmin(ends))].name)
    broken = rows[1].model_copy(update={"accuracy": quantity(0.1, 0.2, 0.3), "alone": {}})
    wide = rows[2].model_copy(update={"accuracy": quantity(0.0, 0.5, 1.0), "alone": {}})
    one_bad = results.model_copy(update={"per_class": (rows[0], broken, wide)})
    found = one(one_bad, "worst_class.accuracy", ">= 0.4")
    assert (found.outcome, found.of) == ("fail", rows[1].name), "a failed class outweighs an undecided one"
    one_open = results.model_copy(update={"per_class": (rows[0], wide)})
    assert one(one_open, "worst_class.accuracy", ">= 0.4").of == rows[2].name


def test_a_failed_measurement_decides_no_gate_but_those_on_itself(results):
    failed = Check(name="x", state="fail", sentence="x")
    broken = results.model_copy(update={"state": "measurement_failed", "checks": (failed,)})
    assert one(broken, "clean.accuracy", ">= 0.1").outcome == "inconclusive"
    assert "the measurement failed" in one(broken, "clean.accuracy", ">= 0.1").sentence
    assert one(broken, "checks.failed", "<= 0").outcome == "fail"
    assert one(broken, "guarantee.issued", "true").outcome == "fail"


@pytest.mark.parametrize("key", ["clean.risk", "worst_class.coverage", "guarantee.risk", "robust.accuracy"])
def test_what_was_not_measured_is_inconclusive_with_the_reason(results, key):
    without = {"coverage": None, "risk": None}
    bare = results.model_copy(
        update={
            "guarantee": None,
            "manipulation": None,
            "conditions": tuple(row.model_copy(update=without) for row in results.conditions),
            "per_class": tuple(row.model_copy(update=without) for row in results.per_class),
        }
    )
    found = one(bare, key, "<= 0.5")
    assert (found.outcome, found.units_needed) == ("inconclusive", None)
    assert found.sentence.startswith("Not measured: no ")


def test_the_next_step_names_what_failed_else_what_is_open(results):
    rows = judge_gates(
        {"clean.accuracy": ">= 0.1", "clean.coverage": "<= 0.0001", "robust.accuracy": ">= 0.1"}, results
    )
    assert "clean.coverage <= 0.0001" in gates_next_step(rows)
    assert "clean.accuracy" not in gates_next_step(rows)
    wide = results.model_copy(
        update={"calibration": results.calibration.model_copy(update={"ece": quantity(0, 0.1, 0.9)})}
    )
    assert gates_next_step(judge_gates({"calibration.ece": "<= 0.2"}, wide)).startswith("Label more images")
    assert gates_next_step(judge_gates({"clean.accuracy": ">= 0.1"}, results)) is None


def test_sentences_say_what_was_compared(results):
    wide = results.model_copy(update={"accuracy": quantity(0.7, 0.8, 0.9)})
    row = wide.conditions[0].model_copy(update={"accuracy": quantity(0.7, 0.8, 0.9, 60)})
    wide = wide.model_copy(update={"conditions": (row,)})
    assert one(wide, "clean.accuracy", ">= 0.6").sentence == "Even the bad end of the interval, 0.7, is >= 0.6"
    assert one(wide, "clean.accuracy", ">= 0.95").sentence == "Not even the good end of the interval, 0.9, is >= 0.95"
    assert one(wide, "clean.accuracy", ">= 0.75").sentence == (
        "The interval, 0.7 to 0.9, straddles 0.75: 60 images measured, about 290 would probably decide"
    )


def test_the_gates_of_a_plan_are_in_its_results(tmp_path):
    gates = {"clean.accuracy": ">= 0.5", "low_light.accuracy": ">= 0.999", "guarantee.issued": "true"}
    folder = tiny.run(tmp_path / "run", conditions=("clean", "low_light(severity=1)"), gates=gates)
    results = analyse(folder)
    assert [(row.key, row.rule) for row in results.gates] == [
        ("clean.accuracy", ">= 0.5"),
        ("low_light(severity=1).accuracy", ">= 0.999"),
        ("guarantee.issued", "true"),
    ]
    assert [row.outcome for row in results.gates] == ["pass", "fail", "pass"]
    assert results.next_step.startswith("Do not use it by your own rules (low_light(severity=1).accuracy >= 0.999)")
