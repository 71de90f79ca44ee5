"""Bets on units: wealth as a loop would count it, a bound that is where wealth says, the level kept."""

import math

import numpy as np
import pytest

from demur.errors import InputError
from demur.policies import Calibration, ThresholdGrid, Tolerance
from demur.policies.betting import FRACTIONS, Stakes
from demur.policies.fixed_sequence import ACCEPT_ALL
from demur.policies.group_means import bet_starts, betting_applies, climb_by_betting, stakes


def drawn(rng, sizes, weights=False):
    """Rows of groups of these sizes, some of them wrong."""
    groups = np.repeat(np.arange(len(sizes)), sizes)
    scores = rng.random(len(groups))
    weight = rng.random(len(groups)) if weights else None
    return Calibration(scores, rng.random(len(groups)) < 0.3 * scores, groups.astype(str), weights=weight)


def slow_wealth(rows, threshold, risk, largest=None):
    """One bet, one group, one row after the other."""
    wealth = []
    for c in FRACTIONS:
        product = 1.0
        for group in sorted(set(rows.groups)):
            inside = rows.groups == group
            share = 1 / inside.sum() if largest is None else 1 / largest
            payoff = 0.0
            for row in np.flatnonzero(inside):
                if rows.scores[row] <= threshold:
                    weight = 1.0 if rows.weights is None else rows.weights[row]
                    payoff += share * weight * (risk - rows.wrong[row])
            product *= 1 + c / (1 - risk) * payoff
        wealth.append(product)
    return np.mean(wealth)


@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("largest", [None, 9])
def test_wealth_is_that_of_an_obvious_loop(weights, largest):
    rng = np.random.default_rng(3)
    rows = drawn(rng, rng.integers(1, 10, 30), weights=weights)
    thresholds = np.array([0.1, 0.3, 0.31, 0.7, 0.9, ACCEPT_ALL])
    found = np.exp(stakes(rows, largest).log_e_values(thresholds, 0.2))
    assert found == pytest.approx([slow_wealth(rows, threshold, 0.2, largest) for threshold in thresholds])


def test_the_order_of_rows_does_not_matter():
    rng = np.random.default_rng(0)
    rows = drawn(rng, [3, 4, 5] * 5)
    mixed = rows.rows(rng.permutation(len(rows)))
    thresholds = np.linspace(0.1, 1, 9)
    assert stakes(mixed).log_e_values(thresholds, 0.1) == pytest.approx(stakes(rows).log_e_values(thresholds, 0.1))


def test_a_unit_that_is_wrong_throughout_ruins_the_largest_bet_alone():
    rows = Stakes(np.array([0.1, 0.2]), np.array([True, False]), np.arange(2), np.ones(2), 2)
    found = np.exp(rows.log_e_values(np.array([0.05, 0.15, 0.25]), 0.1))
    kept = [c for c in FRACTIONS if c < 1]
    assert found[0] == pytest.approx(1)
    assert found[1] == pytest.approx(sum(1 - c for c in kept) / 3)
    assert found[2] == pytest.approx(sum((1 - c) * (1 + c * 0.1 / 0.9) for c in kept) / 3)


def test_a_right_row_undoes_the_ruin_of_its_unit():
    both = Stakes(np.array([0.1, 0.2]), np.array([True, False]), np.zeros(2, int), np.array([1.0, 1.0]) / 1, 1)
    found = np.exp(both.log_e_values(np.array([0.1, 0.2]), 0.1))
    assert found[1] == pytest.approx(np.mean([1 + c * (0.1 - 0.9) / 0.9 for c in FRACTIONS]))


def test_the_bound_is_where_wealth_reaches_its_mark():
    rng = np.random.default_rng(1)
    rows = drawn(rng, rng.integers(1, 8, 60))
    staked = stakes(rows)
    for threshold in (0.3, 0.6, ACCEPT_ALL):
        bound = staked.bound(threshold, 0.05)
        assert slow_wealth(rows, threshold, bound * 1.001) > 20 > slow_wealth(rows, threshold, bound * 0.999)
    assert staked.bound(-1.0, 0.05) == 1.0


def test_no_bound_lies_below_what_a_faultless_sample_can_prove():
    for count in (20, 100, 300):
        rows = Stakes(np.zeros(count), np.zeros(count, bool), np.arange(count), np.ones(count), count)
        assert 1 - 0.05 ** (1 / count) <= rows.bound(0.5, 0.05) <= 1.4 * (1 - 0.05 ** (1 / count))


def test_rows_within_their_tolerance_count_against_the_guarantee():
    wide = Tolerance(widths=(0.1,))
    rows = Calibration(np.array([0.45, 0.45, 0.55, 0.55]), np.array([False, True, False, True]), tolerance=wide)
    answered, lost = stakes(rows).sums(0.5)
    assert answered.tolist() == [0, 1, 0, 1]
    assert lost.tolist() == [0, 1, 0, 1]


