"""The conformal martingale of scores against slow ranks, uniform p-values, and what it does with a change."""

import numpy as np
import pytest
from scipy.stats import kstest

from demur.alarms.score_martingale import CODES, RankedBag, SimpleJumper, code_of, codes_of


def test_classes_keep_the_order_of_scores_and_do_not_depend_on_the_data():
    draw = np.random.default_rng(0)
    scores = np.sort(np.concatenate([draw.normal(size=500), draw.normal(size=500) * 1e-3, [0.0, -0.0, 1e300, -1e300]]))
    codes = codes_of(scores)
    assert (np.diff(codes) >= 0).all()
    assert len(np.unique(codes)) > 600
    assert codes_of(float("nan")) == CODES - 1 > codes_of(float("inf"))
    assert codes_of(scores[7:9]).tolist() == codes[7:9].tolist()
    for nothing in (-0.0, 1e-300, -1e-300):
        assert codes_of(nothing) == code_of(nothing) == codes_of(0.0) == code_of(0.0)


def test_ranks_are_those_of_a_slow_count():
    draw = np.random.default_rng(1)
    scores = draw.random(300).round(2)
    bag, seen = RankedBag.of(scores[:100]), scores[:100].tolist()
    for score in scores[100:]:
        dice = float(draw.random())
        found = bag.p_value(int(codes_of(score)), dice)
        seen.append(score)
        codes = codes_of(seen)
        above, alike = (codes > codes[-1]).sum(), (codes == codes[-1]).sum()
        assert found == pytest.approx((above + dice * alike) / len(seen))
    assert len(bag) == 300


def p_values(reference, stream, seed=0):
    draw, bag = np.random.default_rng(seed), RankedBag.of(reference)
    return np.array(
        [
            bag.p_value(int(code), float(dice))
            for code, dice in zip(codes_of(stream), draw.random(len(stream)), strict=True)
        ]
    )


def test_of_exchangeable_scores_p_values_are_uniform_and_independent_even_against_few():
    draw = np.random.default_rng(2)
    found = np.array([p_values(*np.split(draw.exponential(size=40), [5]), seed=run) for run in range(400)])
    assert kstest(found.ravel(), "uniform").pvalue > 1e-3
    assert found.mean(axis=1).var() == pytest.approx(1 / 12 / 35, rel=0.25), "no common part by the few references"


def jumped(ps):
    bets, values = {-1: 1 / 3, 0: 1 / 3, 1: 1 / 3}, []
    for p in ps:
        total = sum(bets.values())
        bets = {e: (0.99 * c + 0.01 * total / 3) * (1 + e * (p - 0.5)) for e, c in bets.items()}
        values.append(sum(bets.values()))
    return values


def test_the_jumper_is_what_its_paper_says_but_for_the_names_of_its_sides():
    ps, jumper, found = np.random.default_rng(3).random(200), SimpleJumper.start(), []
    for p in ps:
        jumper = jumper.after(float(p))
        found.append(jumper.total)
    np.testing.assert_allclose(found, jumped(ps), rtol=1e-12)


def highest(ps):
    jumper, found = SimpleJumper.start(), 1.0
    for p in ps:
        jumper = jumper.after(float(p))
        found = max(found, jumper.total)
    return found


def test_a_change_of_either_direction_is_seen_and_no_change_is_not():
    draw = np.random.default_rng(4)
    clean = draw.normal(size=500)
    for shift in (0.7, -0.7):
        assert highest(p_values(clean, np.concatenate([draw.normal(size=100), draw.normal(size=400) + shift]))) > 100
    quiet = [highest(p_values(draw.normal(size=100), draw.normal(size=200), seed=run)) for run in range(100)]
    assert np.mean(np.array(quiet) >= 10) <= 0.2


def test_the_class_of_one_score_is_that_of_it_among_others():
    draw = np.random.default_rng(3)
    odd = [0.0, -0.0, 1e-46, -1e-46, 1e300, -1e300, 3.4028235e38, 3.4028236e38, -3.5e38, np.inf, -np.inf, np.nan]
    scores = [*odd, *(draw.standard_cauchy(500) * 10.0 ** draw.integers(-40, 38, 500))]
    assert [code_of(float(score)) for score in scores] == codes_of(scores).tolist()
