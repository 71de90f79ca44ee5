"""Paired comparisons, against scipy, all sign flips written out, and the truth held."""

import itertools

import numpy as np
import pytest
from scipy.stats import binomtest

from demur.errors import InputError
from demur.metrics.binomial import effective_size
from demur.metrics.paired import differences, holm, mcnemar, paired, sign_effect, sign_test

INF = np.inf


def test_a_side_above_the_cap_is_the_larger_and_both_are_a_tie():
    found = paired([0.1, 0.3, INF, 0.2, INF], [0.2, 0.1, 0.5, INF, INF])
    assert (found.n, found.smaller, found.larger, found.ties) == (5, 2, 2, 1)
    np.testing.assert_array_equal(differences([0.25, INF, INF, 1.0], [0.5, INF, 1.0, INF]), [0.25, 0, -INF, INF])


@pytest.mark.parametrize(
    ("smaller", "larger", "ties"), [(9, 1, 0), (5, 5, 3), (0, 7, 1), (0, 0, 4), (30, 12, 8), (1, 0, 0)]
)
def test_the_sign_test_is_exact(smaller, larger, ties):
    found = np.array([1.0] * smaller + [-INF] * larger + [0.0] * ties)
    slow = binomtest(smaller, smaller + larger).pvalue if smaller + larger else 1.0
    assert sign_test(found) == pytest.approx(slow, rel=1e-12)
    assert sign_test(found, np.arange(len(found))) == pytest.approx(slow, rel=1e-12), "groups of one image"
    assert sign_test(-found) == sign_test(found)


def test_the_signs_of_a_group_turn_together():
    rng = np.random.default_rng(0)
    for _ in range(20):
        groups, signs = rng.integers(0, 7, 30), rng.integers(-1, 2, 30) + (rng.random(30) < 0.3)
        sums = [np.sign(signs[groups == g]).sum() for g in np.unique(groups)]
        every = [abs(np.dot(turn, sums)) for turn in itertools.product((-1, 1), repeat=len(sums))]
        slow = np.mean([total >= abs(sum(sums)) for total in every])
        assert sign_test(signs, groups) == pytest.approx(slow, rel=1e-12)


def test_images_of_one_group_are_not_counted_as_many():
    found = np.repeat([1.0, 1.0, 1.0, 1.0, -1.0], 20)
    assert sign_test(found) < 1e-8
    assert sign_test(found, np.repeat(np.arange(5), 20)) == pytest.approx(2 * (1 + 5) / 32)


def test_the_sign_test_errs_as_seldom_as_it_says():
    rng = np.random.default_rng(1)
    groups = np.repeat(np.arange(15), 4)
    wrong = [
        sign_test(np.sign(rng.normal(size=60) + 2 * rng.normal(size=15)[groups]), groups) < 0.05 for _ in range(600)
    ]
    assert np.mean(wrong) < 0.07


def test_the_effect_is_the_difference_of_shares():
    found = sign_effect(np.array([1, 1, 1, -1, 0, 0, 2, -INF, INF, 0.5]))
    assert found.value == pytest.approx(0.4)
    # Bonett and Price's: (6 + 1)/12 and (2 + 1)/12
    half = 1.959964 * np.sqrt((7 / 12 + 3 / 12 - (4 / 12) ** 2) / 12)
    assert (found.low, found.high) == pytest.approx((4 / 12 - half, 4 / 12 + half), rel=1e-6)
    assert np.isnan(sign_effect([]).value)


@pytest.mark.parametrize("groups", [None, np.repeat(np.arange(20), 3)])
def test_an_effect_on_which_all_agree_keeps_a_width(groups):
    found = sign_effect(np.ones(60), groups)
    assert found.high == found.value == 1
    assert found.low == pytest.approx(0.905 if groups is None else 0.735, abs=1e-3)


def test_groups_of_one_image_are_worth_an_image_each():
    signs = np.array([1, 1, -1, 0, 1, 1, 0, -1, 1, 1.0])
    assert effective_size(signs, np.arange(10)) == pytest.approx(9)
    assert effective_size(np.repeat(signs, 3), np.repeat(np.arange(10), 3)) < 9


@pytest.mark.parametrize("groups", [None, np.repeat(np.arange(30), 2), np.repeat(np.arange(12), 5)])
def test_the_effect_covers_the_truth(groups):
    rng, hits = np.random.default_rng(2), 0
    for _ in range(400):
        if groups is None:
            signs = rng.choice([-1, 0, 1], 60, p=[0.15, 0.25, 0.6])
        else:
            lean = rng.beta(6, 3, groups.max() + 1)[groups]  # in the mean 2/3
            signs = np.where(rng.random(60) < lean, 1, -1)
        found = sign_effect(signs, groups)
        hits += found.low <= (0.45 if groups is None else 1 / 3) <= found.high
    assert hits >= 0.92 * 400


def test_the_interval_of_an_effect_is_that_of_as_many_images_as_the_groups_are_worth():
    rng = np.random.default_rng(7)
    groups, signs = np.repeat(np.arange(20), 4), rng.choice([-1.0, 0.0, 1.0], 80, p=[0.2, 0.3, 0.5])
    found, size = sign_effect(signs, groups), effective_size(signs, groups)
    assert (found.n, found.unit) == (20, "group")
    assert 21 < size < 79, "or the number of groups, or of images, would do as well"
    up, down = ((size * np.mean(signs == sign) + 1) / (size + 2) for sign in (1, -1))
    half = 1.959964 * np.sqrt((up + down - (up - down) ** 2) / (size + 2))
    assert (found.low, found.high) == pytest.approx((up - down - half, up - down + half), rel=1e-6)


def test_the_difference_is_a_median_with_an_exact_interval():
    rng = np.random.default_rng(3)
    first = rng.random(41)
    second = first + rng.normal(0.1, 0.05, 41)
    second[:3] = INF
    found, ordered = paired(first, second).difference, sorted(differences(first, second))
    assert (found.value, found.low, found.high) == (ordered[20], ordered[13], ordered[27])


def test_mcnemar_is_the_sign_test_of_the_images_on_which_two_models_differ():
    first = np.array([1] * 70 + [1] * 5 + [0] * 16 + [0] * 9, bool)
    second = np.array([1] * 70 + [0] * 5 + [1] * 16 + [0] * 9, bool)
    found = mcnemar(first, second)
    assert (found.smaller, found.larger, found.ties) == (16, 5, 79)
    assert found.p_value == pytest.approx(binomtest(5, 21).pvalue)
    assert found.effect.value == pytest.approx(second.mean() - first.mean())


def test_holm_against_its_definition():
    rng = np.random.default_rng(4)
    for n in (1, 2, 5, 9):
        given = rng.random(n) ** 3
        ordered = sorted(given)
        slow = [min(1, max((n - j) * ordered[j] for j in range(ordered.index(p) + 1))) for p in given]
        assert holm(given) == pytest.approx(slow)
    assert holm([np.nan, 0.01, 0.5])[1:] == pytest.approx([0.02, 0.5])
    assert np.isnan(holm([np.nan, 0.01])[0])
    assert len(holm([])) == 0


@pytest.mark.parametrize(("second", "words"), [([1.0, np.nan], "NaN on 1 of 2"), ([1.0], "shapes")])
def test_what_is_no_pair_is_refused(second, words):
    with pytest.raises(InputError, match=words):
        paired([1.0, 2.0], second)
