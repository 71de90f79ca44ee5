"""Whether classes differ: the statistic against scipy, the p-value against its guarantee, under ties and groups."""

import itertools

import numpy as np
import pytest
from scipy.stats import kruskal

from demur.errors import InputError
from demur.metrics import class_ranking_test as module
from demur.metrics.class_ranking_test import ranking_test


def test_the_statistic_is_scipys_under_ties():
    rng = np.random.default_rng(0)
    for n, classes in ((12, 2), (40, 3), (200, 10)):
        labels, values = np.arange(n) % classes, rng.integers(0, 12, n).astype(float)
        values[values > 9] = np.inf
        slow = kruskal(*(np.where(np.isinf(values), 99, values)[labels == k] for k in range(classes))).statistic
        assert ranking_test(values, labels).statistic == pytest.approx(slow)
    assert ranking_test(np.ones(6), [0, 0, 0, 1, 1, 1]).statistic == 0


def test_the_p_value_is_that_of_all_permutations():
    values, labels = np.array([1.0, 2, 3, 5, 4, 6, np.inf]), np.array([0, 0, 0, 1, 1, 1, 1])
    found, finite = ranking_test(values, labels), np.minimum(values, 99)
    splits = (list(first) for first in itertools.combinations(range(7), 3))
    every = [kruskal(finite[first], np.delete(finite, first)).statistic for first in splits]
    assert found.p_value == pytest.approx(np.mean(np.array(every) >= found.statistic - 1e-9), abs=0.015)


def test_the_same_rows_in_any_order_give_the_same_numbers():
    rng = np.random.default_rng(1)
    values, labels, groups = rng.random(60), rng.integers(0, 4, 60), rng.integers(0, 20, 60)
    order = rng.permutation(60)
    assert ranking_test(values, labels) == ranking_test(values[order], labels[order])
    assert ranking_test(values, labels, groups) == ranking_test(values[order], labels[order], groups[order])


def test_real_differences_are_found_and_both_halves_show_them():
    rng = np.random.default_rng(2)
    labels = np.repeat(np.arange(8), 25)
    found = ranking_test(labels + rng.normal(size=200), labels)
    assert (found.classes, found.n, found.p_value) == (8, 200, 1 / (1 + module.PERMUTATIONS))
    assert found.halves.value > 0.9
    assert found.halves.low <= found.halves.value <= found.halves.high


def test_noise_is_called_so_as_often_as_guaranteed(monkeypatch):
    monkeypatch.setattr(module, "PERMUTATIONS", 99)
    monkeypatch.setattr(module, "SPLITS", 5)
    rng = np.random.default_rng(3)
    labels = np.repeat(np.arange(5), 12)
    found = [ranking_test(rng.exponential(size=60), labels) for _ in range(200)]
    assert np.mean([each.p_value <= 0.05 for each in found]) == pytest.approx(0.05, abs=0.035)
    assert np.mean([each.halves.value for each in found]) == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("mixed", [False, True])
def test_groups_are_not_taken_for_classes(monkeypatch, mixed):
    """What differs between groups differs between classes made of few groups, and is noise all the same."""
    monkeypatch.setattr(module, "PERMUTATIONS", 99)
    monkeypatch.setattr(module, "SPLITS", 5)
    rng, groups = np.random.default_rng(4), np.repeat(np.arange(16), 6)
    labels = groups % 4 if not mixed else np.where(groups < 8, groups % 4, np.arange(96) % 4)
    p_values = []
    naive = []
    for _ in range(100):
        values = rng.normal(size=16)[groups] + 0.3 * rng.normal(size=96)
        p_values.append(ranking_test(values, labels, groups).p_value)
        naive.append(ranking_test(values, labels).p_value)
    assert np.mean(np.array(p_values) <= 0.05) <= 0.1
    assert mixed or np.mean(np.array(naive) <= 0.05) > 0.3


def test_differences_within_groups_are_found():
    rng, groups = np.random.default_rng(5), np.repeat(np.arange(20), 6)
    labels = np.arange(120) % 3
    found = ranking_test(5 * rng.normal(size=20)[groups] + labels, labels, groups)
    assert found.p_value < 0.01


def test_a_permutation_keeps_whole_groups_of_one_class_and_the_classes_of_mixed_ones():
    units = np.array([0, 0, 0, 1, 1, 2, 2, 2, 3])
    codes = np.array([0, 0, 0, 1, 1, 0, 1, 2, 2])
    drawn = np.concatenate(list(module._shuffled(codes, units, np.random.default_rng(0), 500)))
    assert drawn.shape == (500, 9)
    for row in drawn:
        assert len(set(row[:3])) == len(set(row[3:5])) == 1
        assert sorted([row[0], row[3], row[8]]) == [0, 1, 2]
        assert sorted(row[5:8]) == [0, 1, 2]
    assert len({tuple(row) for row in drawn}) == 36


def test_the_halves_of_a_split_against_slow_medians():
    rng = np.random.default_rng(6)
    upper = []
    for _ in range(10):
        values, codes, half = rng.random(30), rng.integers(0, 5, 30), rng.integers(0, 2, 30)
        cells = [[sorted(values[(codes == k) & (half == h)]) for k in range(5)] for h in (0, 1)]
        both = [k for k in range(5) if cells[0][k] and cells[1][k]]
        one, other = ([cell[k][(len(cell[k]) - 1) // 2] for k in both] for cell in cells)
        found = module._split(values, codes, half, 5)
        assert found == pytest.approx(module.rank_correlation(one, other))
        one, other = ([cell[k][len(cell[k]) // 2] for k in both] for cell in cells)
        upper.append(found != pytest.approx(module.rank_correlation(one, other)))
    assert any(upper), "or upper medians would do as well"


def test_one_class_has_no_ranking():
    assert ranking_test([1.0, 2.0], [0, 0]) is None
    assert ranking_test([], []) is None


def test_classes_of_one_image_have_no_halves():
    found = ranking_test([1.0, 2.0, 3.0], [0, 1, 2])
    assert np.isnan(found.halves.value)
    assert found.halves.reason


def test_undefined_values_are_refused():
    with pytest.raises(InputError, match="NaN on 1"):
        ranking_test([1.0, np.nan], [0, 1])
