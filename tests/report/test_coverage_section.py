"""Where the coverage goes, images of none of the classes, and what is said where a constant answer does as well."""

import pytest

from demur.analysis.verdict.verdict_tables import Check
from demur.report import render, words
from demur.report.charts import coverage_chart
from demur.report.first_screen import FirstScreen
from demur.report.text_outputs import LINES, junit, summary
from tests.report.coverage_results import constant, positive, unknown, whole
from tests.report.example_results import run
from tests.report.gate_results import gated
from tests.report.parsed_page import Page


@pytest.fixture(scope="module")
def page():
    return Page(render(whole()))


def test_the_sections_are_whole(page):
    assert page.faults == []
    ids = {attrs["id"] for _, attrs in page.tags if "id" in attrs}
    assert {"coverage", "unknown", "team"} <= ids
    assert {link[1:] for link in page.links if link.startswith("#")} <= ids


def test_sections_without_results_are_left_out():
    ids = {attrs["id"] for _, attrs in Page(render(run("issued"))).tags if "id" in attrs}
    assert not {"coverage", "unknown", "team"} & ids


def test_the_chart_shows_what_each_step_takes():
    drawing = coverage_chart(whole())
    rows = [row for row in drawing.spec["datasets"]["rows"] if row["step"] == "best of msp"]
    assert [(row["part"], row["count"]) for row in rows] == [("answered", 3033), ("lost to the signal", 737)]
    assert rows[0]["high"] == rows[1]["low"]
    names = list(dict.fromkeys(row["step"] for row in drawing.spec["datasets"]["rows"]))
    assert names[:4] == ["all images", "perfect order", "best of msp", "certified"]
    assert "low light 5" in names
    assert "low light 4" not in names
    assert coverage_chart(run("issued")) is None


def test_the_share_of_unknown_images_answered_is_on_every_first_screen():
    results = whole()
    said = "Of 1,000 images of none of the classes 234 are answered, 20 to 27 in 100."
    for text in (words(results), summary(results, FirstScreen.of(results))):
        assert said in text
    assert said in Page(render(results)).text.replace("\u00a0", " ")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"near_duplicates": 12}, "Of 1,000 images 12 are near-duplicates of audited ones."),
        ({"near_duplicates": 1}, "Of 1,000 images 1 is a near-duplicate of audited ones."),
        (
            {"near_duplicates": 12, "near_duplicates_of": 70, "near_duplicates_drawn_from": 1000},
            "Of 70 images drawn of 1,000 by the hash of their content 12 are near-duplicates of audited ones.",
        ),
        (
            {
                "near_duplicates": 12,
                "near_duplicates_of": 70,
                "near_duplicates_drawn_from": 5000,
                "drawn_from": 5000,
                "unreadable": 2,
                "shared_classes": ("Bag",),
                "shared_images": 40,
            },
            (
                "2 images more of the sample could not be read. Of 70 images drawn of 5,000 by the hash of their "
                "content, another draw than the sample, 12 are near-duplicates of audited ones. By their own labels 40 "
                "images of all 5,000 are of classes called like the model's: Bag."
            ),
        ),
    ],
)
def test_near_duplicates_are_said_with_the_number_that_they_are_of(changes, said):
    results = whole().model_copy(update={"unknown": unknown(**{"near_duplicates_of": 1000} | changes)})
    assert said in " ".join(Page(render(results)).text.replace("\u00a0", " ").split())


def test_unknown_images_whose_check_failed_say_no_number():
    check = Check(name="unknown images are others", state="fail", sentence="", bears_on="unknown images")
    results = whole()
    results = results.model_copy(update={"checks": (*results.checks, check)})
    assert "234" not in FirstScreen.of(results).unknown
    assert results.state == "issued"


def test_many_lines_that_only_some_audits_have_fit_a_terminal():
    results = whole().model_copy(update={"gates": gated().gates, "unknown": unknown(near_duplicates=3)})
    lines = words(results).splitlines()
    assert len(lines) <= LINES
    assert max(map(len, lines)) <= 100
    heads = [line.partition(":")[0] for line in lines if not line.startswith("  ")]
    assert heads[-4:] == ["Imbalance", "Unknown", "Gates", "Next"]
    assert not any(line.endswith("…") for line in lines)


def test_a_guarantee_of_a_class_leads():
    results = run("issued").model_copy(update={"positive": positive(3, 100, 0.0758)})
    lines = words(results).splitlines()
    assert lines[1].startswith(
        "At most 8 in 100 images of “Coat” are answered and wrong (95 % confidence; 100 labelled"
    )
    assert "of all answers at most 2 in 100 are wrong" in " ".join(lines[1:3])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"constant": constant()}, "No guarantee: answering “Bag” every time would get the same one."),
        (
            {"positive": positive(30, 40, 0.86, informative=False)},
            "No guarantee for “Coat”: 30 of 40 test images are answered and wrong.",
        ),
    ],
)
def test_a_guarantee_that_says_nothing_is_none(changes, said):
    results = run("issued").model_copy(update={"state": "uninformative", **changes})
    lines = words(results).splitlines()
    assert lines[0].startswith("✖ Refused: uninformative: fashion on fashion. No.")
    assert lines[1] == said
    assert "It answers" not in words(results)
    assert "failure" in junit(results)
    assert max(map(len, lines)) <= 100


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_the_chart_is_drawn_without_a_message_at_any_width(browser, tmp_path, width, scheme):
    path = tmp_path / "report.html"
    path.write_text(render(whole()), encoding="utf-8")
    browser.screen(width, 900, scheme)
    browser.open(path)
    assert browser.script("return document.documentElement.scrollWidth") <= width
    assert browser.script("return document.querySelectorAll('#chart-coverage-steps svg.marks').length") == 1
    assert browser.log() == []
