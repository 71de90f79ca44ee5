"""What only some audits have: the direction of error, costs, slices, second labels."""

import pytest

from demur.analysis.accuracy.error_direction import AtPrevalence, Cost, DirectionRow, ErrorDirection, Side
from demur.analysis.accuracy.label_quality import LabelQuality, SecondLabel
from demur.analysis.accuracy.slices import SliceRow
from demur.report import render, words
from demur.report.first_screen import FirstScreen
from demur.report.text_outputs import LINES
from tests.report.example_results import run
from tests.report.parsed_page import Page
from tests.report.simulated_scores import near, share, undefined


def side(n, taken, guarded_error_rate):
    return Side(
        n=n,
        error_rate=share(taken, n),
        test_n=n,
        test_error_rate=share(taken, n),
        guarded_error_rate=share(guarded_error_rate, n),
        selective_risk=share(guarded_error_rate, n // 2),
        abstention_rate=share(0.3, n),
    )


def sliced(value, n, right, risk):
    return SliceRow(
        column="site",
        value=value,
        n=n,
        accuracy=share(right, n),
        test_n=n // 2,
        test_accuracy=share(right, n // 2),
        coverage=share(0.7, n // 2),
        risk=share(risk, n // 3),
    )


SLICES = (sliced("Hamburg", 3000, 0.93, 0.01), sliced("<b>Turin</b>", 600, 0.7, 0.16))
PARTICULAR = {
    "direction": ErrorDirection(
        positive="bag",
        others="another class",
        prevalence=share(0.1, 10000),
        rows=(
            DirectionRow(
                condition="clean",
                kind="clean",
                sentence="images as they are",
                misses=side(1000, 0.023, 0.004),
                false_alarms=side(9000, 0.012, 0.001),
            ),
        ),
        at=tuple(
            AtPrevalence(
                with_guard=guarded,
                prevalence=0.005,
                ppv=share(0.4, 500),
                npv=share(0.99976, 500),
                risk=share(0.03, 500),
            )
            for guarded in (True, False)
        ),
    ),
    "cost": Cost(
        matrix={"bag as coat": 10.0, "abstained": 0.2}, without_guard=near(0.31, 0.02), with_guard=near(0.11, 0.01)
    ),
    "slices": SLICES,
    "worst_slice": SLICES[1],
    "label_quality": LabelQuality(
        second=SecondLabel(
            pairs=500,
            agreement=share(0.96, 500),
            kappa=near(0.91, 0.02),
            n=480,
            accuracy=share(0.94, 480),
            auroc=near(0.93, 0.02),
            answers=300,
            wrong_answers=9,
            risk=share(0.03, 300),
            holds="broken",
        ),
        weights=400,
        weighted_accuracy=share(0.95, 400),
    ),
}


def results(state="issued", **changes):
    return run(state).model_copy(update=PARTICULAR | changes)


@pytest.mark.parametrize("state", ["issued", "model_too_weak", "measurement_failed"])
def test_every_section_is_whole(state):
    page = Page(render(results(state)))
    assert page.faults == []
    headings = ("Misses and false alarms", "Slices", "Label quality")
    assert all(heading in page.text for heading in headings)
    assert "<b>Turin</b>" in page.text


@pytest.mark.parametrize("name", ["direction", "slices", "labels"])
def test_a_section_with_nothing_to_show_is_left_out(name):
    page = Page(render(run("issued")))
    assert all(attributes.get("id") != name for attributes in page.all("section"))
    assert f"#{name}" not in page.links


def test_costs_alone_have_their_section():
    page = Page(render(results(direction=None)))
    assert "0.310 (0.290 to 0.330) when all are answered, 0.110 (0.100 to 0.120) with the guard" in page.text
    assert "“bag as coat” 10.00; an abstention costs 0.20" in page.text


def test_the_direction_in_words():
    first = FirstScreen.of(results())
    assert first.direction == (
        "Of 1,000 images of “bag” 23 are called another class; with the guard 4, and 300 go to a person. "
        "False alarms: 12 of 1,000 others; with the guard 1, and 300 go to a person "
        "(measured on 1,000 and 9,000 images)."
    )
    assert (
        first.worst_slice
        == "site <b>Turin</b>: 30 % of 300 images wrong when all are answered; 16 in 100 with the guard."
    )


def test_without_a_guarantee_no_guard_is_spoken_of():
    first = FirstScreen.of(results("model_too_weak"))
    assert first.direction == (
        "Of 1,000 images of “bag” 23 are called another class. False alarms: 12 of 1,000 others "
        "(measured on 1,000 and 9,000 images)."
    )
    assert first.worst_slice == "site <b>Turin</b>: 30 % of 600 images wrong when all are answered."
    section = render(results("model_too_weak")).partition('<section id="direction"')[2].partition("</section>")[0]
    assert "guard</th>" not in section


def test_no_image_of_the_positive_class_is_said():
    missed = side(100, 0.1, 0.0).model_copy(update={"test_n": 0, "test_error_rate": undefined("no images")})
    row = PARTICULAR["direction"].rows[0].model_copy(update={"misses": missed})
    direction = PARTICULAR["direction"].model_copy(update={"rows": (row,)})
    assert "there are no such images" in FirstScreen.of(results(direction=direction)).direction


def test_words_still_fit_a_terminal():
    lines = words(results()).splitlines()
    assert len(lines) <= LINES
    assert max(map(len, lines)) <= 100
    assert any(line.startswith("Direction: of 1,000 “bag” 23 (guarded 4) missed; false alarms in") for line in lines)
    assert any(line.startswith("Worst slice: site") for line in lines)
    assert any(line.startswith("Next: ") for line in lines)


def test_a_guarantee_that_the_mixture_in_use_may_break_is_said():
    assert "these rates do not show that it holds for this one" in render(results())
