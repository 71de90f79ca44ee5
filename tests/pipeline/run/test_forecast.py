"""The time left is told once most of it is known, and then by what shards of the kind have taken."""

import math
import random
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest

from demur.pipeline.job import Shard
from demur.pipeline.run.forecast import EARLY, Forecast

STEPS = SimpleNamespace(steps=50, restarts=1)


def shard(name, kind="corruption", attack=None, keep="first", rows=100):
    condition = SimpleNamespace(name=name, kind=kind, attack=attack, map=None, keep=keep)
    return Shard("c", condition, np.arange(rows))


CLEAN, NOISE, BLUR = shard("clean", "clean"), shard("noise"), shard("blur")
PGD = shard("pgd", "attack", STEPS)


def after(measured, *left):
    """A forecast of these shards where others were measured, in so many seconds each."""
    forecast = Forecast([*left, *(task for task, _ in measured)])
    for task, seconds in measured:
        forecast.note(task, seconds)
    return forecast


def test_nothing_is_said_before_anything_was_measured():
    assert after([], NOISE).left() == math.inf
    assert after([], NOISE).seconds() == 0
    assert Forecast().left() == math.inf


def test_nothing_is_said_while_most_of_it_is_a_guess():
    assert after([(CLEAN, 1.0)], NOISE, PGD).left() == math.inf


def test_conditions_are_like_others_of_their_kind():
    forecast = after([(CLEAN, 1.0), (NOISE, 3.0)], BLUR, BLUR)
    assert forecast.left() == pytest.approx(6.0)
    assert forecast.left(processes=2) == pytest.approx(3.0)


def test_an_attack_is_like_itself_and_like_no_other():
    forecast = after([(PGD, 20.0)], PGD, shard("pgd", "attack", STEPS, rows=50))
    assert forecast.left() == pytest.approx(30.0)
    assert after([(PGD, 20.0)], shard("fmn", "attack", STEPS)).left() == math.inf


def test_what_attacks_take_is_guessed_below_what_they_may_take():
    whole = after([(CLEAN, 1.0)], shard("pgd", "attack", STEPS, keep="worst")).seconds()
    assert whole == pytest.approx(101.0)
    assert after([(CLEAN, 1.0)], PGD).seconds() == pytest.approx(0.3 * whole)


class EveryShard:
    """The same by its definition: all that was measured and all that is left, gone through each time."""

    def __init__(self, tasks):
        self.waiting, self.measured = list(tasks), []

    def note(self, task, seconds):
        self.waiting = [each for each in self.waiting if each is not task]
        self.measured.append((task, seconds))

    def pace(self, alike):
        own = [(task.cost, seconds) for task, seconds in self.measured if alike(task.condition)]
        return sum(seconds for _, seconds in own) / sum(cost for cost, _ in own) if own else None

    def of(self, task):
        here, steps = task.condition, task.condition.attack is not None
        own = self.pace(lambda each: each.name == here.name)
        if own is None and not steps:
            own = self.pace(lambda each: each.kind == here.kind)
        if own is not None:
            return task.cost * own, True
        share = EARLY if steps and here.keep != "worst" else 1
        return task.cost * share * (self.pace(lambda _: True) or 0.0), False

    def left(self, processes):
        found = [self.of(task) for task in self.waiting]
        total, known = sum(seconds for seconds, _ in found), sum(seconds for seconds, own in found if own)
        return total / processes if known and known >= 0.5 * total else math.inf


@pytest.mark.parametrize("seed", range(5))
def test_it_is_what_all_shards_say(seed):
    rng = random.Random(seed)
    kinds = [("clean", None), ("corruption", None), ("attack", STEPS), ("map", None)]
    names = [
        (f"{kind} {at}", kind, attack, keep) for kind, attack in kinds for at, keep in ((0, "first"), (1, "worst"))
    ]
    tasks = [shard(*rng.choice(names), rows=rng.choice((512, 100, 7))) for _ in range(60)]
    forecast, slow = Forecast(tasks), EveryShard(tasks)
    finite = 0
    for task in rng.sample(tasks, len(tasks)):
        seconds = task.cost * rng.uniform(0.5, 2.0)
        forecast.note(task, seconds)
        slow.note(task, seconds)
        assert forecast.left(3) == pytest.approx(slow.left(3), rel=1e-9)
        assert forecast.seconds() == pytest.approx(sum(slow.of(each)[0] for each in slow.waiting), rel=1e-9)
        finite += math.isfinite(forecast.left())
    assert finite > 20


@pytest.mark.parametrize("shards", [10, 1000])
def test_each_call_goes_through_conditions_and_not_through_shards(shards, monkeypatch):
    calls, plain = Counter(), Forecast._seconds
    tasks = [each for each in (CLEAN, NOISE, BLUR, PGD) for _ in range(shards)]
    forecast = Forecast(tasks)
    monkeypatch.setattr(Forecast, "_seconds", lambda *given: calls.update(["one"]) or plain(*given))
    monkeypatch.setattr(Shard, "cost", property(lambda _: calls.update(["one"]) or 100))
    for at, task in enumerate(tasks[:8], 1):
        forecast.note(task, 1.0)
        forecast.left(2)
        assert calls["one"] <= 10 * at
