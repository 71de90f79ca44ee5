"""The choice of a signal."""

import numpy as np
import pytest

from demur.errors import UnknownNameError
from demur.policies import choose_signal


def rows(errors=200, n=1000, seed=0):
    rng = np.random.default_rng(seed)
    wrong = np.arange(n) < errors
    noise = rng.normal(size=(3, n))
    return wrong, noise


def test_a_clearly_better_signal_is_chosen():
    wrong, noise = rows()
    scores = {"msp": noise[0] + wrong, "energy": noise[1] + 2 * wrong, "margin": noise[2] + 3 * wrong}
    assert choose_signal(scores, wrong) == "margin"
    assert choose_signal(scores, wrong, baseline="energy") == "margin"
    assert choose_signal(scores, wrong, baseline="margin") == "margin"


def test_a_better_signal_within_the_noise_is_not():
    wrong, noise = rows()
    scores = {"msp": noise[0] + wrong, "energy": noise[0] + wrong + 1e-3 * noise[1]}
    assert choose_signal(scores, wrong) == "msp"


def test_equal_signals_go_by_name():
    wrong, noise = rows()
    better = noise[1] + 3 * wrong
    assert choose_signal({"msp": noise[0], "b": better, "a": 2 * better}, wrong) == "a"


def test_few_errors_rank_nothing():
    wrong, noise = rows(errors=29)
    scores = {"msp": noise[0], "energy": noise[1] + 9 * wrong}
    assert choose_signal(scores, wrong) == "msp"
    wrong[29] = True
    assert choose_signal({**scores, "energy": noise[1] + 9 * wrong}, wrong) == "energy"


def test_a_gain_that_some_groups_carry_and_others_deny_is_no_gain():
    wrong, noise = rows()
    groups = np.arange(1000) % 5
    shift = np.where(groups < 3, 2.0, -0.6)
    scores = {"msp": noise[0] + wrong, "energy": noise[0] + wrong * (1 + shift)}
    assert choose_signal(scores, wrong) == "energy"
    assert choose_signal(scores, wrong, groups) == "msp"


def test_the_baseline_must_be_there():
    with pytest.raises(UnknownNameError, match="unknown signal 'msp'"):
        choose_signal({"energy": np.zeros(3)}, np.zeros(3, bool))
