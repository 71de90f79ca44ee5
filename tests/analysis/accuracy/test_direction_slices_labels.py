"""Direction, cost, slices and the quality of labels, worked out again from the rows of the record."""

import json

import numpy as np
import polars as pl
import pytest
from scipy.stats import binomtest
from tests import tiny
from tests.analysis import factory_runs
from tests.analysis.plain_rows import answered, auroc, rows_of, same, share, wrong

from demur.analysis import analyse
from demur.analysis.accuracy.error_direction import cost_per_image
from demur.analysis.accuracy.label_quality import _weighted_accuracy
from demur.classifier import BoundClassifier
from demur.errors import InputError
from demur.metrics import wilson
from demur.pipeline.run.loop import run_plan

DEFECTIVE = factory_runs.CLASSES.index("defective")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return factory_runs.run(tmp_path_factory.mktemp("modules") / "run")


@pytest.fixture(scope="module")
def results(folder):
    return analyse(folder)


@pytest.mark.parametrize("condition", ["clean", "gaussian_noise(severity=2)"])
def test_misses_and_false_alarms(folder, results, condition):
    row = next(row for row in results.direction.rows if row.condition == condition)
    for side, inside in ((row.misses, True), (row.false_alarms, False)):
        own = [each for each in rows_of(folder, condition) if (each["label"] == DEFECTIVE) == inside]
        test = [each for each in own if each["split"] == "test"]
        given = [each for each in test if answered(folder, each)]
        assert side.n == len(own)
        assert same(side.error_rate.value, share(map(crossed, own)))
        assert same(side.guarded_error_rate.value, share(crossed(each) and answered(folder, each) for each in test))
        assert same(side.selective_risk.value, share(map(crossed, given)))
        assert same(side.abstention_rate.value, 1 - len(given) / len(test))


def crossed(row):
    return (row["predicted"] == DEFECTIVE) != (row["label"] == DEFECTIVE)


def test_the_worth_of_answers_at_another_mixture(folder, results):
    """Every positive row counts so often that two in a hundred images are positive."""
    guarded, bare = results.direction.at
    for found, rows in ((bare, rows_of(folder, "clean")), (guarded, rows_of(folder, "clean", "test"))):
        given = [each for each in rows if not found.with_guard or answered(folder, each)]
        inside = sum(each["label"] == DEFECTIVE for each in rows)
        weights = [0.98 / (len(rows) - inside)] * len(factory_runs.CLASSES)
        weights[DEFECTIVE] = 0.02 / inside
        called = [each for each in given if each["predicted"] == DEFECTIVE]
        others = [each for each in given if each["predicted"] != DEFECTIVE]
        assert same(found.ppv.value, mean(called, weights, lambda each: each["label"] == DEFECTIVE))
        assert same(found.npv.value, mean(others, weights, lambda each: each["label"] != DEFECTIVE))
        assert same(found.risk.value, mean(given, weights, wrong))
        assert found.risk.low < found.risk.value < found.risk.high


def mean(rows, weights, flag):
    return sum(weights[each["label"]] * flag(each) for each in rows) / sum(weights[each["label"]] for each in rows)


def test_costs(folder, results):
    def price(row):
        escaped = row["label"] == DEFECTIVE and row["predicted"] == factory_runs.CLASSES.index("functional")
        return 10.0 if escaped else float(wrong(row))

    test = rows_of(folder, "clean", "test")
    assert same(results.cost.without_guard.value, share(map(price, test)))
    assert same(results.cost.with_guard.value, share(price(row) if answered(folder, row) else 0.25 for row in test))
    assert results.cost.with_guard.low < results.cost.with_guard.value < results.cost.with_guard.high


def test_slices(folder, results):
    clean = rows_of(folder, "clean")
    by_site = {row.value: row for row in results.slices if row.column == "site"}
    assert list(by_site) == ["Hamburg", "Leipzig", "Turin"]
    for site, row in by_site.items():
        own = [each for each in clean if each["meta.site"] == site]
        test = [each for each in own if each["split"] == "test"]
        given = [each for each in test if answered(folder, each)]
        assert (row.n, row.test_n) == (len(own), len(test))
        assert same(row.accuracy.value, 1 - share(map(wrong, own)))
        assert same(row.coverage.value, len(given) / len(test))
        assert same(row.risk.value, share(map(wrong, given)))
    assert (results.worst_slice.column, results.worst_slice.value) == ("site", "Turin")


def test_numbers_are_cut_into_quarters(folder, results):
    parts = [row for row in results.slices if row.column == "age"]
    assert [row.value for row in parts][-1] == "not given"
    assert len(parts) == 5
    assert sum(row.n for row in parts) == len(rows_of(folder, "clean"))
    for row in parts[:4]:
        low, high = map(float, row.value.split(" to "))
        own = [each for each in rows_of(folder, "clean") if each["meta.age"] and low <= float(each["meta.age"]) <= high]
        assert row.n == len(own)
        assert 0.2 < row.n / (0.9 * factory_runs.ROWS) < 0.3


