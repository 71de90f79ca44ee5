"""Options that several commands share, progress on stderr, and how a command that measured something ends."""

import math
import os
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from demur.errors import InputError

if TYPE_CHECKING:
    from demur.pipeline.plan.plan_file import Plan
    from demur.pipeline.run.resources import Resources

Model = Annotated[
    str | None, typer.Argument(help="Model address, such as fashion or zoo:resnet20@w.safetensors?mean=…&std=…")
]
Data = Annotated[str | None, typer.Argument(help="Data address, such as fashion, digits or parquet:test.parquet")]
PlanFile = Annotated[
    Path | None, typer.Option("--plan", help="A TOML plan, such as `demur plan` prints; other options win over it.")
]
Settings = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Set one key of the plan, such as data.limit=2000; again for another."
    ),
]
Limit = Annotated[
    int | None, typer.Option(help="Use N of the images only, drawn by their hashes: the same N each time.")
]
Risk = Annotated[
    float | None, typer.Option(help="Largest tolerable share of wrong answers; 0.02 unless the plan says otherwise.")
]
Coverage = Annotated[
    float | None,
    typer.Option(help="Share of images to answer, such as 0.85; what can be shown of their risk is then worked out."),
]
Prevalence = Annotated[
    str | None,
    typer.Option(metavar="NAME=SHARE", help="How common the positive class is in use, such as positive=0.005."),
]
Unknown = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="Images of none of the classes, of any data address: how many are answered."),
]
AttackSignal = Annotated[
    str | None,
    typer.Option(
        metavar="SIGNAL",
        help="Abstain also where this signal, such as knn, is high: its threshold is fixed on tune images, and the "
        "guarantee is of both.",
    ),
]
Batch = Annotated[int | None, typer.Option(help="Images per pass.")]
Seed = Annotated[int | None, typer.Option(help="Seed of everything random.")]


Workers = Annotated[
    int | None,
    typer.Option(help="Processes that measure; by default as many as there are cores, where that is faster."),
]
Threads = Annotated[
    int | None,
    typer.Option(help="Threads of the model in each process; by default one."),
]
ImageMemory = Annotated[int, typer.Option(metavar="MB", help="Decoded images that are kept, in megabytes.")]


EngineName = Annotated[
    str,
    typer.Option("--engine", metavar="NAME", help="What measures: local processes, or ray for tasks of a Ray cluster."),
]
EngineAddress = Annotated[
    str | None,
    typer.Option(
        "--address", help="With --engine ray: where the cluster is, such as auto; else one is started on this machine."
    ),
]
GpusPerTask = Annotated[float, typer.Option(help="With --engine ray: GPUs that a task needs, such as 0.5.")]
MemoryPerTask = Annotated[
    int | None, typer.Option(metavar="MIB", help="With --engine ray: memory that a task needs, by which it is placed.")
]


IndexFolder = Annotated[
    Path | None,
    typer.Option("--index", metavar="DIR", help="What `demur index` kept of the images: they are not decoded for it."),
]


GuardFolder = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Audit this guard of the model instead of certifying a threshold.")
]


def resources_of(
    workers: int | None,
    threads: int | None,
    image_memory: int,
    engine: str,
    address: str | None,
    gpus: float,
    memory: int | None,
    index: Path | None,
) -> "Resources":
    """What a command line lets an audit use.

    Raises:
        InputError: something that does not fit the engine.
    """
    from demur.pipeline.run.resources import Resources

    own = Resources(workers=workers, threads=threads, image_memory=image_memory, index=index)
    return own.with_engine(engine, address, gpus, memory)


def check_numbers(options: Mapping[str, object]) -> None:
    """Refuse whole numbers that no machine counts with, which Python alone does.

    Raises:
        InputError: an option is one; it is named.
    """
    for name, value in options.items():
        if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
            raise InputError(
                f"--{name.strip('_').replace('_', '-')} is a whole number between -2⁶³ and 2⁶³; got {value!s:.40}…, of "
                f"{len(str(abs(value)))} digits."
            )


def refuse_beside(option: str, what: str, **others: object) -> None:
    """Refuse options that mean nothing beside one that fixes what they would choose.

    Raises:
        InputError: the first of them that was given.
    """
    for name, value in others.items():
        if value is not None:
            raise InputError(
                f"{option} takes {what} as it stands, and --{name.replace('_', '-')} would choose another. Leave one "
                "of the two out."
            )


def read(
    model: str | None,
    data: str | None,
    plan: Path | None,
    settings: list[str] | None,
    limit: int | None,
    risk: float | None,
    batch: int | None,
    seed: int | None,
    prevalence: str | None = None,
    coverage: float | None = None,
    unknown: str | None = None,
    attack_signal: str | None = None,
) -> "Plan":
    """The plan of a command line: options over --set over the file over defaults.

    Raises:
        InputError: a risk and a coverage at once.
    """
    if risk is not None and coverage is not None:
        raise InputError(
            f"--risk and --coverage exclude each other; got {risk:g} and {coverage:g}. One is fixed, the other shown: "
            "leave one out, or name both `certified` and `capacity` in policies.use."
        )
    from demur.pipeline.plan.plan_file import read_plan

    given: dict[str, Any] = {
        "model.address": model,
        "data.address": data,
        "data.limit": limit,
        "data.prevalence": prevalence,
        "data.unknown": unknown,
        "batch": batch,
        "seed": seed,
    }
    found = read_plan(plan, settings or (), {key: value for key, value in given.items() if value is not None})
    return found.aimed(risk, coverage, attack_signal)