def test_wealth_grows_with_the_risk_it_is_tested_against():
    rng = np.random.default_rng(2)
    staked = stakes(drawn(rng, rng.integers(1, 8, 60)))
    wealth = [staked.log_e_values(np.array([0.5]), risk)[0] for risk in np.linspace(0.01, 0.9, 40)]
    assert (np.diff(wealth) >= 0).all()


@pytest.mark.parametrize(("risk", "fewest"), [(0.1, 134), (0.05, 272), (0.02, 684)])
def test_groups_are_bet_on_where_they_are_many_and_large(risk, fewest):
    def of(groups, size):
        return Calibration(np.zeros(groups * size), np.zeros(groups * size, bool), np.repeat(np.arange(groups), size))

    assert betting_applies(of(fewest, 3), risk, 0.05)
    assert not betting_applies(of(fewest - 1, 3), risk, 0.05)
    assert not betting_applies(of(fewest, 2), risk, 0.05)
    assert not betting_applies(Calibration(np.zeros(5000), np.zeros(5000, bool)), risk, 0.05)


@pytest.mark.parametrize(
    ("size", "expected"),
    [(100, [(1.0, 0.05)]), (200, [(126.7 / 200, 0.05)]), (600, [(200 / 600, 0.05)]),
     (1000, [(271.5 / 1000, 0.05)]), (3000, [(271.5 / 3000, 0.025), (814.5 / 3000, 0.025)])],
)  # fmt: skip
def test_where_bets_begin_follows_from_sizes_alone(size, expected):
    found = [(start.coverage, start.level) for start in bet_starts(size, 0.05, 0.05)]
    assert found == [(pytest.approx(coverage), level) for coverage, level in expected]


def test_a_group_larger_than_was_said_beforehand_is_refused():
    rows = Calibration(np.zeros(7), np.zeros(7, bool), np.array(["a"] * 3 + ["b"] * 4))
    assert stakes(rows, 4).size == pytest.approx(7 / 4)
    with pytest.raises(InputError, match="is 3, and the group 'b' has 4 images"):
        stakes(rows, 3)


def test_weights_outside_their_bound_are_refused():
    with pytest.raises(InputError, match=r"weights are shares .* got 0.5 to 1.5"):
        Calibration(np.zeros(2), np.zeros(2, bool), weights=np.array([0.5, 1.5]))


def on_the_edge(rng, groups, risk):
    """Groups of many sizes, of which the larger are worse, and every threshold is a little too risky."""
    sizes = rng.geometric(0.2, groups)
    units = np.repeat(np.arange(groups), sizes)
    effect = np.minimum(1, rng.gamma(1.0, 1.0, groups))  # its mean is 1 − 1/e
    return Calibration(
        rng.random(len(units)), rng.random(len(units)) < 1.02 * risk / (1 - math.exp(-1)) * effect[units], units
    )


def test_a_risk_on_the_edge_is_passed_no_more_often_than_the_level_says():
    rng, risk = np.random.default_rng(0), 0.1
    passed = [
        climb_by_betting(on_the_edge(rng, 100, risk), on_the_edge(rng, 250, risk), risk, 0.1).threshold is not None
        for _ in range(400)
    ]
    assert 0 < np.mean(passed) <= 0.1 + 3 * math.sqrt(0.1 * 0.9 / 400)


def slow_climb(tune, certify, risk, level):
    """Every threshold of every sequence, one after the other, until one fails."""
    grid, best, tests = ThresholdGrid.of(tune.scores), None, 0
    for start in bet_starts(stakes(certify).size, risk, level):
        for threshold in sorted({*grid.near(np.arange(start.coverage, 1, 0.005)), ACCEPT_ALL}):
            tests += 1
            if slow_wealth(certify, threshold, risk) < 1 / start.level:
                break
            best = threshold if best is None else max(best, threshold)
    return best, tests


def test_a_climb_is_that_of_an_obvious_loop():
    """At a high level, where thresholds pass again behind the first one that fails."""
    rng, ends = np.random.default_rng(0), set()
    for _ in range(12):
        tune, certify = drawn(rng, [4] * 10), drawn(rng, rng.integers(2, 6, 14))
        found = climb_by_betting(tune, certify, 0.2, 0.6)
        assert (found.threshold, found.tests) == slow_climb(tune, certify, 0.2, 0.6)
        ends.add(found.threshold)
    assert len(ends - {None, ACCEPT_ALL}) > 1


def test_a_climb_stops_at_the_first_failure():
    """Pure up to .5, then wrong throughout, then pure again: what lies behind the failure is not reached."""
    scores = np.arange(3000) / 3000
    rows = Calibration(scores, (scores > 0.5) & (scores < 0.6), np.arange(3000) // 5)
    found = climb_by_betting(rows, rows, 0.05, 0.05)
    assert 0.5 <= found.threshold < 0.6
    assert found.tests < found.grid
