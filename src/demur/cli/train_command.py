"""`demur train`: learn from labelled images; weights, manifest and card come out."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from demur.cli.settings import Bar, Lines
    from demur.data import Source
    from demur.training.learning_curve import EpochRow
    from demur.training.model_card import Scores
    from demur.training.training_run import TrainingResult

_SHOWN = 10


def train(
    architecture: Annotated[
        str, typer.Argument(metavar="ARCH", help="resnet20, …, module:PKG.MOD:FACTORY or timm:NAME, @FILE: weights")
    ],
    data: Annotated[str, typer.Argument(help="Data address; its own split is respected, else 60 % are learned from.")],
    recipe: Annotated[str, typer.Option(help="Such as 'standard(epochs=10, balanced=True)'.")] = "standard",
    epochs: Annotated[int | None, typer.Option(help="Passes over the images; wins over the recipe's.")] = None,
    batch: Annotated[int | None, typer.Option(help="Images per step; wins over the recipe's.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Set one field of the recipe.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    out: Annotated[Path | None, typer.Option(help="Folder; by default models/<architecture>-<data>-<task>.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--restart", help="Continue what the folder holds, or give it up.")
    ] = True,
    processes: Annotated[
        int | None, typer.Option(help="Refuse to train unless torchrun has started exactly this many processes.")
    ] = None,
) -> None:
    """Train a network. The same command continues an interrupted training, to the same bytes."""
    chosen = _recipe(recipe, set_ or (), {"epochs": epochs, "batch": batch})
    _train(architecture, data, {"recipe": chosen, "seed": seed, "out": out, "restart": not resume}, processes)


def _train(architecture: str, data: str, options: dict[str, Any], processes: int | None) -> None:
    """Train in this process, which shows and writes where it is the first."""
    from demur.cli.settings import results_alone
    from demur.pipeline.run.run_writer import try_folder
    from demur.training.processes import started_processes
    from demur.training.training_run import train as run_training

    with started_processes(processes) as found:
        if found.first and options["out"] is not None:
            try_folder(options["out"])
        source, options = _open(architecture, data), {**options, "processes": found}
        if not found.first:
            with results_alone():
                run_training(architecture, source, **options)
            return
        lines = _of_the_first(architecture, source, options)
    print("\n".join(lines))


def _of_the_first(architecture: str, source: "Source", options: dict[str, Any]) -> list[str]:
    """Train in the process that shows and writes; what is to be said of it."""
    from demur.cli.settings import progress_display
    from demur.report.learning_figure import write_learning_figure
    from demur.training.learning_curve import CURVE, FIGURE
    from demur.training.training_run import train as run_training

    with progress_display() as display:
        done = run_training(architecture, source, progress=EpochTable(display), **options)
        display.say("drawing the curves")
        folder = done.weights.parent
        figure = write_learning_figure(folder / CURVE, folder / FIGURE)
    return _words(done, source.address, figure, options["processes"].count)


def _open(architecture: str, data: str) -> "Source":
    """The images, in the size and cut that a library declares for its network."""
    from demur.adapters.architectures import LIBRARIES
    from demur.pipeline.pairing import open_data_for

    return open_data_for(architecture if architecture.partition(":")[0] in LIBRARIES else None, data)


def _recipe(text: str, settings: "tuple[str, ...] | list[str]", given: dict[str, int | None]) -> str:
    """The recipe's name with fields replaced: options over --set over the name."""
    from demur.errors import InputError
    from demur.registry import canonical, parse

    call = parse(text)
    fields: dict[str, Any] = dict(call.fields)
    for setting in settings:
        if "=" not in setting:
            raise InputError(f"--set takes FIELD=VALUE, such as --set shift=4; got {setting!r}.")
        fields |= parse(f"{call.name}({setting})").fields
    return canonical(call.name, fields | {name: value for name, value in given.items() if value is not None})


