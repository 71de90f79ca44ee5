"""What each model costs: its parameters, and how long an answer takes where that was timed."""

from collections.abc import Iterator

from demur.analysis.comparison.joined_runs import Runs
from demur.analysis.quantity import Number, Table
from demur.analysis.signals.overhead_tables import Overhead, OverheadRow, overhead


class Cost(Table):
    """What one run's model costs; the interval is over asks, and NaN where the number is exact."""

    letter: str
    value: Number
    low: Number
    high: Number


class CostRow(Table):
    """One cost of every run that says it. It is not tested: `note` says what it may be compared for."""

    title: str
    unit: str
    cells: tuple[Cost, ...]
    note: str | None

    def cell(self, letter: str) -> Cost | None:
        """What a run says; None where it says nothing."""
        return next((cell for cell in self.cells if cell.letter == letter), None)


def costs(runs: Runs) -> tuple[CostRow, ...]:
    """Parameters, then median latency for the smallest number of images asked at a time that all timed runs have."""
    nan = float("nan")
    counted = (
        Cost(letter=letter, value=float(run.facts["parameters"]), low=nan, high=nan) for letter, run in runs.items()
    )
    return (CostRow(title="Parameters", unit="parameters", cells=tuple(counted), note=None), *_latency(runs))


def _latency(runs: Runs) -> Iterator[CostRow]:
    timed = {letter: found for letter, run in runs.items() if (found := overhead(run)) is not None}
    alone = {letter: {row.batch: row for row in found.rows if row.signal is None} for letter, found in timed.items()}
    sizes = set.intersection(*map(set, alone.values())) if alone else set()
    if sizes:
        batch = min(sizes)
        yield CostRow(
            title=f"Latency, median of {batch:,} at a time",
            unit="seconds",
            cells=tuple(_cell(letter, rows[batch]) for letter, rows in alone.items()),
            note=_note(timed),
        )


def _cell(letter: str, row: OverheadRow) -> Cost:
    return Cost(letter=letter, value=row.p50.value, low=row.p50.low, high=row.p50.high)


def _note(timed: dict[str, Overhead]) -> str:
    places = {(found.device, found.threads, tuple(sorted(found.versions.items()))) for found in timed.values()}
    if len(places) > 1:
        return "timed on different devices, threads or versions: not to be compared"
    device, threads, _ = next(iter(places))
    return f"on {device}, {threads} thread{'' if threads == 1 else 's'}; other load at the time is not known"
