"""What an answer takes, alone and with each signal, where `demur bench --out RUN` measured it for a run."""

import math
from typing import Any, Literal

from demur.analysis.quantity import Number, Table
from demur.analysis.run_folder import Run

BENCH = "timings/bench.json"


class Timing(Table):
    """A number with its 95 % interval over asks, each taken for an independent one."""

    value: Number
    low: Number
    high: Number
    n: int
    unit: Literal["ask"] = "ask"
    reason: str | None = None


class OverheadRow(Table):
    """A model alone (null `signal`) or with a signal, asked about batches of one size.

    `p50`, `p95` and `p99` are seconds a batch, `throughput` images a second, `peak` the bytes held at most, null where
    nothing can tell. `overhead` is the median of what the signal adds to the ask of the model beside it, as a share of
    that; undefined for the model alone.
    """

    signal: str | None
    batch: int
    p50: Timing
    p95: Timing
    p99: Timing
    throughput: Number
    overhead: Timing
    peak: int | None
    asks: int


class UntimedSignal(Table):
    """A signal that was not timed, and why."""

    signal: str
    reason: str


class Overhead(Table):
    """Everything that was timed, at each batch size the model alone first, and what it was measured on.

    `images` says which images were asked about, `seconds` how long each signal was at each size.
    """

    device: str
    threads: int
    seconds: float
    images: str
    versions: dict[str, str]
    rows: tuple[OverheadRow, ...]
    untimed: tuple[UntimedSignal, ...]


def overhead(run: Run) -> Overhead | None:
    """The table of a run; None where it was not timed."""
    facts = run.optional_file(BENCH)
    if facts is None:
        return None
    return Overhead(
        **{name: facts[name] for name in ("device", "threads", "seconds", "images", "versions")},
        rows=tuple(_row(entry) for entry in facts["rows"]),
        untimed=tuple(UntimedSignal(**entry) for entry in facts["left_out"]),
    )


def _row(entry: dict[str, Any]) -> OverheadRow:
    added = Timing(**entry["overhead"])
    return OverheadRow(
        signal=None if math.isnan(added.value) else entry["name"],
        overhead=added,
        p50=Timing(**entry["p50"]),
        p95=Timing(**entry["p95"]),
        p99=Timing(**entry["p99"]),
        **{name: entry[name] for name in ("batch", "throughput", "peak", "asks")},
    )
