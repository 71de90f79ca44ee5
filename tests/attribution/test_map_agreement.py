"""Agreement of maps, against scipy and loops."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import rankdata, spearmanr
from tests.attribution.map_shapes import SIZES, checkers, hot, noise, uniform

from demur.attribution.localisation import agreement, map_spearman

EVERY = pytest.mark.parametrize("size", SIZES, ids=str)


def slow_overlap(one, other):
    """Each cell's part in its map's top fifth: n/5 places given out in order, equals sharing theirs."""

    def parts(values):
        descending = rankdata(-np.asarray(values), method="min") - 1
        out = []
        for value, before in zip(values, descending, strict=True):
            level = sum(other == value for other in values)
            out.append(min(max((0.2 * len(values) - before) / level, 0), 1))
        return out

    pairs = list(zip(parts(one), parts(other), strict=True))
    return sum(map(min, pairs)) / sum(map(max, pairs))


@EVERY
@pytest.mark.parametrize("levels", [None, 4], ids=["smooth", "tied"])
def test_agreement_is_its_definition(size, levels):
    one, other = noise(4, *size, levels=levels), noise(4, *size, seed=5, levels=levels)
    one[:, 0, 0], other[:, 0, 0] = 9, 9
    correlation, overlap = agreement(one, other)
    for row in range(4):
        first, second = one[row].flatten().tolist(), other[row].flatten().tolist()
        assert float(correlation[row]) == pytest.approx(spearmanr(first, second).statistic, abs=1e-9)
        assert float(overlap[row]) == pytest.approx(slow_overlap(first, second), abs=1e-9)


@EVERY
def test_a_map_agrees_with_itself_and_with_any_rising_function_of_itself(size):
    heat = noise(3, *size)
    for other in (heat, heat.square(), 7 * heat):
        correlation, overlap = agreement(heat, other)
        assert correlation.tolist() == [1, 1, 1]
        assert overlap.tolist() == [1, 1, 1]


@EVERY
def test_a_map_and_its_opposite_disagree(size):
    heat = torch.linspace(0.1, 1, size[0] * size[1]).view(1, *size)
    correlation, overlap = agreement(heat, 1.1 - heat)
    assert float(correlation[0]) == -1
    assert float(overlap[0]) == 0


def test_the_finer_map_counts_by_its_means_on_the_coarser_grid():
    coarse, fine = noise(3, 4, 4), noise(3, 12, 8, seed=2)
    means = fine.unflatten(1, (4, 3)).unflatten(3, (4, 2)).mean(dim=(2, 4))
    for one, other in ((coarse, fine), (fine, coarse)):
        correlation, overlap = agreement(one, other)
        expected = agreement(coarse, means)
        assert torch.equal(correlation, expected[0])
        assert torch.equal(overlap, expected[1])


@pytest.mark.parametrize("size", [(7, 7), (5, 3)], ids=str)
def test_a_flat_map_has_no_order_even_after_averaging(size):
    for value in (0.1, 1 / 3, 7.3):
        flat = value * uniform(32, 30)
        correlation, overlap = agreement(noise(1, *size), flat)
        assert math.isnan(correlation[0])
        assert 0 < float(overlap[0]) < 1


def test_ties_stay_ties_after_averaging():
    fine = checkers(2, 2).repeat_interleave(16, dim=1).repeat_interleave(16, dim=2) * 0.1 + 0.7
    again = agreement(fine, fine[:, ::2, ::2].contiguous())
    assert float(again[0][0]) == 1


def test_maps_of_nothing_agree_with_nothing():
    heat = torch.cat([noise(1, 4, 4), torch.zeros(1, 4, 4)])
    for other in (noise(2, 4, 4), noise(2, 8, 8)):
        for one in (agreement(heat, other), agreement(other, heat)):
            assert [values.isnan().tolist() for values in one] == [[False, True]] * 2


def test_no_rows_agree_without_fuss():
    assert agreement(torch.zeros(0, 4, 4), torch.zeros(0, 8, 8))[0].shape == (0,)
    assert map_spearman(np.zeros((0, 4)), np.zeros((0, 4))).shape == (0,)


@pytest.mark.parametrize("size", [(4, 4), (7, 7), (224, 224)], ids=str)
def test_agreement_does_not_depend_on_company(size):
    one, other = noise(20, *size), noise(20, 32, 32, seed=1)
    together = agreement(one, other)
    for rows in ([0], [19, 1]):
        alone = agreement(one[rows], other[rows])
        assert all(torch.equal(a, b[rows]) for a, b in zip(alone, together, strict=True))


def test_one_hot_cell_overlaps_by_the_rest_of_its_fifth():
    correlation, overlap = agreement(hot(5, 5), hot(5, 5, 4, 4))
    assert float(correlation[0]) == pytest.approx(-1 / 24)
    rest = 4 / 24
    assert float(overlap[0]) == pytest.approx((rest * 23 + 2 * rest) / (2 + 23 * rest))
