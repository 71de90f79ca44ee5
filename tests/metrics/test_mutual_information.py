"""Mutual information: none of independent columns, known for two normal ones, as scikit-learn's before its bias."""

import math

import numpy as np
import pytest

from demur.metrics.mutual_information import mutual_information


def normals(rho, rows=20_000, seed=0):
    one, two = np.random.default_rng(seed).normal(size=(2, rows))
    return np.stack([one, rho * one + math.sqrt(1 - rho**2) * two], axis=1)


@pytest.mark.parametrize("rho", [0.0, 0.5, -0.8])
def test_it_is_that_of_two_normal_numbers(rho):
    found = mutual_information(normals(rho))
    truth = -0.5 * math.log(1 - rho**2)
    assert 0.9 * truth - 0.005 < found[0, 1] == found[1, 0] < truth + 0.005, "bins lose a little"


def test_independent_columns_share_nothing_on_average_however_few_rows():
    found = [mutual_information(normals(0, rows=60, seed=seed))[0, 1] for seed in range(200)]
    assert np.mean(found) < 0.02
    assert min(found) == 0


def test_a_column_shares_with_itself_and_with_its_square_what_its_bins_hold():
    values = np.random.default_rng(1).normal(size=4000)
    found = mutual_information(np.stack([values, values**3, np.zeros(4000)], axis=1))
    assert found[0, 0] == pytest.approx(math.log(16), abs=1e-3)
    assert found[0, 1] == pytest.approx(math.log(16), abs=1e-3)
    assert found[0, 2] == found[2, 2] == 0


def test_it_agrees_with_scikit_learn_up_to_the_bias():
    metrics = pytest.importorskip("sklearn.metrics")
    columns = normals(0.6, rows=1000)
    cuts = [np.quantile(column, np.arange(1, 10) / 10) for column in columns.T]
    left, right = (np.searchsorted(own, column, side="right") for own, column in zip(cuts, columns.T, strict=True))
    cells = len({*zip(left, right, strict=True)})
    bias = (cells - 10 - 10 + 1) / 2000
    assert mutual_information(columns)[0, 1] == pytest.approx(metrics.mutual_info_score(left, right) - bias, abs=1e-12)
