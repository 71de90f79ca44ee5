"""What the first screen says where labels are so few that no image is left to check the guarantee on."""

import math

import pytest

from demur.analysis.acceptance import judge_gates
from demur.analysis.quantity import Quantity
from demur.report import render, words
from demur.report.first_screen import FirstScreen
from tests.report.example_results import guarantee, run

NONE = Quantity(value=math.nan, low=math.nan, high=math.nan, n=0, reason="no images")


@pytest.fixture(scope="module")
def few():
    """383 certify images, and no test split."""
    whole = run("issued")
    own = guarantee(
        certify_n=383, certify_answers=315, certify_wrong=1, test_n=0, test_answers=0, test_wrong=0, coverage=NONE,
        test_risk=NONE, coverage_low=0.7612, coverage_n=383, coverage_answers=315, coverage_rows="certify", look=2,
        spent=0.003, look_place="counted in this run folder alone",
    )  # fmt: skip
    made = whole.provenance.model_copy(update={"splits": {"fit": 0, "tune": 117, "certify": 383, "test": 0}})
    share = Quantity(value=0.93, low=0.9, high=0.95, n=500)
    return whole.model_copy(update={"guarantee": own, "provenance": made, "test_accuracy": share})


def test_the_first_screen_says_what_can_be_said_with_its_width_and_what_more_labels_would_buy(few):
    first = FirstScreen.of(few)
    assert first.verdict.note == (
        "95 % confidence, also that it answers at least 76 of 100; 383 labelled images, look 2 counted in this run "
        "folder alone"
    )
    assert first.behaviour == (
        "It answers where msp uncertainty ≤ 0.2188: 315 of 383 labelled images; 68 go to a person. With more labels it "
        "could answer at most about 78 of 100."
    )
    assert first.check == "Not checked: no untouched images are left, for all labels had a part in it."
    assert first.without.endswith("answers are wrong, 5 % to 10 % by so few labels.")
    assert (first.judged, first.holds) == (False, "undecided")
    assert "Under poor conditions" in words(few)
    assert "At the same threshold" not in words(few)


def test_the_page_says_where_the_bound_on_coverage_is_from(few):
    page = render(few)
    assert "corrected for all thresholds that it could have chosen (315 of 383 surely answered)" in page
    assert "No untouched images are left to check it on." in page
    assert "no images" not in page.partition("The certificate</summary>")[2].partition("</details>")[0]


def test_a_gate_on_coverage_is_judged_by_the_certified_bound(few):
    passed, failed = (
        judge_gates({"guarantee.coverage": ">= 0.76"}, few),
        judge_gates({"guarantee.coverage": ">= 0.77"}, few),
    )
    assert (passed[0].outcome, failed[0].outcome) == ("pass", "inconclusive")
    assert passed[0].value.n == 383


def test_a_refusal_says_what_more_labels_would_buy():
    refused = run("too_few_labels")
    table = refused.refusal.model_copy(update={"provable": 0.02, "attainable": 0.84})
    note = FirstScreen.of(refused.model_copy(update={"refusal": table})).verdict.note
    assert note.endswith("with labels enough about 84 of 100 could be answered.")
