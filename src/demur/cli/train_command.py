"""`demur train`: learn from labelled images; weights, manifest and card come out."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from demur.training.model_card import Scores
    from demur.training.training_run import TrainingResult

_SHOWN = 10


def train(
    architecture: Annotated[str, typer.Argument(metavar="ARCH", help="resnet20, … or module:PKG.MOD:FACTORY")],
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
) -> None:
    """Train a network. The same command continues an interrupted training, to the same bytes."""
    chosen = _recipe(recipe, set_ or (), {"epochs": epochs, "batch": batch})
    from demur.cli.settings import progress_display
    from demur.pipeline.run.run_writer import try_folder
    from demur.training.training_run import train as run_training

    if out is not None:
        try_folder(out)
    with progress_display() as progress:
        done = run_training(
            architecture, data, recipe=chosen, seed=seed, out=out, restart=not resume, progress=progress
        )
    print("\n".join(_words(done, data)))


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


def _words(done: "TrainingResult", data: str) -> list[str]:
    found = [] if done.scores is None else _found(done.scores)
    card = f"Card: {done.weights.with_suffix('.md')}"
    return [f"Learned from {done.learned:,} images.", *found, card, f"Next: demur audit '{done.address}' '{data}'"]


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
