"""Where too few were answered nothing is said; the slider starts where the guarantee does."""

import sys

from demur.report.charts.risk_charts import start
from demur.report.condition_lines import Cell, Family
from demur.report.phrases import complement
from demur.report.state_words import verdict
from tests.report.example_results import guarantee, run

KEPT = ("holds", "broken", "undecided", None)


def family(*holds):
    cells = tuple(
        Cell(level=str(at), holds=each, rate="0", text="0/9", sentence="") for at, each in enumerate(holds, 1)
    )
    return Family(name="fog", measure="severity", cells=cells, guaranteed=True).summary


def test_no_sign_where_nothing_can_be_told():
    assert family("holds", "holds") == "fog ✔ at every severity"
    assert family("holds", None) == "fog ✔ to 1, too few answers to tell at 2 (0/9)"
    assert family(None, None) == "fog too few answers to tell at 1 (0/9)"
    assert family("holds", "broken", None) == "fog ✔ to 1, ✖ from 2 (0/9)"


def test_what_the_labels_leave_open_is_neither_kept_nor_broken():
    assert family("holds", "undecided", "holds") == "fog ✔ to 1, ? undecided from 2 (0/9)"
    assert family("undecided", "broken") == "fog ✖ from 2 (0/9)"
    assert [
        cell.sign for cell in (Cell(level="1", holds=each, rate="", text="", sentence="") for each in KEPT)
    ] == list("✔✖?·")


def test_the_slider_starts_at_the_last_point_that_is_answered():
    results = run("issued")
    curve = results.curves[0]
    everything = results.model_copy(update={"guarantee": guarantee(threshold=sys.float_info.max)})
    assert start(everything) == (curve.signal, len(curve.points) - 1)
    above = curve.points[7].threshold + 0.9 * (curve.points[8].threshold - curve.points[7].threshold)
    assert start(results.model_copy(update={"guarantee": guarantee(threshold=above)})) == (curve.signal, 7)


def test_the_share_of_right_answers_has_the_interval_of_the_wrong_ones():
    risk = guarantee().test_risk
    right = complement(risk)
    assert (right.low, right.value, right.high) == (1 - risk.high, 1 - risk.value, 1 - risk.low)


def test_a_refusal_claims_no_lowest_risk_below_the_target():
    weak = run("model_too_weak")
    refusal = weak.refusal.model_copy(update={"lowest_risk": 0.014})
    assert "lowest" not in verdict(weak.model_copy(update={"refusal": refusal})).headline


def test_too_few_labels_without_a_number():
    few = run("too_few_labels")
    refusal = few.refusal.model_copy(update={"labels_needed": None})
    assert "more are needed to tell" in verdict(few.model_copy(update={"refusal": refusal})).headline