def test_results_on_agreed_labels(folder, results):
    found = results.label_quality.second
    twice = [each for each in rows_of(folder, "clean") if each["label2"] is not None]
    agreed = [each for each in twice if each["label"] == each["label2"]]
    given = [each for each in agreed if each["split"] == "test" and answered(folder, each)]
    assert (found.pairs, found.n, found.answers) == (len(twice), len(agreed), len(given))
    assert same(found.agreement.value, len(agreed) / len(twice))
    assert found.kappa.low < found.kappa.value < found.kappa.high < found.agreement.high
    assert same(found.accuracy.value, 1 - share(map(wrong, agreed)))
    assert found.wrong_answers == sum(map(wrong, given))
    ends = binomtest(found.wrong_answers, len(given)).proportion_ci(0.95, "exact")
    assert found.holds == ("holds" if ends.high <= 0.1 else "broken" if ends.low > 0.1 else "undecided")
    uncertainties = [[each["signal.msp"] for each in agreed if wrong(each) == flag] for flag in (True, False)]
    assert found.auroc.value == pytest.approx(auroc(*uncertainties))


def test_accuracy_weighted_by_the_labels(folder, results):
    clean = rows_of(folder, "clean")
    weights = [each["label_weight"] for each in clean]
    right = sum(weight for weight, each in zip(weights, clean, strict=True) if not wrong(each))
    assert results.label_quality.weights == len(clean)
    assert same(results.label_quality.weighted_accuracy.value, right / sum(weights))


def test_an_image_of_no_weight_moves_neither_the_accuracy_nor_its_interval():
    rows = pl.DataFrame({"label": [0] * 60, "predicted": [0, 0, 1] * 20, "label_weight": [1.0, 0.5, 0.0] * 20})
    rows = rows.with_columns(group=pl.lit(None))
    found, without = (_weighted_accuracy(each) for each in (rows, rows.filter(pl.col("label_weight") > 0)))
    assert (found.low, found.value, found.high) == (without.low, 1, 1)
    assert found.low == pytest.approx(wilson(36, 36).low), "as many images as 40 of unequal weight are worth"


def test_what_nobody_gave_is_not_there(tmp_path):
    results = analyse(tiny.run(tmp_path, conditions=("clean",)))
    assert (results.direction, results.cost, results.label_quality, results.worst_slice) == (None,) * 4
    assert results.slices == ()


def test_without_a_guard_there_is_only_the_model(tmp_path):
    results = factory_runs.results(tmp_path, policies__use=["rule"], conditions__use=["clean"])
    assert results.direction.rows[0].misses.guarded_error_rate is None
    assert [row.with_guard for row in results.direction.at] == [False]
    assert results.cost.with_guard is None
    assert results.label_quality.second.holds is None
    assert results.worst_slice == min(results.slices, key=lambda row: row.accuracy.value)


def test_where_nothing_was_paid_the_dearest_error_may_have_been_missed():
    found = cost_per_image(np.zeros(200), pl.DataFrame({"group": [None] * 200}), dearest=10.0)
    assert (found.value, found.low) == (0, 0)
    assert found.high == pytest.approx(10 * wilson(0, 200).high)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data__positive": "defect"}, "Did you mean 'defective'"),
        ({"data__prevalence": "positive=2"}, "0.5 % of positives as positive=0.005"),
        ({"costs": {"defective as fine": 1.0}}, "unknown class in the cost of 'defective as fine'"),
    ],
)
def test_a_direction_that_cannot_be_is_refused_before_anything_is_measured(tmp_path, changes, said):
    with pytest.raises(InputError, match=said):
        factory_runs.run(tmp_path / "run", **changes)
    assert not (tmp_path / "run").exists()


def test_copies_across_roles_are_counted(tmp_path):
    class Doubled(factory_runs.Modules):
        """The last hundred images are the first hundred, a little darker."""

        def __init__(self):
            super().__init__()
            self.images[-100:] = 0.9 * self.images[:100] + 0.02
            self.labels[-100:] = self.labels[:100]

    plan = tiny.plan(conditions=("clean",), policies=("certified(risk=0.1)",))
    model = BoundClassifier(tiny.Net().eval(), classes=factory_runs.CLASSES, input_shape=tiny.SHAPE)
    folder = run_plan(plan, tmp_path / "run", tiny.Quiet(), Doubled(), model)
    facts = json.loads((folder / "facts" / "near_duplicates.json").read_text())
    splits = {row["sample_id"]: row["split"] for row in rows_of(folder, "clean")}
    ids = [f"{at:06d}" for at in range(factory_runs.ROWS)]
    torn = [(ids[at], ids[at - 100]) for at in range(100) if splits[ids[at]] != splits[ids[at - 100]]]
    assert facts["pairs"] == pytest.approx(len(torn), abs=5)
    touched = {one for pair in torn for one in pair if splits[one] == "test"}
    (check,) = (each for each in analyse(folder).checks if each.name == "near-duplicates stay together")
    assert check.count == pytest.approx(len(touched), abs=5)
    assert (check.state, check.of) == ("fail", sum(split == "test" for split in splits.values()))
    assert np.isin([pair[0] for pair in facts["examples"]], ids).all()
