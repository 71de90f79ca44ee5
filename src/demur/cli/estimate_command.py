"""`demur plan --estimate`: what a plan will take, as a table or as JSON."""

from typing import TYPE_CHECKING, Annotated

import typer

from demur.cli import strict_json
from demur.cli.settings import progress_display, results_alone
from demur.errors import InputError

if TYPE_CHECKING:
    from demur.pipeline.estimate.plan_estimate import Estimate, Machines
    from demur.pipeline.plan.plan_file import Plan

Estimated = Annotated[
    bool, typer.Option("--estimate", help="Print instead what it will take, by trying a few images of each condition.")
]
Counted = Annotated[int, typer.Option(help="With --estimate: machines that share the work out.")]
Device = Annotated[
    str | None,
    typer.Option(help="With --estimate: where the model runs, such as cuda, as in the audit; by default the CPU."),
]
Price = Annotated[float | None, typer.Option(help="With --estimate: what one machine costs an hour.")]
AsJson = Annotated[bool, typer.Option("--json", help="With --estimate: print JSON instead of a table.")]


_OPTIONS = {
    "machines": "--machines",
    "workers": "--workers",
    "device": "--device",
    "price": "--price-per-hour",
    "json": "--json",
}


def refuse_without_estimate(*, estimate: bool, **options: object) -> None:
    """Refuse what only an estimate counts with.

    Raises:
        InputError: an option was given, and no estimate was asked for.
    """
    name = next((_OPTIONS[key] for key, value in options.items() if value), None)
    if name is not None and not estimate:
        raise InputError(f"{name} of demur plan says what an estimate counts with. Add --estimate, or leave it out.")


def print_estimate(chosen: "Plan", on: "Machines", device: str | None, *, as_json: bool) -> None:
    """Try the plan, and print what it will take."""
    import torch

    from demur.pipeline.estimate.plan_estimate import estimate
    from demur.pipeline.run.prepare import StandIns

    torch.set_num_threads(1)  # as in each process of an audit
    with results_alone(), progress_display() as progress:
        found = estimate(chosen, on, progress.say, StandIns(device=device))
    print(strict_json.dumps(found.facts, indent=1) if as_json else estimate_words(found))


def estimate_words(found: "Estimate") -> str:
    """The stages in a table, then the whole on the machines.

    Sizes are powers of ten; times are of one processor, but for the last.
    """
    rows = [
        (stage.name, _count(stage.rows), _count(stage.passes), _time(stage.seconds), _size(stage.bytes))
        for stage in found.stages
    ]
    seconds, all_rows = found.processor_hours * 3600, sum(stage.rows for stage in found.stages)
    total = ("in all", _count(all_rows), _count(found.passes), _time(seconds), _size(found.bytes))
    lines = [_line(row) for row in (("stage", "rows", "passes", "processor", "on disk"), *rows, total)]
    where = "" if found.device == "cpu" else f", of the memory of {found.device}"
    memory = "not told by this machine" if found.memory is None else f"{_size(found.memory)} each process{where}"
    cost = [] if found.cost is None else [f"Cost: {found.cost:,.2f}"]
    return "\n".join(
        [
            *lines,
            "",
            f"On {_machines(found)}: {_time(found.hours * 3600)} from begin to end",
            _reading(found),
            f"Memory: {memory}",
            *cost,
            f"The probe took {_time(found.probe_seconds)}. Not counted: {'; '.join(found.not_counted)}.",
        ]
    )


def _machines(found: "Estimate") -> str:
    one = f"{found.workers} process{'' if found.workers == 1 else 'es'}"
    many = f"1 machine with {one}" if found.machines == 1 else f"{found.machines} machines with {one} each"
    return f"{many}, the model on {'the CPU' if found.device == 'cpu' else found.device}"


def _reading(found: "Estimate") -> str:
    by = "one process" if found.readers == 1 else f"{found.readers} processes"
    if found.machines == 1:
        return f"The images are read by {by}, unless an index is there: demur index"
    return f"The images are read by {by} of each machine in both phases, and at the end; an index saves it: demur index"


def _line(row: tuple[str, ...]) -> str:
    return f"{row[0]:<26}" + "".join(f"{text:>14}" for text in row[1:])


def _count(number: float) -> str:
    return f"{round(number):,}" if number else "—"


def _time(seconds: float) -> str:
    """Seconds as people say them.

    >>> _time(0.4), _time(75), _time(7200), _time(400000)
    ('0.4 s', '75 s', '2.0 h', '111 h')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 5400:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 36000 else f"{seconds / 3600:,.0f} h"


def _size(size: float) -> str:
    """Bytes as people say them.

    >>> _size(0), _size(1234), _size(5.6e9)
    ('—', '1.23 kB', '5.6 GB')
    """
    if not size:
        return "—"
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}" if unit != "B" else f"{size:.0f} B"
        size /= 1000
    return f"{size:.3g} TB"