class EpochTable:
    """Progress of a training that tells each epoch in a line: losses, share of right answers, F1 of each class.

    Of more than ten classes, the three with the lowest F1 by name.
    """

    def __init__(self, display: "Bar | Lines") -> None:
        self._display = display
        self._told: list[EpochRow] = []

    def start(self, rows: int) -> None:
        """Begin counting."""
        self._display.start(rows)

    def advance(self, rows: int, what: str) -> None:
        """Count on."""
        self._display.advance(rows, what)

    def say(self, what: str) -> None:
        """Tell what is being done."""
        self._display.say(what)

    def epoch(self, found: "EpochRow", classes: Sequence[str]) -> None:
        """A line for an epoch, below a head for the first."""
        if not self._told:
            head = "".join(name for name, share in _changed(found) if share is not None)
            self._display.keep(
                f"{_HEAD}{head}{_class_heads(classes) if len(classes) <= _SHOWN else 'lowest F1'}".rstrip()
            )
        shares = _each(found, classes) if len(classes) <= _SHOWN else _lowest(found, classes)
        loss, right = _number(found.held_out_loss), "–" if found.accuracy is None else f"{100 * found.accuracy:.1f} %"
        robust = "".join(f"{100 * share:>6.1f} %   " for _, share in _changed(found) if share is not None)
        line = f"{found.epoch:>5}  {found.train_loss:>7.4f}  {loss:>8}  {right:>7}   {robust}{shares}"
        self._display.keep(line.rstrip())
        self._warn(found)

    def _warn(self, found: "EpochRow") -> None:
        """Tell of an overfitting in the epoch that it first shows in."""
        from demur.training.catastrophic_overfitting import overfitting

        before, self._told = overfitting(self._told), [*self._told, found]
        now = overfitting(self._told)
        if now and not before:
            self._display.keep(now)


_HEAD = "epoch     loss  held out    right   "
_WIDE, _LOWEST = 8, 3


def _changed(found: "EpochRow") -> tuple[tuple[str, float | None], ...]:
    """Heads and shares of images that someone may change."""
    return (("attacked   ", found.robust_accuracy), ("  proven   ", found.proven_accuracy))


def _class_heads(classes: Sequence[str]) -> str:
    return "F1: " + " ".join(f"{name[:_WIDE]:>{_width(name)}}" for name in classes)


def _width(name: str) -> int:
    return max(4, len(name[:_WIDE]))


def _each(found: "EpochRow", classes: Sequence[str]) -> str:
    return "    " + " ".join(f"{_share(f1):>{_width(name)}}" for name, f1 in zip(classes, found.f1, strict=True))


def _lowest(found: "EpochRow", classes: Sequence[str]) -> str:
    there = [(f1, name) for name, f1 in zip(classes, found.f1, strict=True) if f1 is not None]
    return ", ".join(f"{name} {_share(f1)}" for f1, name in sorted(there)[:_LOWEST])


def _number(loss: float | None) -> str:
    return "–" if loss is None else f"{loss:.4f}"


def _share(f1: float | None) -> str:
    """Two digits, as figures in a narrow column are."""
    return "–" if f1 is None else f"{f1:.2f}".removeprefix("0")


def _words(done: "TrainingResult", data: str, figure: Path | None, count: int) -> list[str]:
    found = [] if done.scores is None else _found(done.scores)
    files = f"Card: {done.weights.with_suffix('.md')}" + ("" if figure is None else f"  curves: {figure}")
    start = [f"Before the first step: {'; '.join(done.words)}."] if done.words else []
    head = f"Learned from {done.learned:,} images{f' in {count} processes' if count > 1 else ''}."
    return [*start, head, *done.course, *found, files, f"Next: demur audit '{done.address}' '{data}'"]


def _found(scores: "Scores") -> list[str]:
    """The accuracy, and the classes with the lowest F1 among those that were seen."""
    from demur.training.model_card import card_percent

    seen = sorted((one for one in scores.classes if one.n), key=lambda one: one.f1.value)
    title = "class" if len(seen) <= _SHOWN else "worst classes"
    wide = max(len(title), *(len(one.name) for one in seen[:_SHOWN]))
    accuracy = scores.accuracy
    return [
        f"Right on {card_percent(accuracy)} of {accuracy.n:,} {accuracy.unit}s set aside.",
        f"{title:<{wide}}  {'images':>6}  {'F1':<23}  precision  recall",
        *(
            f"{one.name:<{wide}}  {one.n:>6,}  {card_percent(one.f1):<23}  "
            f"{_short(one.precision.value):>9}  {_short(one.recall.value):>6}"
            for one in seen[:_SHOWN]
        ),
    ]


def _short(share: float) -> str:
    return "–" if math.isnan(share) else f"{100 * share:.1f} %"
