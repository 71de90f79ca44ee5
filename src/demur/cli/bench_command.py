"""`demur bench`: what an answer takes, the model alone and with each signal; a run folder may keep it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from demur.cli import strict_json as json_
from demur.cli.run_folders import RunFolder
from demur.cli.settings import Limit
from demur.errors import InputError, brief

if TYPE_CHECKING:
    from demur.pipeline.bench.bench_of_run import TimedRun

Model = Annotated[
    str | None,
    typer.Argument(
        help="Model address, such as fashion or zoo:resnet20@w.safetensors?size=32&mean=…; with --out the run's."
    ),
]
Data = Annotated[
    str | None, typer.Argument(help="Data address; without it images are drawn at random and no signal is fitted.")
]
SignalNames = Annotated[
    list[str] | None,
    typer.Option("--signal", metavar="NAME(…)", help="From `demur list signal`; again for another; by default all."),
]
Batches = Annotated[str, typer.Option("--batch", metavar="N,N", help="Images an ask.")]
Seconds = Annotated[float, typer.Option(help="How long each signal is asked for at each batch size.")]
Out = Annotated[
    Path | None,
    typer.Option(metavar="RUN", help="Keep the table in this run folder, for its report."),
    RunFolder(),
]

_COLUMNS = ("", "p50 ms", "p95", "p99", "images/s", "overhead, 95 % interval", "peak MB", "asks")
_NONE = "–"
_MB = 1e6
_ABOUT = (
    "Times are of one batch. Overhead: the median of what a signal adds to the model alone, asked about the same "
    "images just before or after."
)


def bench(
    model: Model = None,
    data: Data = None,
    signals: SignalNames = None,
    batch: Batches = "1,64",
    seconds: Seconds = 2.0,
    limit: Limit = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random; 0, or the run's.")] = None,
    out: Out = None,
    device: Annotated[str | None, typer.Option(help="Where the model runs, such as cuda; by default the CPU.")] = None,
    threads: Annotated[int, typer.Option(help="Threads of the model.")] = 1,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Time a model alone and with each signal: latency, throughput, peak memory, overhead.

    Exit status: 0 everything was timed that was named; 1 a signal that was named could not be; 2 wrong input.
    """
    sizes = _sizes(batch)
    from demur.cli.settings import progress_display
    from demur.pipeline.bench.bench_facts import bench as measured

    named = BenchNames.of(model, data, signals or (), seed, out)
    with progress_display() as progress:
        found = measured(
            named.model,
            named.data,
            progress.say,
            signals=named.signals,
            batches=sizes,
            seconds=seconds,
            limit=limit,
            seed=named.seed,
            device=device,
            threads=threads,
        )
    lines = [*bench_words(found), *named.keep(found)]
    print(json_.dumps(found, indent=1) if json else "\n".join(lines))
    raise typer.Exit(int(bool(signals and found["left_out"])))


@dataclass(frozen=True, kw_only=True)
class BenchNames:
    """What is timed, by its addresses and names, and the run that keeps it; no signals are all that suit the model."""

    model: str
    data: str | None
    signals: tuple[str, ...]
    seed: int
    run: "TimedRun | None" = None

    @classmethod
    def of(
        cls, model: str | None, data: str | None, signals: Sequence[str], seed: int | None, folder: Path | None
    ) -> "BenchNames":
        """As named; what is not, as the run has it.

        Raises:
            InputError: neither a model nor a run is named.
        """
        if folder is None:
            if model is None:
                raise InputError("name a model to time, such as fashion, or a run folder with --out.")
            return cls(model=model, data=data, signals=tuple(signals), seed=seed or 0)
        from demur.pipeline.bench.bench_of_run import TimedRun

        run = TimedRun.of(folder)
        return cls(
            run=run,
            model=model or run.model,
            data=data or run.data,
            signals=tuple(signals) or run.signals,
            seed=run.seed if seed is None else seed,
        )

    def keep(self, found: Mapping[str, Any]) -> list[str]:
        """Put the table into the folder of the run, if there is one; what is said of it."""
        if self.run is None:
            return []
        self.run.keep(found)
        return ["", f"Kept in {self.run.path}. Next: demur report {self.run.path}"]


def _sizes(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(
            f"--batch takes whole numbers with commas between them, such as 1,64; got {brief(text)!r}."
        ) from None


def bench_words(found: Mapping[str, Any]) -> list[str]:
    """The table of each batch size, and what was left out."""
    threads = f"{found['threads']} thread{'s' if found['threads'] > 1 else ''}"
    lines = [f"{found['model']}: {found['parameters']:,} parameters, on {found['device']}, {threads}"]
    lines.append(f"Images: {found['images']}.")
    for size in dict.fromkeys(row["batch"] for row in found["rows"]):
        rows = [_cells(row) for row in found["rows"] if row["batch"] == size]
        lines += ["", *table_lines([(f"batch {size}", *_COLUMNS[1:]), *rows])]
    lines += ["", _ABOUT]
    reasons = dict[str, list[str]]()
    for each in found["left_out"]:
        reasons.setdefault(each["reason"], []).append(each["signal"])
    return [*lines, *(f"Left out: {', '.join(names)}: {reason}" for reason, names in reasons.items())]


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    alone = row["overhead"]["value"] is None
    return (
        row["name"] if alone else f"+ {row['name']}",
        *(_milliseconds(row[name]["value"]) for name in ("p50", "p95", "p99")),
        f"{row['throughput']:,.0f}" if row["throughput"] >= 10 else f"{row['throughput']:.2g}",
        _overhead(row["overhead"]),
        _NONE if row["peak"] is None else f"{row['peak'] / _MB:,.0f}",
        f"{row['asks']:,}",
    )


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:,.3g}" if seconds < 1 else f"{1000 * seconds:,.0f}"


def _overhead(found: Mapping[str, Any]) -> str:
    if found["value"] is None:
        return _NONE
    value = _share(found["value"])
    return f"{value} %" if found["low"] is None else f"{value} % ({_share(found['low'])} to {_share(found['high'])})"


def _share(value: float) -> str:
    digits = 1 if abs(value) < 0.995 else 0
    return f"{100 * value:z,.{digits}f}".replace("-", "−")


def table_lines(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Names to the left, numbers to the right."""
    widths = [max(len(row[at]) for row in rows) for at in range(len(rows[0]))]
    for row in rows:
        first, *others = (
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join([first, *others]).rstrip()
