"""The table of a benchmark in words: times, sizes and shares."""

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

from demur.analysis.signals.overhead_tables import Overhead, OverheadRow, Timing
from demur.report.phrases import DASH, count, plural

_MEGABYTE = 1e6
_TENTHS = 0.995


class OverheadCell(NamedTuple):
    """A number of the table, what stands small beside it, and why that is no interval."""

    number: str
    span: str = ""
    reason: str = ""


def overhead_groups(found: Overhead) -> list[tuple[str, list[tuple[str | None, list[OverheadCell]]]]]:
    """For each batch size its head, and of each row the signal, None of the model alone, and the cells."""
    sizes = dict.fromkeys(row.batch for row in found.rows)
    heads = {size: "One image at a time" if size == 1 else f"Batches of {count(size)} images" for size in sizes}
    return [(heads[size], [(row.signal, [*_cells(row)]) for row in found.rows if row.batch == size]) for size in sizes]


def overhead_place(found: Overhead) -> str:
    """Where and on what the times were taken."""
    torch = f", torch {found.versions['torch']}" if "torch" in found.versions else ""
    return f"{found.device}, {plural(found.threads, 'thread')}{torch}; images: {found.images}"


def _cells(row: OverheadRow) -> Iterator[OverheadCell]:
    for timing in (row.p50, row.p95, row.p99):
        yield OverheadCell(milliseconds(timing.value), _span(timing, milliseconds), timing.reason or "")
    yield OverheadCell(rate(row.throughput))
    added = OverheadCell(
        f"{in_percent(row.overhead.value)} %", _span(row.overhead, in_percent), row.overhead.reason or ""
    )
    yield OverheadCell(DASH) if row.signal is None else added
    yield OverheadCell(DASH if row.peak is None else f"{row.peak / _MEGABYTE:,.0f}")
    yield OverheadCell(count(row.asks))


def _span(timing: Timing, words: Callable[[float], str]) -> str:
    ends = (timing.low, timing.high)
    return "no interval" if any(map(math.isnan, ends)) else " to ".join(map(words, ends))


def milliseconds(seconds: float) -> str:
    """Three digits.

    >>> milliseconds(0.000123), milliseconds(0.0456), milliseconds(1.2345), milliseconds(math.nan)
    ('0.123', '45.6', '1,234', '—')
    """
    if math.isnan(seconds):
        return DASH
    return f"{1000 * seconds:,.3g}" if seconds < 1 else f"{1000 * seconds:,.0f}"


def in_percent(share: float) -> str:
    """What is added to the model alone, in hundredths of it.

    >>> in_percent(0.1234), in_percent(-0.002), in_percent(12.5)
    ('12.3', '−0.2', '1,250')
    """
    digits = 1 if abs(share) < _TENTHS else 0
    return f"{100 * share:z,.{digits}f}".replace("-", "−")


def rate(images: float) -> str:
    """Images a second.

    >>> rate(12345.6), rate(0.5)
    ('12,346', '0.5')
    """
    return f"{images:,.0f}" if images >= 10 else f"{images:.2g}"
