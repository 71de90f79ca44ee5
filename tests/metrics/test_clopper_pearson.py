"""Exact intervals of shares, alone and of several at once."""

import numpy as np
import pytest
from scipy.stats import beta

from demur.metrics.binomial import clopper_pearson, effective_size, proportion


@pytest.mark.parametrize(("count", "n"), [(0, 10), (3, 10), (10, 10), (34, 2814)])
@pytest.mark.parametrize("several", [1, 10, 200])
def test_the_interval_is_the_exact_one_at_each_ones_level(count, n, several):
    tail = (1 - 0.95 ** (1 / several)) / 2
    found = clopper_pearson(count, n, several)
    assert found.value == count / n
    assert found.low == pytest.approx(0 if count == 0 else beta.ppf(tail, count, n - count + 1))
    assert found.high == pytest.approx(1 if count == n else beta.ppf(1 - tail, count + 1, n - count))


def test_no_images_have_no_interval():
    assert np.isnan(clopper_pearson(0, 0).value)
    assert np.isnan(proportion(np.zeros(0, bool), several=3).value)


def test_groups_count_by_their_effective_number():
    flags, groups = np.tile([True, False, True, True], 30), np.repeat(np.arange(30), 4)
    alike = np.repeat(np.arange(30) % 3 > 0, 4)
    effective = effective_size(flags, groups)
    assert proportion(flags, groups, 5).low == pytest.approx(clopper_pearson(0.75 * effective, effective, 5).low)
    assert proportion(alike, groups, 5).low < proportion(alike, None, 5).low - 0.1
