"""A guarantee that a constant answer would get says nothing, and one of a class is of that class alone."""

import json

import numpy as np
import pytest
from scipy.stats import beta, binom
from tests import imbalanced_runs, tiny
from tests.analysis.plain_rows import answered, rows_of, wrong

from demur.analysis import analyse
from demur.analysis.quantity import Quantity
from demur.analysis.verdict.imbalance import PositiveBound, positive_labels_needed
from demur.cli.settings import status
from demur.metrics import risk_upper_bound, wilson
from demur.report import words
from demur.report.first_screen import FirstScreen


def bound(errors, n, delta=0.05):
    """Clopper and Pearson's upper end."""
    return float(beta.ppf(1 - delta, errors + 1, n - errors)) if errors < n else 1.0


@pytest.fixture(scope="module")
def constant(tmp_path_factory):
    """One in a hundred is defective, and the model always says “ok”."""
    return analyse(imbalanced_runs.run(tmp_path_factory.mktemp("constant") / "run", imbalanced_runs.Always()))


@pytest.fixture(scope="module")
def telling(tmp_path_factory):
    """A model that tells defects, and the plan says that they must not be missed."""
    folder = tmp_path_factory.mktemp("telling") / "run"
    return imbalanced_runs.run(folder, imbalanced_runs.Spot(), data__positive="defect")


def test_a_constant_model_has_no_guarantee_in_its_headline(constant):
    said = words(constant)
    assert constant.state == "uninformative"
    assert "at most" not in said.partition("When it answers every image")[0]
    assert "No guarantee: answering “ok” every time would get the same one." in said
    assert "Next: Name the class that must not be missed (data.positive), or ask for a smaller risk than " in said
    assert status(constant) == 1
    assert FirstScreen.of(constant).behaviour is None


def test_the_constant_answer_is_put_through_the_test_of_the_certificate(constant):
    rows = rows_of(constant.folder, "clean", "certify")
    others = sum(row["label"] != 1 for row in rows)
    found = constant.constant
    assert (found.answer, found.n, found.others, found.alike) == ("ok", len(rows), others, "everywhere")
    assert binom.cdf(others, len(rows), 0.02) <= 0.05


def test_with_a_positive_class_a_constant_model_misses_all_of_it(tmp_path):
    results = analyse(imbalanced_runs.run(tmp_path / "run", imbalanced_runs.Always(), data__positive="defect"))
    own = [row for row in rows_of(tmp_path / "run", "clean", "test") if row["label"] == 0]
    assert results.state == "uninformative"
    assert (results.positive.wrong_answers, results.positive.n, results.positive.bound) == (len(own), len(own), 1.0)
    assert f"No guarantee for “defect”: {len(own)} of {len(own)} test images are answered and wrong." in words(results)
    assert "Next: Improve the model on images of “defect”" in words(results)


def test_the_headline_is_of_the_positive_class(telling):
    results = analyse(telling)
    own = [row for row in rows_of(telling, "clean", "test") if row["label"] == 0]
    errors = sum(wrong(row) and answered(telling, row) for row in own)
    found = results.positive
    assert (found.n, found.wrong_answers) == (len(own), errors)
    assert found.bound == pytest.approx(bound(errors, len(own)))
    assert found.labels == sum(row["label"] == 0 for row in rows_of(telling, "clean", "certify"))
    assert results.state == "issued"
    lines = words(results).splitlines()
    most = int(np.ceil(100 * found.bound - 1e-9))
    assert lines[1].startswith(f"At most {most} in 100 images of “defect” are answered and wrong (95 % confidence; ")
    assert f"{len(own)} labelled images of" in lines[1]
    assert "“ok” as the only answer would get the guarantee over all answers too." in words(results)


def test_labels_of_a_refusal_are_counted_by_the_class(tmp_path):
    plan = {"data__positive": "defect", "policies__use": ["certified(risk=0.0001)"]}
    results = analyse(imbalanced_runs.run(tmp_path / "run", imbalanced_runs.Spot(), **plan))
    assert results.state == "too_few_labels"
    assert results.positive.bound is None
    assert f"{results.positive.labels} of these labels are of “defect”." in FirstScreen.of(results).verdict.note


def test_a_smaller_risk_than_the_rare_class_is_common_tells(tmp_path):
    results = analyse(
        imbalanced_runs.run(tmp_path / "run", imbalanced_runs.Spot(), policies__use=["certified(risk=0.01)"])
    )
    assert (results.state, results.constant.alike) == ("issued", None)
    assert "as the only answer" not in words(results)


def test_a_constant_answer_on_what_is_answered_is_said(tmp_path):
    """Of twenty in a hundred defects the guard answers none: it sends them to a person, and all answers are “ok”."""
    folder = tmp_path / "run"
    source = imbalanced_runs.source(share=0.2)
    results = analyse(imbalanced_runs.run(folder, imbalanced_runs.Spot(edge=0.9), of=source))
    rows = [row for row in rows_of(folder, "clean", "certify") if answered(folder, row)]
    others = sum(row["label"] != 1 for row in rows)
    assert binom.cdf(others, len(rows), 0.02) <= 0.05
    assert (results.state, results.constant.alike) == ("issued", "answered")
    assert "Imbalance: “ok” as the only answer to what it answers would get the guarantee too." in words(results)


def test_one_image_of_each_group_is_counted(tmp_path):
    source = tiny.source(rows=900, groups=[f"part {row // 3}" for row in range(900)])
    results = analyse(tiny.run(tmp_path / "run", of=source, conditions=("clean",), policies=("certified(risk=0.2)",)))
    facts = json.loads((tmp_path / "run" / "facts" / "policies.json").read_text())[0]
    assert (results.constant.n, results.constant.unit) == (facts["policy"]["certificate"]["m"], "group")


def positive(rate, n, coverage=0.8):
    errors = round(rate * n)
    return PositiveBound(
        positive="defect", labels=n, n=n, unit="image", wrong_answers=errors, bound=bound(errors, n), delta=0.05,
        rate=Quantity.of(wilson(errors, n)), coverage=Quantity.of(wilson(round(coverage * 1000), 1000)),
        informative=False,
    )  # fmt: skip


@pytest.mark.parametrize(("rate", "n"), [(0.0, 1), (0.5, 4), (0.25, 8)])
def test_enough_labels_of_the_class_would_tell(rate, n):
    found = positive(rate, n)
    needed = positive_labels_needed(found)
    assert bound(round(rate * needed), needed) < found.coverage.low
    assert needed == n or bound(round(rate * needed / 2), needed // 2) >= found.coverage.low


def test_no_number_of_labels_helps_a_model_that_misses_as_many_as_it_answers():
    assert positive_labels_needed(positive(0.9, 40)) is None


def test_the_bound_is_exceeded_by_the_truth_no_more_often_than_it_may():
    """1,000 draws of test sets with about 30 positives, a tenth of which are answered and wrong."""
    draw = np.random.default_rng(4)
    n = draw.binomial(3000, 0.01, 1000)
    errors = draw.binomial(n, 0.1)
    broken = sum(risk_upper_bound(int(k), int(m), 0.05) < 0.1 for k, m in zip(errors, n, strict=True))
    assert broken <= binom.ppf(0.999, 1000, 0.05)
    assert broken >= 5
