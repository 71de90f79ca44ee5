"""What the guard does, in numbers a reader can act on: a day's load, stricter limits, one value of a threshold."""

import json
import re

import pytest

from demur.analysis.verdict.label_needs import LabelNeed
from demur.policies import ACCEPT_ALL
from demur.report import render
from demur.report.answer_lines import stricter
from demur.report.first_screen import FirstScreen
from tests.report.example_results import guarantee, run
from tests.report.parsed_page import Page
from tests.report.simulated_scores import share


def first(**changes):
    return FirstScreen.of(run("issued").model_copy(update=changes))


@pytest.mark.parametrize(
    ("purpose", "said"),
    [
        ({}, "Of 1,000 images a day about 299 go to a person."),
        ({"images_per_day": 25_000}, "Of 25,000 images a day about 7,465 go to a person."),
    ],
)
def test_the_load_of_a_day_is_that_of_the_purpose(purpose, said):
    assert first(purpose=purpose).load == said
    assert FirstScreen.of(run("model_too_weak")).load is None


def test_an_answer_to_everything_has_no_threshold():
    everything = guarantee(threshold=ACCEPT_ALL, coverage=share(1.0, 4012))
    assert first(guarantee=everything).behaviour == (
        "It answers whatever its uncertainty: 100 of 100 images; 0 go to a person."
    )


def test_wrong_of_a_hundred_images_and_of_a_hundred_answers_are_two_numbers():
    guarded, bare = first().hundreds
    assert (guarded.wrong, guarded.of_answers) == (1, "1.2 of 100 answers")
    assert bare.of_answers is None
    assert "= 1.2 of 100 answers" in Page(render(run("issued"))).text


def test_a_demonstration_is_not_put_to_use():
    shown = first(purpose={"demonstration": True, "intended_use": "to show"})
    assert shown.verdict.answer == "As a demonstration only, with the guard on."


def need(risk, images, coverage, unit="image"):
    return LabelNeed(
        risk=risk, delta=0.05, signal="msp", fewest=1, labels=2, images=images, labels_given=3,
        coverage=share(coverage, 4012).model_copy(update={"unit": unit}),
    )  # fmt: skip


def test_stricter_limits_name_their_labels_and_what_is_left():
    results = run("issued").model_copy(update={"label_needs": (need(0.01, 3948, 0.752), need(0.005, 7900, 0.698))})
    assert stricter(results) == (
        "Stricter limits: 1 in 100 needs about 4,000 new labelled images and answers at best 75 of 100; "
        "5 in 1,000 about 7,900 and 70."
    )
    assert stricter(results) in Page(render(results)).text.replace("\xa0", " ")
    hopeless = run("issued").model_copy(update={"label_needs": (need(0.01, 3948, 0.0),)})
    assert stricter(hopeless) == "Stricter limits: 1 in 100 no labels would prove for this model."
    assert stricter(run("model_too_weak").model_copy(update={"label_needs": results.label_needs})) is None


def test_the_slider_starts_at_the_certified_point_itself():
    made = guarantee(threshold=0.218765, coverage=share(0.7012, 4012), test_risk=share(0.0123, 2813))
    html = render(run("issued").model_copy(update={"guarantee": made}))
    curves = json.loads(re.search(r'id="curves">(.*?)</script>', html)[1])
    at = int(re.search(r'id="readout"[^>]*data-at="(\d+)"', html)[1])
    certified = [0.218765, made.coverage.value, made.test_risk.value]
    assert curves["msp"][at] == pytest.approx(certified, abs=1e-6)
    text = Page(html).text
    assert "It answers where msp uncertainty ≤ 0.2188:" in text
    assert "uncertainty msp ≤ 0.2188" in text
    assert "Answering when uncertainty is at most 0.2188: 70.1 % of images answered" in text
