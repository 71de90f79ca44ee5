"""The words of a plan about which errors matter."""

import pytest

from demur.errors import InputError, UnknownNameError
from demur.registry.gate_rules import check_positive, read_costs, read_prevalence

CLASSES = ("functional", "defective", "sold as seen")


@pytest.mark.parametrize("text", ["positive=.005", "defective=0.005", " defective = 5e-3"])
def test_a_prevalence_is_read(text):
    assert read_prevalence(text, "defective") == ("defective", 0.005)


def test_the_name_may_stand_for_the_positive_class():
    assert read_prevalence("defective=0.1", None) == ("defective", 0.1)


@pytest.mark.parametrize(
    ("text", "positive", "said"),
    [
        ("positive=5", "a", "0.5 % of positives as positive=0.005"),
        ("positive", "a", "NAME=SHARE"),
        ("0.005", "a", "NAME=SHARE"),
        ("positive=0.1", None, "Set data.positive"),
        ("b=0.1", "a", "Name one of them"),
    ],
)
def test_a_prevalence_of_another_form_is_refused(text, positive, said):
    with pytest.raises(InputError, match=said):
        read_prevalence(text, positive)


def test_costs_are_read_whatever_the_classes_are_called():
    costs = {"defective as functional": 10, "sold as seen as defective": 2.5, "abstained": 0.2}
    assert read_costs(costs, CLASSES) == {("defective", "functional"): 10, ("sold as seen", "defective"): 2.5}


@pytest.mark.parametrize(
    ("key", "cost", "said"),
    [
        ("defectiv as functional", 1, "Did you mean 'defective'"),
        ("defective as defective", 1, "the true class, then the wrong answer"),
        ("defective", 1, "the true class, then the wrong answer"),
        ("defective as functional", -1, "at least 0; got -1"),
        ("abstained", float("inf"), "at least 0; got inf"),
    ],
)
def test_costs_of_another_form_are_refused(key, cost, said):
    with pytest.raises(InputError, match=said):
        read_costs({key: cost}, CLASSES)


def test_the_positive_class_is_one_of_the_classes():
    with pytest.raises(UnknownNameError, match="Did you mean 'defective'"):
        check_positive("defect", CLASSES)
