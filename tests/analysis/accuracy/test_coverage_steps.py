"""Where the coverage goes: every step from the rows, and steps that add up to the last digit."""

import math

import numpy as np
import pytest
from tests import tiny
from tests.analysis.plain_rows import answered, rows_of, same, wrong

from demur.analysis import analyse
from demur.analysis.accuracy.coverage_steps import _best, _perfect
from demur.analysis.csv_tables import csv_tables
from demur.report.coverage_words import condition_lever, step_lines


def greedy(rows, key, risk):
    """The most images answered, surest first, with at most so many of them wrong; ties together."""
    best = errors = 0
    rows = sorted(rows, key=key)
    for k, row in enumerate(rows, 1):
        errors += wrong(row)
        tied = k < len(rows) and key(rows[k]) == key(row)
        if errors <= risk * k * (1 + 1e-12) and not tied:
            best = k
    return best


def test_every_step_is_what_the_rows_say(folder, results):
    test, found = rows_of(folder, "clean", "test"), results.coverage_loss
    steps = {step.name: step for step in found.steps}
    assert list(steps) == ["all", "perfect_order", "signal", "certified"]
    rights = sum(not wrong(row) for row in test)
    assert steps["perfect_order"].images == min(len(test), math.floor(rights / (1 - found.risk) + 1e-9))
    assert steps["signal"].images == greedy(test, lambda row: row[f"signal.{found.signal}"], found.risk)
    assert steps["certified"].images == sum(answered(folder, row) for row in test)
    assert [step.lever for step in found.steps] == [None, "model", "signal", "labels"]
    for step in found.steps:
        assert same(step.coverage.value, step.images / len(test))


def test_the_steps_add_up_exactly(results):
    found = results.coverage_loss
    assert found.n - sum(step.lost for step in found.steps) == found.steps[-1].images
    lines = list(step_lines(found))
    printed = [round(1000 * line.coverage.value) for line in lines]
    points = [round(10 * float(line.points.replace("−", "-"))) for line in lines[1:]]
    assert 1000 + sum(points) == printed[-1]
    for before, here, point in zip(printed, printed[1:], points, strict=False):
        assert before + point == here


@pytest.mark.parametrize("n", [7, 13, 997])
def test_printed_points_add_up_whatever_is_rounded(results, n):
    """Thirds and sevenths of a per cent: the points are differences of what is printed beside them."""
    counts = (n, n * 2 // 3, n * 4 // 7, n // 3)
    steps = [
        step.model_copy(update={"coverage": step.coverage.model_copy(update={"value": count / n})})
        for step, count in zip(results.coverage_loss.steps, counts, strict=True)
    ]
    lines = list(step_lines(results.coverage_loss.model_copy(update={"steps": tuple(steps)})))
    total = 1000 + sum(round(10 * float(line.points.replace("−", "-"))) for line in lines[1:])
    assert f"{total / 10:.1f}" == f"{100 * lines[-1].coverage.value:.1f}"


def test_a_condition_is_compared_image_by_image(folder, results):
    clean = {row["sample_id"]: answered(folder, row) for row in rows_of(folder, "clean", "test")}
    for step in results.coverage_loss.conditions:
        rows = rows_of(folder, step.condition, "test")
        now = [(clean[row["sample_id"]], answered(folder, row)) for row in rows]
        assert step.n == len(rows)
        assert step.clean == sum(before for before, _ in now)
        assert step.lost == sum(before and not after for before, after in now)
        assert step.gained == sum(after and not before for before, after in now)
        assert step.images == step.clean - step.lost + step.gained
        assert bool(condition_lever(step)) == bool(step.lost)
        assert ("fool" in condition_lever(step)) == (step.kind == "attack" and step.lost > 0)


@pytest.mark.parametrize(("reason", "risk"), [("too_few_labels", 0.0001), ("model_too_weak", 0.003)])
def test_a_refusal_loses_everything_at_the_last_step(tmp_path, reason, risk):
    of = tiny.source(rows=900 if reason == "too_few_labels" else 3000)
    results = analyse(tiny.run(tmp_path / "run", of=of, conditions=("clean",), policies=(f"certified(risk={risk})",)))
    assert results.state in {"too_few_labels", "model_too_weak"}
    *_, signal, last = results.coverage_loss.steps
    assert (last.images, last.lost, results.coverage_loss.conditions) == (0, signal.images, ())
    assert last.lever == ("model" if results.state == "model_too_weak" else "labels")


def test_without_a_risk_there_is_nothing_to_explain(tmp_path):
    assert analyse(tiny.run(tmp_path / "run", conditions=("clean",), policies=("rule",))).coverage_loss is None


def test_a_perfect_order_answers_all_right_answers_first():
    errors = np.array([True, False, True, False, False])
    assert _best(_perfect(errors), errors, 0.25).tolist() == [True, True, False, True, True]
    assert not _best(_perfect(np.ones(5, bool)), np.ones(5, bool), 0.25).any()


def test_the_steps_are_a_table_for_a_spreadsheet(results):
    tables = csv_tables(results)
    assert tables["coverage.csv"]["images"].to_list() == [step.images for step in results.coverage_loss.steps]
    assert len(tables["coverage-conditions.csv"]) == len(results.coverage_loss.conditions)
