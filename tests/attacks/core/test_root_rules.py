"""Root rules against SciPy's on assorted functions, rows at once."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from scipy.optimize import bisect, brentq

from demur.attacks.core.line_search import ROOTS, Bracket, bisection, chandrupatla, itp

FUNCTIONS = {
    "line": lambda t: 3 * t - 1,
    "cubic": lambda t: t**3 - 0.1,
    "flat then steep": lambda t: t**9 - 1e-4,
    "steep then flat": lambda t: torch.tanh(40 * (t - 0.07)),
    "exponential": lambda t: torch.exp(5 * t) - 3,
    "root": lambda t: t.sqrt() - 0.6,
    "kink": lambda t: torch.where(t < 0.7, 0.01 * (t - 0.7), 50 * (t - 0.7)),
    "jump": lambda t: torch.where(t < 0.3, -1.0, 1.0).to(t),
    "triple root": lambda t: (t - 0.4) ** 3,
}
STEADY = ("line", "cubic", "steep then flat", "exponential", "root")


def narrowed(rule, functions, tolerance, *, dtype=torch.float64, blind=False):
    """The last bracket of each function in [0, 1], and how many looks it took; the signs are checked on the way."""
    rows = len(functions)

    def values(t):
        return torch.stack([f(each) for f, each in zip(functions, t, strict=True)])

    low, high = torch.zeros(rows, dtype=dtype), torch.ones(rows, dtype=dtype)
    bracket = Bracket.between(low, high, values(low), values(high))
    for _ in range(200):
        going = (bracket.high - bracket.low > tolerance).nonzero().squeeze(1)
        if not len(going):
            return bracket
        t = rule(bracket, tolerance)
        assert torch.all(bracket.holds(t)[going])
        seen = values(t)
        told = torch.full_like(seen, torch.nan) if blind else seen
        after = bracket.narrowed(t, told, seen > 0)
        bracket.put(going, after.rows(going))
        assert torch.all(values(bracket.low) <= 0)
        assert torch.all(values(bracket.high) > 0)
    raise AssertionError("never narrow enough")


@pytest.mark.parametrize("tolerance", [1e-2, 1e-5, 1e-9])
@pytest.mark.parametrize("rule", ROOTS.values(), ids=ROOTS)
def test_a_rule_closes_on_the_root_that_scipy_finds(rule, tolerance):
    bracket = narrowed(rule, FUNCTIONS.values(), tolerance)
    for row, (name, f) in enumerate(FUNCTIONS.items()):
        solve = brentq if name in STEADY else bisect
        exact = solve(lambda t, f=f: float(f(torch.tensor(t, dtype=torch.float64))), 0, 1, xtol=1e-14)
        assert bracket.low[row] - 1e-12 <= exact <= bracket.high[row] + 1e-12
        assert bracket.high[row] - bracket.low[row] <= tolerance


@pytest.mark.parametrize("blind", [False, True])
@pytest.mark.parametrize(("rule", "most"), [(bisection, 0), (itp, 1), (chandrupatla, 17)], ids=["b", "itp", "c"])
def test_no_function_takes_more_looks_than_the_rule_guarantees(rule, most, blind):
    looks = narrowed(rule, FUNCTIONS.values(), 1e-5, blind=blind).evaluations
    assert torch.all(looks <= math.ceil(math.log2(1e5)) + most)
    if rule is bisection:
        assert torch.all(looks == 17)
    if blind:
        assert torch.all(looks <= 18)


@pytest.mark.parametrize(("rule", "looks"), [(itp, 9), (chandrupatla, 7)], ids=["itp", "chandrupatla"])
def test_smooth_functions_take_few_looks_though_they_are_met_from_one_side(rule, looks):
    steady = [FUNCTIONS[name] for name in STEADY]
    mirrored = [lambda t, f=f: -f(1 - t) for f in steady]
    assert narrowed(rule, steady, 1e-5).evaluations.double().mean() <= looks
    assert narrowed(rule, mirrored, 1e-5).evaluations.double().mean() <= looks


def test_rows_do_not_know_of_each_other():
    together = narrowed(chandrupatla, list(FUNCTIONS.values()), 1e-6)
    for row, f in enumerate(FUNCTIONS.values()):
        alone = narrowed(chandrupatla, [f], 1e-6)
        assert (alone.low[0], alone.high[0], alone.evaluations[0]) == (
            together.low[row],
            together.high[row],
            together.evaluations[row],
        )


def test_three_points_of_a_parabola_on_its_side_give_its_root():
    """v = 4√t − 3, which is 0 at 9/16."""
    points = {t: torch.tensor([t], dtype=torch.float64) for t in (0.0, 0.1, 0.4, 0.7, 1.0)}
    point = {t: (at, 4 * at.sqrt() - 3) for t, at in points.items()}
    scanned = Bracket.above(point[0.0][1])
    for t in (0.1, 0.4, 1.0):
        scanned = scanned.narrowed(*point[t], point[t][1] > 0)
    assert (float(scanned.last), float(scanned.low), float(scanned.high)) == (0.1, 0.4, 1.0)
    assert float(chandrupatla(scanned, 1e-12)) == pytest.approx(9 / 16, abs=1e-11)
    (low, low_value), (high, high_value) = point[0.1], point[1.0]
    above = Bracket.between(low, high, low_value, high_value).narrowed(*point[0.7], point[0.7][1] > 0)
    assert (float(above.last), float(above.low), float(above.high)) == (1.0, 0.1, 0.7)
    assert float(chandrupatla(above, 1e-12)) == pytest.approx(9 / 16, abs=1e-11)


@pytest.mark.parametrize("before", [-21.0, -0.222], ids=["too steep", "too flat"])
def test_a_parabola_that_would_turn_inside_gives_way_to_the_middle(before):
    """x₃ = 0, x₁ = .8, x₂ = 1 with values −.1 and 1 at the ends: φ is .05 or .9, and ξ is .2."""
    start = Bracket.above(torch.tensor([-30.0]))
    for t, value in ((1e-6, before), (0.8, -0.1), (1.0, 1.0)):
        start = start.narrowed(torch.tensor([t]), torch.tensor([value]), torch.tensor([value > 0]))
    assert float(chandrupatla(start, 1e-5)) == pytest.approx(0.9)


def test_a_row_that_bisection_would_have_settled_is_bisected():
    ends = Bracket.between(*(torch.tensor([v]) for v in (0.0, 1.0, -1.0, 9.0)))
    late = dataclasses.replace(ends, evaluations=torch.tensor([17]))
    assert float(chandrupatla(ends, 1e-5)) == pytest.approx(0.1, abs=1e-4)
    assert float(chandrupatla(late, 1e-5)) == pytest.approx(0.5)


@pytest.mark.parametrize("rule", [itp, chandrupatla])
def test_a_value_that_contradicts_its_sign_is_not_believed(rule):
    start = Bracket.between(*(torch.tensor([v]) for v in (0.0, 1.0, -1.0, 3.0)))
    lied_to = start.narrowed(torch.tensor([0.25]), torch.tensor([5.0]), torch.tensor([False]))
    assert lied_to.low_value.isnan()
    assert float(rule(lied_to, 1e-5)) == pytest.approx(0.625)


def test_float32_has_an_end():
    near = np.nextafter(np.float32(0.5), np.float32(1))
    ends = Bracket.between(*(torch.tensor([v]) for v in (0.5, float(near), -1.0, 1.0)))
    assert not ends.holds(bisection(ends, 1e-12)).any()
