"""Sums over groups, and the effective number of images that follows from them."""

import numpy as np
import pytest
from scipy.stats import t

from demur.metrics.binomial import effective_size, proportion, proportion_of
from demur.metrics.unit_sums import UnitSums


def world(seed, rows=400, size=5):
    draw = np.random.default_rng(seed)
    groups = draw.integers(0, rows // size, rows)
    return draw.random(rows) < 0.1 + 0.5 * draw.random(rows // size)[groups], groups


def slow(values, groups):
    """The definition, group by group."""
    mean, n, names = values.mean(), len(values), np.unique(groups)
    off = sum((values[groups == name] - mean).sum() ** 2 for name in names)
    variance = len(names) / (len(names) - 1) * off / n**2
    few = (t.ppf(0.975, n - 1) / t.ppf(0.975, len(names) - 1)) ** 2
    return min(n, values.var() / variance * few)


@pytest.mark.parametrize("seed", range(4))
def test_the_effective_number_is_that_of_the_definition(seed):
    flags, groups = world(seed)
    assert effective_size(flags, groups) == pytest.approx(slow(flags.astype(float), groups), rel=1e-9)
    signs = np.where(flags, 1, np.random.default_rng(seed).integers(-1, 1, len(flags)))
    assert effective_size(signs, groups) == pytest.approx(slow(signs.astype(float), groups), rel=1e-9)


def test_sums_do_not_depend_on_the_order_of_rows_to_the_digit():
    flags, groups = world(7, rows=999)
    order = np.random.default_rng(1).permutation(len(flags))
    assert proportion(flags[order], groups[order], 3) == proportion(flags, groups, 3)
    assert UnitSums.of(flags[order], groups[order]) == UnitSums.of(flags, groups)


def test_rows_that_are_groups_by_themselves_need_no_groups():
    flags = world(2)[0]
    singles = UnitSums.of_singles(int(flags.sum()), len(flags))
    assert singles == UnitSums.of(flags, np.arange(len(flags)))


def test_groups_that_all_agree_with_the_mean_know_nothing_of_the_design():
    flags, groups = np.tile([True, False, False], 40), np.repeat(np.arange(40), 3)
    few = (t.ppf(0.975, 119) / t.ppf(0.975, 39)) ** 2
    assert effective_size(flags, groups) == pytest.approx(40 * few)
    assert effective_size(np.ones(6, bool), np.arange(6) // 2) == 3


def test_no_rows_have_no_share():
    none = proportion_of(UnitSums.of(np.zeros(0, bool), np.zeros(0, object)))
    assert (none.reason, none.unit, none.n) == ("no images", "group", 0)
