"""The time left is told once most of it is known, and then by what shards of the kind have taken."""

import math
from types import SimpleNamespace

import numpy as np
import pytest

from demur.pipeline.job import Shard
from demur.pipeline.run.forecast import Forecast

STEPS = SimpleNamespace(steps=50, restarts=1)


def shard(name, kind="corruption", attack=None, keep="first", rows=100):
    condition = SimpleNamespace(name=name, kind=kind, attack=attack, map=None, keep=keep)
    return Shard("c", condition, np.arange(rows))


CLEAN, NOISE, BLUR = shard("clean", "clean"), shard("noise"), shard("blur")
PGD = shard("pgd", "attack", STEPS)


def test_nothing_is_said_before_anything_was_measured():
    assert Forecast().left([NOISE]) == math.inf


def test_nothing_is_said_while_most_of_it_is_a_guess():
    forecast = Forecast()
    forecast.note(CLEAN, 1.0)
    assert forecast.left([NOISE, PGD]) == math.inf


def test_conditions_are_like_others_of_their_kind():
    forecast = Forecast()
    forecast.note(CLEAN, 1.0)
    forecast.note(NOISE, 3.0)
    assert forecast.left([BLUR, BLUR]) == pytest.approx(6.0)
    assert forecast.left([BLUR, BLUR], processes=2) == pytest.approx(3.0)


def test_an_attack_is_like_itself_and_like_no_other():
    forecast = Forecast()
    forecast.note(PGD, 20.0)
    assert forecast.left([PGD, shard("pgd", "attack", STEPS, rows=50)]) == pytest.approx(30.0)
    assert forecast.left([shard("fmn", "attack", STEPS)]) == math.inf


def test_what_attacks_take_is_guessed_below_what_they_may_take():
    forecast = Forecast()
    forecast.note(CLEAN, 1.0)
    whole = forecast.seconds([shard("pgd", "attack", STEPS, keep="worst")])
    assert whole == pytest.approx(101.0)
    assert forecast.seconds([PGD]) == pytest.approx(0.3 * whole)
