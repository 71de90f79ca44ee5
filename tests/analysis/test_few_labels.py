"""An audit of so few images that there is no test split: what is said, and what is not."""

import math

import pytest
from tests import tiny

from demur.analysis import write_results
from demur.report import render, write


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    changes = {"conditions": ("clean", "pgd(eps=0.1, steps=2)", "gaussian_noise(severity=2)")}
    return tiny.run(
        tmp_path_factory.mktemp("few") / "run",
        tiny.source(500),
        policies=("certified(risk=0.1)",),
        attacked=40,
        **changes,
    )


@pytest.fixture(scope="module")
def results(folder):
    return write_results(folder)


def test_shares_of_test_images_are_undefined_with_a_reason(results):
    guarantee = results.guarantee
    assert results.state == "issued"
    assert guarantee.test_n == guarantee.test_answers == guarantee.test_wrong == 0
    for share in (guarantee.coverage, guarantee.test_risk):
        assert math.isnan(share.value)
        assert share.reason == "no images"
    assert (guarantee.coverage_rows, guarantee.coverage_n) == ("certify", guarantee.certify_n)
    assert 0 < guarantee.coverage_low < guarantee.coverage_answers / guarantee.coverage_n
    assert all(row.holds is None for row in results.conditions)


def test_numbers_that_need_no_fitting_are_of_all_images(results):
    assert results.test_accuracy == results.accuracy
    assert results.accuracy.n == 500
    assert results.guarantee.risk_without_guard.value == pytest.approx(1 - results.accuracy.value)
    assert sum(row.n for row in results.per_class) == 500
    assert all(row.coverage is None for row in results.per_class)
    assert results.worst_class.by == "accuracy"
    assert results.random_risk == pytest.approx(1 - results.accuracy.value)
    attacked = next(row for row in results.conditions if row.kind == "attack")
    assert attacked.n == 40


def test_nothing_confirms_the_guarantee_and_a_check_says_so(results):
    (check,) = (each for each in results.checks if each.name == "unseen images confirm the guarantee")
    assert (check.state, check.count, check.of) == ("warn", None, None)
    assert "No untouched images are left" in check.sentence


def test_what_more_labels_could_reach_is_the_observed_coverage_at_the_risk(results, folder):
    assert results.guarantee.attainable >= results.guarantee.coverage_answers / results.guarantee.coverage_n - 0.1
    assert results.guarantee.attainable <= 1


def test_the_report_is_whole(results, folder):
    assert write(folder, results).path.exists()
    page = render(results)
    assert "No untouched images are left to check it on." in page
    assert "all held-out images, without the guard" in page
