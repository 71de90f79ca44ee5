"""`demur matrix`: models × attacks × detectors, one cell each."""

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from demur.cli import strict_json as json_
from demur.cli.settings import Threads, Workers
from demur.errors import InputError

if TYPE_CHECKING:
    from demur.analysis.quantity import Quantity
    from demur.matrix.matrix_cells import Cell

PlanFile = Annotated[
    Path, typer.Argument(metavar="PLAN", help="A TOML file with the lists models, attacks and signals, and data.")
]
Out = Annotated[Path, typer.Option(metavar="DIR", help="Folder for the cells, the table and the audits.")]

_HEADER = ("signal", "AUROC attack", "flipped of", "AUROC error", "wrong of")
_ABOUT = (
    "AUROC attack: images that the attack flipped against attacked images as they were; AUROC error: wrong answers to "
    "clean images against right ones; .5 is chance. Intervals are 95 %."
)


def matrix(
    plan: PlanFile,
    out: Out,
    device: Annotated[str | None, typer.Option(help="Where the models run, such as cuda; by default the CPU.")] = None,
    workers: Workers = None,
    threads: Threads = None,
    json: Annotated[bool, typer.Option("--json", help="Print the cells as JSON instead of a table.")] = False,
) -> None:
    """Measure every combination of models, attacks and signals: accuracy, robust accuracy, and what a signal notices.

    Exit status: 0 every cell has numbers; 1 some have a reason instead; 2 wrong input, and nothing was run; 130
    interrupted, and the same command continues.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"--out names a folder, and {out} is a file. Name another.")
    from demur.cli.settings import progress_display
    from demur.matrix.matrix_cells import TABLE
    from demur.matrix.matrix_plan import read_matrix
    from demur.matrix.matrix_run import run_matrix
    from demur.pipeline.run.resources import Resources

    resources = Resources(workers=workers, threads=threads)
    with progress_display() as progress:
        cells = run_matrix(read_matrix(plan), out, progress, device=device, resources=resources)
    if json:
        print(json_.dumps([cell.model_dump(mode="json") for cell in cells], indent=1))
    else:
        print("\n".join([*matrix_words(cells), "", f"Table: {out / TABLE}"]))
    raise typer.Exit(int(any(cell.state == "failed" for cell in cells)))


def matrix_words(cells: Sequence["Cell"]) -> list[str]:
    """The cells by model and attack, each signal a row; a cell without numbers says why."""
    failed = sum(cell.state == "failed" for cell in cells)
    lines = [f"{len(cells):,} cells: {len(cells) - failed:,} with numbers, {failed:,} without."]
    for model, own in groupby(cells, lambda cell: cell.model):
        of_model = list(own)
        lines += ["", f"{model}{_accuracy(of_model)}"]
        for attack, group in groupby(of_model, lambda cell: cell.attack):
            lines += [f"  {line}" for line in _attack(attack, list(group))]
    return [*lines, "", _ABOUT]


def _accuracy(cells: Sequence["Cell"]) -> str:
    found = next((cell.accuracy for cell in cells if cell.accuracy is not None), None)
    return "" if found is None else f": accuracy {_share(found)} of {found.n:,} {found.unit}s"


def _attack(attack: str, cells: Sequence["Cell"]) -> Iterator[str]:
    whole = [cell for cell in cells if cell.state == "finished"]
    if whole and whole[0].robust_accuracy is not None:
        robust = whole[0].robust_accuracy
        yield f"{attack}: robust accuracy {_share(robust)} of {robust.n:,} {robust.unit}s"
        yield f"  The attack {whole[0].knowledge}; scored is {whole[0].points}."
        rows = [_HEADER, *map(_cells, whole)]
        widths = [max(len(row[at]) for row in rows) for at in range(len(_HEADER))]
        for row in rows:
            yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
    else:
        yield attack
    yield from (f"  ✖ {cell.signal}: {cell.reason}" for cell in cells if cell.state == "failed")


def _cells(cell: "Cell") -> tuple[str, ...]:
    return (
        cell.signal,
        _area(cell.attack_auroc),
        f"{cell.flipped:,} of {cell.unattacked:,}",
        _area(cell.error_auroc),
        f"{cell.wrong:,} of {(cell.wrong or 0) + (cell.right or 0):,}",
    )


def _area(found: "Quantity | None") -> str:
    if found is None or found.value != found.value:
        return "–" if found is None else f"– ({found.reason})"
    value, low, high = (f"{number:.3f}".removeprefix("0") for number in (found.value, found.low, found.high))
    return f"{value} ({found.reason})" if found.low != found.low else f"{value} ({low} to {high})"


def _share(found: "Quantity") -> str:
    if found.value != found.value:
        return f"undefined ({found.reason})"
    return f"{100 * found.value:.1f} % ({100 * found.low:.1f} to {100 * found.high:.1f})"
