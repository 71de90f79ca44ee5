"""The section on class maps: silent errors, and profiles of right and wrong answers as coloured cells."""

import math

import pytest

from demur.analysis.signals.class_profiles import ClassMapTable, ClassProfile, SilentError
from demur.report import render
from demur.report.class_map_lines import profile_lines, silent_sentence
from tests.report.example_results import run
from tests.report.parsed_page import Page
from tests.report.simulated_scores import near, share, undefined


def profile(name, right=(4.0, 2.0), wrong=(1.0, -1.0), **changes):
    facts = {
        "name": name,
        "right": near(0.1, 0.05, 300),
        "wrong": near(-1.4, 0.3, 21),
        "maps": tuple(range(7, 7 + len(right))),
        "right_added": right,
        "wrong_added": wrong,
        "right_answers": 48,
        "wrong_answers": 5,
    }
    return ClassProfile(**(facts | changes))


def table(**changes):
    facts = {
        "signal": "conductance",
        "layers": (),
        "auroc": near(0.81, 0.03, 4012),
        "low": -1.31,
        "wrong_below": share(0.4, 50),
        "right_below": share(0.06, 3100),
        "finds_errors": True,
        "silent_errors": 20,
        "unmeasured": 15,
        "errors": (SilentError(sample_id="img7", label="Shirt", predicted="Coat", confidence=0.987, class_maps=-2.5),),
        "classes": (profile("Shirt"), profile("Coat", right=(1.0, 0.5), wrong=(math.nan, math.nan))),
    }
    return ClassMapTable(**(facts | changes))


def page(*tables):
    html = render(run("issued").model_copy(update={"class_maps": tables}))
    assert Page(html).faults == []
    return html


@pytest.fixture(scope="module")
def html():
    return page(table())


def section(html):
    return html.partition('<section id="class-maps"')[2].partition("</section>")[0]


def test_silent_errors_are_counted_and_listed(html):
    text = Page(section(html)).text
    assert "20 confident errors of 50 lie below the limit." in text
    assert "The limit, −1.31 standard deviations" in text
    assert "Left out are 15 test images" in text
    assert "img7 Shirt Coat 98.7 % −2.50" in text
    assert "1 of 20; all are in tables/silent-errors.csv" in text


def test_profiles_are_cells_as_dark_as_what_a_map_adds(html):
    lines = [line for pair in profile_lines(table()) for line in pair]
    assert [[cell.part for cell in line.cells] for line in lines] == [[1.0, 0.5], [0.25, 0.0], [0.25, 0.125], [0, 0]]
    assert section(html).count("--part:1.000") == 1
    text = Page(section(html)).text
    assert "Shirt right 0.10" in text
    assert "7 4.00 8 2.00" in text
    assert "7 —" in text


def test_a_class_that_was_never_answered_has_no_lines():
    never = profile("Bag", right=(), wrong=())
    assert list(profile_lines(table(classes=(never,)))) == []
    assert "Bag" not in Page(section(page(table(classes=(never, profile("Shirt")))))).text


def test_nothing_is_claimed_where_no_confident_answer_is_wrong():
    none = table(silent_errors=0, errors=(), wrong_below=undefined("no images"), low=None, classes_left_out=3)
    assert "no error to give away" in silent_sentence(none)
    text = Page(section(page(none))).text
    assert "so there is no limit" in text
    assert "3 more classes are left out" in text


def test_a_share_no_larger_than_of_right_answers_is_said_to_be_so():
    assert silent_sentence(table(finds_errors=False)).endswith("not shown to be a larger share than of right answers.")


def test_without_such_a_signal_there_is_no_section():
    assert 'id="class-maps"' not in render(run("issued"))
