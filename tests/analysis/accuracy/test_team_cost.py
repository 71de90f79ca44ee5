"""Error and cost of a model and a person together, against the closed form and the rows."""

import numpy as np
import pytest
from scipy.stats import beta
from tests.analysis import factory_runs
from tests.analysis.plain_rows import answered, rows_of, same, share, wrong

from demur.analysis import analyse
from demur.analysis.csv_tables import csv_tables
from demur.errors import InputError
from demur.metrics.prevalence import ClassRate, team_error
from demur.registry.gate_rules import read_costs
from demur.report.coverage_words import team_name, team_sentence

HUMAN = 0.03
COSTS = {"defective as functional": 10.0, "abstained": 0.25, "human_error": HUMAN}
DEFECTIVE, FUNCTIONAL = (factory_runs.CLASSES.index(name) for name in ("defective", "functional"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return factory_runs.run(tmp_path_factory.mktemp("team") / "run", costs=COSTS, conditions__use=["clean"])


@pytest.fixture(scope="module")
def results(folder):
    return analyse(folder)


def price(label, predicted):
    if label == predicted:
        return 0.0
    return 10.0 if (label, predicted) == (DEFECTIVE, FUNCTIONAL) else 1.0


def by_person(label):
    """A person errs towards either other class alike."""
    others = [price(label, k) for k in range(3) if k != label]
    return 0.25 + HUMAN * sum(others) / 2


def test_every_row_is_what_the_images_say(folder, results):
    test, found = rows_of(folder, "clean", "test"), results.team
    for row in found.rows:
        if row.answering == "policy":
            given = [answered(folder, each) for each in test]
        else:
            given = [each[f"signal.{found.signal}"] <= row.threshold for each in test]
        assert same(row.coverage.value, share(given))
        errors = (wrong(each) if own else HUMAN for each, own in zip(test, given, strict=True))
        assert same(row.error.value, share(errors))
        paid = (
            price(each["label"], each["predicted"]) if own else by_person(each["label"])
            for each, own in zip(test, given, strict=True)
        )
        assert same(row.cost.value, share(paid))
        assert row.error.low <= row.error.value <= row.error.high


def test_either_alone_stands_at_the_ends(results):
    person, policy, *_, model = results.team.rows
    assert (person.answering, policy.answering, model.answering) == ("person", "policy", "model")
    assert (person.error.value, person.error.low, person.error.high) == (HUMAN,) * 3
    assert (person.coverage.value, model.coverage.value) == (0.0, 1.0)
    assert same(model.error.value, 1 - results.test_accuracy.value)
    assert [row.target for row in results.team.rows[2:-1]] == [0.5, 0.6, 0.7, 0.8, 0.9, 0.95]


def test_the_cheapest_is_chosen_on_the_tune_images(folder, results):
    tune, found = rows_of(folder, "clean", "tune"), results.team

    def spent(row):
        own = [each[f"signal.{found.signal}"] <= row.threshold for each in tune]
        paid = (
            price(each["label"], each["predicted"]) if flag else by_person(each["label"])
            for each, flag in zip(tune, own, strict=True)
        )
        return share(paid)

    rows = [row for row in found.rows if row.answering != "policy"]
    assert found.cheapest in rows
    assert spent(found.cheapest) == min(map(spent, rows))
    assert team_name(found.cheapest, found).startswith("together, the surest ")
    assert "costs least that the model answers the surest" in team_sentence(found)


def test_the_plain_cost_is_without_the_person(results):
    """What was there before counts an abstention at its price alone."""
    assert results.cost.with_guard.value < results.team.rows[1].cost.value
    assert results.cost.without_guard.value == results.team.rows[-1].cost.value
    assert len(csv_tables(results)["team.csv"]) == 9


def ends(count, n, alpha):
    low = beta.ppf(alpha / 2, count, n - count + 1) if count else 0.0
    return low, beta.ppf(1 - alpha / 2, count + 1, n - count) if count < n else 1.0


@pytest.mark.parametrize(("errors", "left", "n"), [(0, 0, 50), (3, 20, 100), (0, 30, 60), (10, 10, 20)])
def test_the_interval_of_the_error_is_that_of_both_shares(errors, left, n):
    faults, abstained = (ClassRate.of(np.arange(n) < count) for count in (errors, left))
    found = team_error(faults, abstained, 0.1)
    (low, high), (least, most) = ends(errors, n, 0.025), ends(left, n, 0.025)
    assert found.value == pytest.approx(errors / n + 0.1 * left / n)
    assert found.low == pytest.approx(low + 0.1 * least)
    assert found.high == pytest.approx(min(1.0, high + 0.1 * most))


def test_the_interval_holds_the_truth_as_often_as_it_says():
    draw, n, shares = np.random.default_rng(3), 200, (0.02, 0.25, 0.73)
    truth, held = shares[0] + 0.1 * shares[1], 0
    for errors, left, _ in draw.multinomial(n, shares, 400):
        found = team_error(ClassRate.of(np.arange(n) < errors), ClassRate.of(np.arange(n) < left), 0.1)
        held += found.low <= truth <= found.high
    assert held >= 375  # of 95 in 100; fewer have odds of 1 in 1,000


def test_a_person_whose_errors_are_no_share_is_refused():
    with pytest.raises(InputError, match=r"from 0 to 1; got 2. Write 5 % as 0.05"):
        read_costs({"human_error": 2.0}, ("a", "b"))
    assert read_costs({"human_error": 0.1, "abstained": 3.0}, ("a", "b")) == {}


def test_without_a_stated_error_there_is_no_team(tmp_path):
    assert factory_runs.results(tmp_path / "run", conditions__use=["clean"]).team is None


def test_a_team_by_a_policy_that_is_not_certified(tmp_path):
    plan = {
        "policies__use": ["certified(risk=0.001)", "rule"],
        "conditions__use": ["clean"],
        "costs": {"human_error": 0.1},
    }
    results = factory_runs.results(tmp_path / "run", **plan)
    assert (results.team.policy, results.team.signal) == ("rule", "msp")
    assert results.cost.matrix == {"human_error": 0.1}
    assert results.team.rows[0].cost.value == pytest.approx(0.1)
