"""Whether two models rank errors differently: against slow swaps, and how often the chance is small for nothing."""

import numpy as np
import pytest
from scipy.stats import rankdata

from demur.metrics import augrc
from demur.metrics.swapped_ranks import swap_test


def model(rng, n, accuracy=0.8, skill=1.0):
    wrong = rng.random(n) > accuracy
    return rng.normal(skill * wrong, 1), wrong


def slow(first, second, groups, draws=1_500):
    """The same by a loop over swaps; each area from its own sort."""
    one, other = (np.stack([rankdata(scores), wrong]) for scores, wrong in (first, second))
    rng, units = np.random.default_rng(8), np.unique(groups)
    observed = augrc(*other) - augrc(*one)
    found = []
    for _ in range(draws):
        turned = np.isin(groups, units[rng.random(len(units)) < 0.5])
        a, b = np.where(turned, other, one), np.where(turned, one, other)
        found.append(augrc(b[0], b[1].astype(bool)) - augrc(a[0], a[1].astype(bool)))
    return float(np.mean(np.abs(found) >= abs(observed)))


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("skill", [1.0, 1.6, 2.2])
def test_the_chance_is_that_of_swapping_images_or_whole_groups(skill, grouped):
    rng = np.random.default_rng(4)
    first, second = model(rng, 240), model(rng, 240, skill=skill)
    groups = np.arange(240) // (6 if grouped else 1)
    found = swap_test(first, second, augrc, groups if grouped else None)
    assert found == pytest.approx(slow(first, second, groups), abs=0.05)


def test_it_is_small_for_nothing_no_more_often_than_it_says():
    rng = np.random.default_rng(6)
    chances = [swap_test(model(rng, 200), model(rng, 200), augrc, draws=300) for _ in range(300)]
    assert 0.02 < np.mean(np.array(chances) <= 0.05) < 0.09


def test_groups_that_agree_within_tell_less():
    rng = np.random.default_rng(1)
    first, second = model(rng, 60), model(rng, 60, accuracy=0.55)
    repeat = [tuple(np.repeat(each, 8) for each in side) for side in (first, second)]
    alone, together = (swap_test(*repeat, augrc, groups) for groups in (None, np.arange(480) // 8))
    assert alone < together / 5


def test_only_the_order_of_scores_counts_and_the_sign_of_the_difference_does_not():
    rng = np.random.default_rng(2)
    first, second = model(rng, 100), model(rng, 100, skill=2)
    stretched = (np.exp(5 * second[0]), second[1])
    assert swap_test(first, stretched, augrc) == swap_test(first, second, augrc)
    assert swap_test(second, first, augrc) == pytest.approx(swap_test(first, second, augrc), rel=1e-9)


def test_small_chances_are_told_apart():
    rng = np.random.default_rng(3)
    first, second = model(rng, 2_000, accuracy=0.9), model(rng, 2_000, accuracy=0.5)
    assert swap_test(first, second, augrc) < 1e-6


def test_a_model_does_not_differ_from_itself_nor_nothing_from_nothing():
    first = model(np.random.default_rng(0), 50)
    assert swap_test(first, first, augrc) == 1
    empty = np.empty(0)
    assert swap_test((empty, empty), (empty, empty), augrc) == 1
