"""How many labels are needed, by counting and by the procedure itself."""

import numpy as np
import pytest
from scipy.stats import binom

from demur.errors import InputError
from demur.policies import Look
from demur.policies.label_budget import LabelBudget, profile, widest
from demur.splits import shares_of


@pytest.mark.parametrize("risk", [0.005, 0.02, 0.1])
def test_fewest_labels_are_those_that_pass_without_an_error(risk):
    budget = LabelBudget(risk=risk)
    assert binom.cdf(0, budget.faultless, risk) <= budget.level < binom.cdf(0, budget.faultless - 1, risk)


def test_the_first_look_spends_nine_tenths_for_the_risk():
    assert LabelBudget(risk=0.02).level == pytest.approx(0.05 * 0.81)
    assert LabelBudget(risk=0.02, look=Look(2)).faultless > LabelBudget(risk=0.02).faultless


@pytest.mark.parametrize("certify", [1, 100, 479, 480, 600, 1_499, 1_500, 4_000])
def test_so_many_images_leave_enough_to_certify(certify):
    whole = LabelBudget(risk=0.02).images(certify)
    assert whole * shares_of(whole)["certify"] >= certify
    assert all(n * shares_of(n)["certify"] < certify for n in (whole - 1,) if n not in (599, 2_999))


def test_a_rare_class_needs_many_images_drawn():
    assert LabelBudget(risk=0.02, positive_rate=0.01).drawn(300) == 30_000
    assert LabelBudget(risk=0.02).drawn(300) is None


def test_what_given_labels_could_prove():
    budget = LabelBudget(risk=0.02, labels=500)
    assert budget.certify_labels == 400
    assert (1 - budget.provable) ** 400 == pytest.approx(budget.level)
    assert LabelBudget(risk=budget.supported).probable <= 400 < LabelBudget(risk=budget.supported * 0.95).probable


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5, 0.9])
def test_the_typical_profile_has_the_stated_rate(rate):
    places = (np.arange(20_000) + 0.5) / 20_000
    errors = profile(places, rate)
    assert errors.mean() == pytest.approx(rate, rel=1e-3)
    share = widest(rate, rate / 3)
    assert errors[places <= share].mean() == pytest.approx(rate / 3, rel=0.01)
    assert widest(rate, rate) == 1


def test_more_labels_answer_more_and_never_what_is_impossible(monkeypatch):
    monkeypatch.setattr("demur.policies.label_budget.DRAWS", 20)
    monkeypatch.setattr("demur.policies.label_budget._SIZES", (300, 1_000, 5_000))
    found = LabelBudget(risk=0.05, error_rate=0.1, labels=1_000)
    few, given, some, many = found.prospects
    assert few.coverage < some.coverage < many.coverage < found.possible
    assert (few.refusals > many.refusals, given.labels) == (True, 500)


def test_without_a_rate_nothing_is_foretold():
    found = LabelBudget(risk=0.02)
    assert (found.prospects, found.possible, found.provable, found.supported) == ((), None, None, None)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"risk": 2}, "`risk` must lie strictly between 0 and 1; got 2"),
        ({"risk": 0.1, "error_rate": 1.0}, "`error_rate` must lie strictly"),
        ({"risk": 0.1, "positive_rate": 0.0}, "`positive_rate` must lie strictly"),
        ({"risk": 0.1, "labels": 0}, "`labels` must be from 1"),
    ],
)
def test_what_is_no_share_is_refused(given, message):
    with pytest.raises(InputError, match=message):
        LabelBudget(**given)