if TYPE_CHECKING:
    from demur.analysis import Results


def status(results: "Results") -> int:
    """0 passed · 1 a gate or the measurement failed, or nothing could be certified · 3 inconclusive.

    Gates that are all passed are criteria enough: without a guarantee asked for they decide alone.
    """
    outcomes = {row.outcome for row in results.gates}
    if "fail" in outcomes or results.state not in {"issued", "undeclared"}:
        return 1
    if "inconclusive" in outcomes or (results.state == "undeclared" and not outcomes):
        return 3
    return 0


if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

_EVERY = 10.0
"""Seconds between two plain lines."""

_MINUTES = 600
"""Seconds from which on time is told in minutes."""


def is_standard(stream: TextIO) -> bool:
    """Whether it is the standard output of this process, and no stand-in."""
    try:
        return stream is sys.__stdout__ and stream.fileno() == 1
    except (OSError, ValueError):
        return False


@contextmanager
def results_alone() -> Iterator[None]:
    """What anybody prints inside goes to stderr, by Python or past it: stdout is for results."""
    whole, before = is_standard(sys.stdout), sys.stdout
    kept = os.dup(1) if whole else -1
    before.flush()
    try:
        if whole:
            os.dup2(2, 1)
        with redirect_stdout(sys.stderr):
            yield
    finally:
        if whole:
            with suppress(ValueError):  # whoever closed it printed no more
                before.flush()
            os.dup2(kept, 1)
            os.close(kept)
        if before.closed:
            sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - it is the new stdout


@contextmanager
def progress_display() -> Iterator["Bar | Lines"]:
    """A progress display that suits stderr; what is printed meanwhile goes there too."""
    with results_alone(), _display() as display:
        yield display


@contextmanager
def _display() -> Iterator["Bar | Lines"]:
    if not sys.stderr.isatty():
        yield Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (BarColumn(24), TextColumn("{task.percentage:3.0f} %"), TextColumn("{task.description}"))
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        yield Bar(shown)


@dataclass
class Pace:
    """How much of some work is done, and since when."""

    rows: int = 0
    done: int = 0
    began: float = 0.0

    def share(self, left: float | None) -> float:
        """What share of the time is over, by the seconds left or else by the rows; 0 where nobody can tell."""
        if left is None:
            return self.done / max(1, self.rows)
        over = time.monotonic() - self.began
        return over / (over + left) if over + left else 0.0

    def time_left(self, left: float | None) -> str:
        """How long the rest takes, as told or else at the pace so far; empty where nobody can tell."""
        if left is None:
            left = (time.monotonic() - self.began) / max(1, self.done) * (self.rows - self.done)
        if not math.isfinite(left):
            return ""
        return f"about {left:.0f} s left  " if left < _MINUTES else f"about {left / 60:.0f} min left  "


class Bar:
    """A moving bar."""

    def __init__(self, shown: "RichProgress") -> None:
        self._shown = shown
        self._task = shown.add_task("starting", total=None)
        self._pace = Pace()

    def start(self, rows: int) -> None:
        """Begin counting."""
        self._pace = Pace(rows=rows, began=time.monotonic())
        self._shown.reset(self._task, total=rows)

    def advance(self, rows: int, what: str, left: float | None = None) -> None:
        """Count on; `left` is how many seconds the rest takes, infinite where that cannot be told yet."""
        self._pace.done += rows
        completed = self._pace.share(left) * self._pace.rows
        self._shown.update(self._task, completed=completed, description=f"{self._pace.time_left(left)}{what}")

    def say(self, what: str) -> None:
        """Tell what is being done."""
        self._shown.update(self._task, description=what)

    def keep(self, line: str) -> None:
        """A line that stays, above the bar."""
        self._shown.console.print(line, markup=False, highlight=False, soft_wrap=True)


class Lines:
    """A line now and then, for logs."""

    def __init__(self) -> None:
        self._pace = Pace()
        self._said = time.monotonic()

    def start(self, rows: int) -> None:
        """Begin counting."""
        self._pace = Pace(rows=rows, began=time.monotonic())

    def advance(self, rows: int, what: str, left: float | None = None) -> None:
        """Count on, and say so if it has been quiet for a while; `left` as for a bar."""
        self._pace.done += rows
        now = time.monotonic()
        if now - self._said >= _EVERY:
            self._said = now
            share = f"{self._pace.share(left):4.0%}  " if left is None or math.isfinite(left) else ""
            print(f"{share}{self._pace.time_left(left)}{what}", file=sys.stderr, flush=True)

    def say(self, what: str) -> None:
        """Tell what is being done."""
        print(what, file=sys.stderr, flush=True)

    def keep(self, line: str) -> None:
        """A line that stays."""
        print(line, file=sys.stderr, flush=True)
