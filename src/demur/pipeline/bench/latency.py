"""How long an answer takes: a model and the same model with a signal, asked in turn so that drift meets them alike."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from demur.errors import InputError
from demur.metrics import Estimate
from demur.metrics.quantiles import fewest, quantile
from demur.pipeline.bench.peak_memory import peak_memory
from demur.pipeline.bench.subjects import Bench, LeftOut, Subject

SHARES = (0.5, 0.95, 0.99)
_WARM = 3
_ASKED = 3


@dataclass(frozen=True, kw_only=True)
class Latency:
    """What one subject took for batches of one size; times in seconds a batch, memory in bytes.

    `p50`, `p95` and `p99` are quantiles of `asks` timed asks, `overhead` is the median of what a signal adds to the ask
    of the model alone beside it, as a share of that; undefined for the model itself. `throughput` is in images a
    second. `peak` is what was held at most, `beyond` what of it was not held before; None where nothing can tell.
    """

    name: str
    batch: int
    asks: int
    warm_up: int
    p50: Estimate
    p95: Estimate
    p99: Estimate
    throughput: float
    overhead: Estimate
    passes: float
    peak: int | None
    beyond: int | None


@dataclass(frozen=True, eq=False)
class Pace:
    """How long to ask: `seconds` for each signal and batch size; one ask at least, however long it takes."""

    seconds: float

    def __post_init__(self) -> None:
        if not (self.seconds > 0 and math.isfinite(self.seconds)):
            raise InputError(f"`seconds` must be more than 0; got {self.seconds:g}. Such as 2.")


def latencies(
    bench: Bench, batches: Sequence[int], pace: Pace, say: Callable[[str], None]
) -> tuple[tuple[Latency, ...], tuple[LeftOut, ...]]:
    """Every subject at every batch size, the model alone first, and the signals that failed at one of the sizes.

    Each signal is asked beside the model alone, now before it and now after, about the same images. The asks of the
    model alone are put together.
    """
    found, failed = list[Latency](), dict[str, LeftOut]()
    with torch.no_grad():
        for size in batches:
            alone, rows, warm = list[NDArray[np.float64]](), list[Latency](), 0
            for subject in bench.signals or (bench.alone,):
                say(f"timing {subject.name}, batch {size}")
                try:
                    times, warm = _turns(bench, subject, size, pace)
                    rows.append(_latency(bench, subject, size, times, warm))
                except InputError as error:
                    failed[subject.name] = LeftOut(signal=subject.name, reason=str(error))
                    continue
                alone.append(times[:, 0])
            if not alone:
                times, warm = _turns(bench, bench.alone, size, pace)
                alone.append(times[:, 0])
            asks = np.concatenate(alone)
            found.append(_latency(bench, bench.alone, size, np.stack([asks, asks], axis=1), warm))
            found += [row for row in rows if row.name != bench.alone.name]
    return tuple(found), tuple(failed.values())


def _turns(bench: Bench, subject: Subject, size: int, pace: Pace) -> tuple[NDArray[np.float64], int]:
    """Seconds (asks, 2) of the model alone and of the subject, and how many asks went before that were not timed."""
    begun, warm = time.perf_counter(), 0
    while warm < _WARM and (not warm or time.perf_counter() - begun < pace.seconds / 4):
        _pair(bench, subject, size, warm)
        warm += 1
    found, begun = list[tuple[float, float]](), time.perf_counter()
    while not found or time.perf_counter() - begun < pace.seconds:
        found.append(_pair(bench, subject, size, warm + len(found)))
    return np.array(found), warm


def _pair(bench: Bench, subject: Subject, size: int, turn: int) -> tuple[float, float]:
    """Seconds of the model alone and of the subject on the same images; who is first changes with the turn."""
    x, keys = bench.batch(turn, size)
    order = (bench.alone, subject) if turn % 2 else (subject, bench.alone)
    first, second = (_seconds(each, lambda each=each: each(x, keys)) for each in order)  # type: ignore[misc]
    return (first, second) if turn % 2 else (second, first)


def _seconds(subject: Subject, work: Callable[[], None]) -> float:
    """How long some work took, on an accelerator until it is done."""
    _wait(subject)
    begun = time.perf_counter()
    work()
    _wait(subject)
    return time.perf_counter() - begun


def _wait(subject: Subject) -> None:
    if subject.classifier.device.type == "cuda":
        torch.cuda.synchronize(subject.classifier.device)


def _latency(bench: Bench, subject: Subject, size: int, times: NDArray[np.float64], warm: int) -> Latency:
    alone, own = times.T
    p50, p95, p99 = (_of_asks(own, share) for share in SHARES)
    peak, beyond = peak_memory(subject.classifier.device, lambda: _ask(bench, subject, size))
    return Latency(
        name=subject.name,
        batch=size,
        asks=len(own),
        warm_up=warm,
        p50=p50,
        p95=p95,
        p99=p99,
        throughput=float(size * len(own) / own.sum()),
        overhead=_of_asks(own / alone - 1, 0.5) if subject.signal else Estimate.undefined("this is the model alone"),
        passes=subject.needs.passes,
        peak=peak,
        beyond=beyond,
    )


def _ask(bench: Bench, subject: Subject, size: int) -> None:
    for turn in range(1 if subject.needs.passes else _ASKED):
        subject(*bench.batch(turn, size))


def _of_asks(values: NDArray[np.float64], share: float) -> Estimate:
    """A quantile over asks, each of which is taken for an independent one."""
    found = quantile(values, share)
    if found.reason is None:
        return found
    asks = f"{len(values):,} ask{'' if len(values) == 1 else 's'}"
    return replace(found, reason=f"no 95 % interval from {asks}, only from {fewest(share):,}")
