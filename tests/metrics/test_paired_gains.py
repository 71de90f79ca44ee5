"""Gains of other ways over the first: chances, intervals for all at once, and what could have been seen."""

import itertools

import numpy as np
import pytest
from scipy.stats import norm

from demur.metrics.paired_gains import Answers, gains, sign_flip_test

DRAW = np.random.default_rng(5)


def answers(right, losses=None):
    right = np.asarray(right, bool)
    return Answers.of(right, np.where(right, 0.1, 3.0) if losses is None else losses)


def ways_of(rows, up, down, base=0.6):
    """A first way right on a share, and another that mends `up` of its errors and spoils `down` right answers."""
    first = np.arange(rows) < base * rows
    other = first.copy()
    other[rows - up :] = True
    other[:down] = False
    return answers(first), answers(other)


def every_sign(sums):
    """The chance by going through all signs."""
    flips = np.array(list(itertools.product((-1, 1), repeat=len(sums))))
    return float(np.mean(np.abs(flips @ sums) >= abs(sums.sum()) - 1e-9))


@pytest.mark.parametrize("shift", [0.0, 0.4, 1.0])
def test_the_chance_is_that_of_all_signs_of_the_units(shift):
    found = DRAW.normal(shift, 1, 12)
    groups = np.array(list("aabbbcddefff"), object)
    by_group = np.array([found[groups == name].sum() for name in "abcdef"])
    assert sign_flip_test([found])[0] == pytest.approx(every_sign(found), abs=0.015)
    assert sign_flip_test([found], groups)[0] == pytest.approx(every_sign(by_group), abs=0.015)


def test_ways_of_fewer_images_are_tested_by_their_own():
    long, short = DRAW.normal(0.5, 1, 14), DRAW.normal(0.5, 1, 7)
    assert sign_flip_test([long, short])[1] == pytest.approx(every_sign(short), abs=0.015)


@pytest.mark.parametrize(
    ("up", "down", "outcome"),
    [(60, 0, "fault"), (26, 8, "likely fault"), (9, 0, "better"), (0, 0, "no better"), (0, 60, "no better")],
)
def test_a_gain_is_called_by_its_size_and_its_bound(up, down, outcome):
    first, other = ways_of(200, up, down)
    (found,) = gains(first, [other])
    assert found.outcome == outcome
    assert found.accuracy.value == pytest.approx((up - down) / 200)


def test_more_ways_make_wider_intervals_and_larger_chances():
    first, other = ways_of(200, 22, 6)
    (alone,), among = gains(first, [other]), gains(first, [other, *[first] * 19])[0]
    assert alone.outcome == "likely fault"
    assert among.accuracy.low < alone.accuracy.low
    assert among.p_value > 10 * alone.p_value
    assert among.detectable > alone.detectable


def test_groups_that_answer_alike_are_worth_one_image_each():
    first, other = ways_of(200, 60, 0)
    groups = np.array([f"g{k // 20}" for k in range(200)], object)
    (by_image,), (by_group,) = gains(first, [other]), gains(first, [other], groups)
    assert (by_image.outcome, by_group.outcome) == ("fault", "no better")
    assert by_group.accuracy.unit == by_group.loss.unit == "group"
    assert by_group.detectable > by_image.detectable


def test_a_way_is_compared_on_the_images_it_has():
    first, other = ways_of(200, 60, 0)
    part = Answers(other.right[:100], other.losses[:100])
    (found,) = gains(first, [part])
    assert (found.accuracy.value, found.accuracy.n) == (0, 100)


@pytest.mark.parametrize(("rows", "differing"), [(200, 0.12), (200, 0.0), (1000, 0.04)])
def test_what_is_detectable_is_told_from_none_four_times_in_five(rows, differing):
    """Of a gain as large as is said, beside images that differ either way, by Bonett and Price's interval of twenty."""
    calm = answers(np.arange(rows) < 0.5 * rows)
    moved, half = calm.right.copy(), round(differing * rows / 2)
    moved[:half], moved[rows - half :] = False, True
    gain = gains(calm, [answers(moved), *[calm] * 19])[0].detectable
    up = (max(differing, gain) + gain) / 2
    counts = DRAW.multinomial(rows, [up, up - gain, 1 - 2 * up + gain], 4000)
    better, worse = (counts[:, :2].T + 1) / (rows + 2)
    half_width = norm.ppf(1 - 0.025 / 20) * np.sqrt((better + worse - (better - worse) ** 2) / (rows + 2))
    assert np.mean(better - worse > half_width) == pytest.approx(0.8, abs=0.12)


def test_ways_that_gain_nothing_are_hardly_ever_called_faults():
    named = 0
    for _ in range(30):
        right = DRAW.uniform(size=120) < 0.8
        others = [np.where(DRAW.uniform(size=120) < 0.15, DRAW.uniform(size=120) < 0.8, right) for _ in range(20)]
        found = gains(answers(right), [answers(other) for other in others])
        named += any(gain.outcome in {"fault", "likely fault"} for gain in found)
    assert named <= 2


def test_without_ways_there_are_no_gains():
    assert gains(answers([True, False]), []) == []
