"""Kappa against its definition, row by row."""

import math

import numpy as np
import pytest

from demur.metrics.paired import kappa


def slow(first, second):
    n, classes = len(first), {*first, *second}
    observed = sum(one == other for one, other in zip(first, second, strict=True)) / n
    expected = sum(list(first).count(k) * list(second).count(k) for k in classes) / n**2
    return (observed - expected) / (1 - expected)


@pytest.mark.parametrize("seed", range(5))
def test_kappa_is_its_definition(seed):
    draw = np.random.default_rng(seed)
    first = draw.integers(0, 4, 60)
    second = np.where(draw.uniform(size=60) < 0.6, first, draw.integers(0, 6, 60))
    assert kappa(first, second) == pytest.approx(slow(first, second))


def test_a_weight_is_a_repetition():
    first, second = np.array([0, 1, 2, 1, 0]), np.array([0, 1, 1, 1, 2])
    times = np.array([[1.0, 2, 0, 3, 1], [2, 1, 1, 0, 0]])
    repeated = [slow(np.repeat(first, t.astype(int)), np.repeat(second, t.astype(int))) for t in times]
    assert kappa(first, second, weights=times) == pytest.approx(repeated)


def test_one_class_says_nothing():
    assert math.isnan(kappa([1, 1, 1], [1, 1, 1]))
