"""Looks at the same labels share one δ, and nine tenths of each is for the risk."""

import math

import numpy as np
import pytest

from demur.errors import InputError
from demur.policies import Look


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
