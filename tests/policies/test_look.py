"""Looks at the same labels share one δ, and nine tenths of each is for the risk."""

import math

import numpy as np
import pytest

from demur.errors import InputError
from demur.policies import Calibration, Look, ThresholdGrid
from demur.policies.fixed_sequence import fixed_sequence, lay_out


@pytest.mark.parametrize("delta", [0.01, 0.05, 0.2])
def test_all_looks_together_spend_delta(delta):
    spent = [Look(number).spent(delta) for number in range(1, 20_001)]
    rest = 0.1 * delta * 6 / math.pi**2 / 20_000
    assert sum(spent) < delta
    assert sum(spent) == pytest.approx(delta - rest, abs=rest / 100)


def test_the_levels_of_the_first_looks():
    assert [Look(k).spent(0.05) for k in (1, 2, 3, 11)] == pytest.approx(
        [0.045, 0.005 * 6 / math.pi**2, 0.005 * 6 / math.pi**2 / 4, 0.005 * 6 / math.pi**2 / 100]
    )
    for look in (Look(1), Look(2), Look(40)):
        assert look.risk_level(0.05) == pytest.approx(0.9 * look.spent(0.05))
        assert look.coverage_level(0.05) == pytest.approx(0.1 * look.spent(0.05))
    assert Look(3, "runs").next == Look(4, "runs")


@pytest.mark.parametrize("number", [0, -1, 1.5, True, "1", None])
def test_what_numbers_no_look_is_refused(number):
    with pytest.raises(InputError, match="numbered from 1"):
        Look(number)


def test_where_it_was_counted_is_one_of_five_places():
    with pytest.raises(InputError, match="runs, folder, ledger, caller, nowhere; got 'here'"):
        Look(1, "here")


def test_later_levels_are_ever_smaller():
    assert (np.diff([Look(k).spent(0.05) for k in range(1, 100)]) < 0).all()


def test_repeated_looks_together_break_a_guarantee_as_seldom_as_it_says():
    """Every threshold has a risk just above the one asked for, so whatever is issued is wrong; labels are added."""
    rng, delta, issued = np.random.default_rng(0), 0.3, {"with": 0, "without": 0}
    spending = {"with": lambda look: look.risk_level(delta), "without": lambda _: delta}
    for _ in range(150):
        scores, wrong = rng.random(2000), rng.random(2000) < 0.0505
        grid = ThresholdGrid.of(rng.random(300))
        for name, level in spending.items():
            issued[name] += any(
                fixed_sequence(sequence, Calibration(scores[:m], wrong[:m]), 0.05)[0] is not None
                for number, m in enumerate(range(200, 2001, 200), start=1)
                for sequence in lay_out(grid, m, 0.05, level(Look(number)))
            )
    assert issued["with"] <= 150 * delta
    assert issued["without"] > 1.5 * 150 * delta
