"""`demur monitor`: how late a window over a stream notices a change, and how often it raises an alarm for nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from demur.cli.bench_command import table_lines
from demur.cli.run_folders import RunFolder

if TYPE_CHECKING:
    from demur.analysis.stream_alarms import ConditionDelay, MonitorRow, StreamAlarms, StreamNumber

Windows = Annotated[
    list[int] | None, typer.Option("--window", metavar="N", help="Images in a window; again for another; 50.")
]
Conditions = Annotated[
    list[str] | None,
    typer.Option(
        "--condition", metavar="NAME", help="What the stream changes to; again for another; by default all there are."
    ),
]

_NONE = "–"
_COLUMNS = ("images", "found", "delay of half", "of nine in ten", "in alarm at the end")
_LIMITS = (
    "Thresholds and streams are of images drawn one by one: neighbours that are alike raise more alarms. Intervals are "
    "95 %, over streams, not over the images they are drawn from. A threshold that follows the stream forgets a change "
    "that lasts, and has no guarantee."
)


def monitor(
    run: Annotated[Path, typer.Argument(help="Run folder that an audit wrote."), RunFolder()],
    signal: Annotated[str | None, typer.Option(help="By default that of the run's policy, or else msp.")] = None,
    conditions: Conditions = None,
    windows: Windows = None,
    statistic: Annotated[str, typer.Option(help="Of a window: mean, median, or share above .9 of clean.")] = "mean",
    budget: Annotated[float, typer.Option(help="Share of clean windows that may lie above the threshold.")] = 0.01,
    memory: Annotated[
        int, typer.Option(metavar="N", help="Images in alarm by which the threshold that follows rises one σ.")
    ] = 500,
    streams: Annotated[int, typer.Option(metavar="N", help="How many are drawn.")] = 200,
    before: Annotated[int, typer.Option(metavar="N", help="Clean images of a stream.")] = 1000,
    after: Annotated[int, typer.Option(metavar="N", help="Images after the change.")] = 1000,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Simulate streams that change at a known image, from the scores of a run: alarm delay and false alarms.

    Exit status: 0 it was simulated; 2 wrong input.
    """
    from demur.analysis.run_folder import open_run
    from demur.analysis.stream_alarms import StreamPlan, stream_alarms

    plan = StreamPlan(
        signal=signal,
        conditions=tuple(conditions or ()),
        windows=tuple(windows or (50,)),
        statistic=statistic,
        budget=budget,
        memory=memory,
        streams=streams,
        before=before,
        after=after,
        seed=seed,
    )
    found = stream_alarms(open_run(run), plan)
    print(found.model_dump_json(indent=1) if json else "\n".join(monitor_words(found)))


def monitor_words(found: "StreamAlarms") -> list[str]:
    """What was simulated, then a table for each monitor."""
    threshold = (
        f"{found.run}: {found.signal}, {found.statistic} of a window. Threshold of {found.tune:,} tune images, above "
        f"which {100 * found.budget:g} % of clean windows may lie."
    )
    streams = (
        f"{found.streams:,} streams: {found.before:,} clean images, drawn from {found.clean:,} test images, then "
        f"{found.after:,} of a condition. Found: an alarm begins after the change."
    )
    tables = [line for row in found.monitors for line in ("", *_monitor(row))]
    skipped = [f"Left out: {name}: {reason}." for name, reason in found.skipped.items()]
    return [threshold, streams, *tables, "", _LIMITS, *skipped]


def _monitor(row: "MonitorRow") -> Iterator[str]:
    stays = f"the threshold stays, {row.threshold:.4g}"
    how = stays if row.memory is None else f"the threshold follows, memory {row.memory:,}, {row.threshold:.4g} at first"
    false_alarms = f"False alarms per 1,000 images: {_number(row.false_alarms, 2)}"
    yield f"Window of {row.window:,}, {how}. {false_alarms}; windows above: {_percent(row.above)}."
    yield from table_lines([("", *_COLUMNS), *(_change(change) for change in row.changes)])


def _change(found: "ConditionDelay") -> tuple[str, ...]:
    name = "clean: no change" if found.condition == "clean" else found.condition
    return (
        name,
        f"{found.images:,}",
        _percent(found.found),
        _number(found.median, 0),
        _number(found.late, 0),
        _percent(found.in_alarm_at_end),
    )


def _percent(found: "StreamNumber") -> str:
    if found.value != found.value:
        return _NONE
    share = f"{100 * found.value:.1f} %"
    return share if found.low != found.low else f"{share} ({100 * found.low:.1f} to {100 * found.high:.1f})"


def _number(found: "StreamNumber", digits: int) -> str:
    if found.value != found.value:
        return _NONE
    value, low, high = (
        f"{'> ' if end in found.above else ''}{number:,.{digits}f}"
        for end, number in (("value", found.value), ("low", found.low), ("high", found.high))
    )
    return value if found.low != found.low or "low" in found.above else f"{value} ({low} to {high})"
