"""The examples of the sizes are their tests, and what is said of object and background."""

import doctest

import pytest

from demur.analysis.attribution.region_tables import Control
from demur.report import perturbation_words
from demur.report.perturbation_words import reliance_sentence
from tests.report.attribution_results import near, region


def test_the_examples_hold():
    result = doctest.testmod(perturbation_words)
    assert result.attempted > 8
    assert result.failed == 0


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"control": None}, "It takes less to flip the answer on the object; a blob in the middle was not tried."),
        ({"control": True}, "The answer relies on the object, more than on the middle of the image."),
        (
            {"control": False},
            "It takes less to flip the answer on the object, but a blob in the middle of the image does as well.",
        ),
        ({"reliance": "background"}, "The answer relies on the background: it takes less to flip it there."),
        ({"reliance": "undecided"}, "Neither the object nor the background is shown to weigh more."),
        (
            {"region": "centred"},
            "The control that any object must beat: a blob in the middle, whatever the image shows.",
        ),
    ],
)
def test_what_the_answer_leans_on(changes, said):
    beaten = changes.pop("control", None)
    control = None if beaten is None else Control(n=460, effect=near(0.3, 0.1, 460), p_value=0.01, is_exceeded=beaten)
    assert reliance_sentence(region("grad_cam", control=control, **changes)) == said
