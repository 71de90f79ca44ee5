"""What a benchmark says of a model and its signals."""

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch
from tests import tiny

from demur.errors import InputError
from demur.pipeline.bench import latency
from demur.pipeline.bench.latency import Pace, latencies
from demur.pipeline.bench.peak_memory import peak_memory
from demur.pipeline.bench.subjects import Bench, Subject, bench_of
from demur.randomness import Keys
from demur.signals import Needs

ROWS = 8
MIB = 1 << 20


class Clock:
    """Time that passes only where it is told to."""

    def __init__(self):
        self.now = 100.0

    def perf_counter(self):
        return self.now


@dataclass(frozen=True, kw_only=True)
class Slow:
    """A signal that takes as long as it is told to."""

    unit: ClassVar[str] = "none"
    seconds: float
    clock: Clock

    @property
    def needs(self):
        return Needs(passes=1.0)

    def __call__(self, evidence):
        self.clock.now += self.seconds
        return torch.zeros(len(evidence), dtype=torch.float64)


class Steady:
    """A model that takes as long as it is told to, and notes what it is asked about."""

    def __init__(self, clock, seconds=0.0):
        self._own, self._clock, self._seconds, self.asked = tiny.classifier(), clock, seconds, []
        self.device, self.input_shape = self._own.device, self._own.input_shape

    def logits(self, images):
        self.asked.append(images)
        self._clock.now += self._seconds
        return self._own.logits(images)


def bench(model, *signals):
    return Bench(
        alone=Subject(name="model", classifier=model),
        signals=tuple(
            Subject(name=f"slow{at}", classifier=model, signal=signal, needs=signal.needs)
            for at, signal in enumerate(signals)
        ),
        left_out=(),
        images=torch.rand(ROWS, *tiny.SHAPE),
        keys=Keys.of(0, [str(row) for row in range(ROWS)], "bench"),
        origin="made up",
    )


def silent(_what):
    pass


@pytest.fixture
def clock(monkeypatch):
    """The clock of the benchmark."""
    found = Clock()
    monkeypatch.setattr(latency, "time", found)
    return found


def test_what_a_signal_adds_is_told_of_the_model_alone(clock):
    """5 ms on top of 10 ms are 50 %, and 25 ms a turn make 41 turns in a second."""
    found, failed = latencies(bench(Steady(clock, 0.010), Slow(seconds=0.005, clock=clock)), (1, 4), Pace(1.01), silent)
    assert not failed
    assert [(row.name, row.batch) for row in found] == [("model", 1), ("slow0", 1), ("model", 4), ("slow0", 4)]
    alone, slow = found[2:]
    assert alone.p50.value == pytest.approx(0.010)
    assert (slow.p50.value, slow.p95.value, slow.p99.value) == pytest.approx((0.015,) * 3)
    assert (slow.overhead.value, slow.overhead.low, slow.overhead.high) == pytest.approx((0.5,) * 3)
    assert alone.overhead.reason == "this is the model alone"
    assert slow.throughput == pytest.approx(4 / 0.015)
    assert (slow.asks, alone.asks, slow.warm_up, slow.passes) == (41, 41, 3, 1.0)
    assert slow.p99.reason.startswith("no 95 % interval from 41 asks, only from ")


def test_drift_meets_the_model_and_its_signal_alike(clock):
    """A machine that gets 1 % slower with every ask shows the same overhead as one that does not."""

    class Tiring(Steady):
        def logits(self, images):
            self._seconds *= 1.01
            return super().logits(images)

    found, _ = latencies(bench(Tiring(clock, 0.010), Slow(seconds=0.0, clock=clock)), (1,), Pace(3), silent)
    assert found[1].overhead.low < 0 < found[1].overhead.high
    assert abs(found[1].overhead.value) < 0.011


def test_quantiles_are_those_of_the_asks(clock):
    class Uneven(Steady):
        def logits(self, images):
            self._seconds = 0.002 if len(self.asked) % 10 else 0.1
            return super().logits(images)

    found, _ = latencies(bench(Uneven(clock)), (1,), Pace(1), silent)
    assert (found[0].p50.value, found[0].p95.value) == pytest.approx((0.002, 0.1))


def test_the_model_and_its_signal_take_turns_on_the_same_images(clock):
    model = Steady(clock, 0.001)
    latencies(bench(model, Slow(seconds=0.001, clock=clock)), (2,), Pace(0.05), silent)
    first = model.asked[: 2 * (ROWS // 2)]
    assert all(torch.equal(one, other) for one, other in zip(first[::2], first[1::2], strict=True))
    assert len({float(images.sum()) for images in first}) == ROWS // 2, "each turn has other images"


def test_one_ask_is_enough_however_long_it_takes(clock):
    found, _ = latencies(bench(Steady(clock, 50), Slow(seconds=100, clock=clock)), (1,), Pace(1), silent)
    assert [(row.asks, row.warm_up) for row in found] == [(1, 1), (1, 1)]
    assert found[1].p50.reason == "no 95 % interval from 1 ask, only from 6"


def test_no_time_at_all_is_enough_for_one_ask():
    found, _ = latencies(bench(tiny.classifier()), (1,), Pace(1e-12), silent)
    assert [row.asks for row in found] == [1]


def test_a_signal_that_fails_at_one_size_is_left_out_with_its_reason(clock):
    class Refusing(Slow):
        def __call__(self, evidence):
            if len(evidence) > 1:
                raise InputError("too many")
            self.clock.now += 1
            return torch.zeros(1)

    own = Steady(clock, 0.01)
    signals = (Refusing(seconds=0, clock=clock), Slow(seconds=0, clock=clock))
    found, failed = latencies(bench(own, *signals), (1, 2), Pace(0.1), silent)
    assert [(each.signal, each.reason) for each in failed] == [("slow0", "too many")]
    assert [(row.name, row.batch) for row in found] == [
        ("model", 1), ("slow0", 1), ("slow1", 1), ("model", 2), ("slow1", 2)
    ]  # fmt: skip


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_a_time_must_be_one(seconds):
    with pytest.raises(InputError, match="more than 0"):
        Pace(seconds)


def test_the_most_that_was_held_is_told_although_it_was_given_back():
    held = []

    def work(size):
        torch.ones(size * MIB // 4).sum()
        held.append(size)

    device = torch.device("cpu")
    peak, beyond = peak_memory(device, lambda: work(200))
    after, little = peak_memory(device, lambda: work(1))
    assert 190 * MIB < beyond < 260 * MIB
    assert little < 60 * MIB, "an earlier peak is no part of a later one"
    assert after < peak
    assert held == [200, 1]


def test_without_data_what_must_be_fitted_is_left_out():
    found = bench_of("fashion", None, (), silent)
    names = {each.name for each in found.signals}
    reasons = {each.signal: each.reason for each in found.left_out}
    assert {"msp", "entropy", "odin"} <= names
    assert reasons["knn"] == "it must be fitted to labelled images, and none were named: demur bench MODEL DATA."
    assert "dropout" in reasons["mc_dropout"]
    assert names.isdisjoint(reasons)
    assert found.images.shape == (256, 1, 28, 28)
    assert 0.4 < float(found.images.mean()) < 0.6


def test_batches_go_round_the_images():
    whole = bench(Steady(Clock()))
    shorter = replace(whole, images=whole.images[:3], keys=whole.keys.rows([0, 1, 2]))
    x, keys = shorter.batch(1, 4)
    assert torch.equal(x, shorter.images[[1, 2, 0, 1]])
    assert keys.values[0] == shorter.keys.values[1]
