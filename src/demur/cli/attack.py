"""`demur attack`: adversarial images as files, checked."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from demur.cli import settings

_TRUST = "model.trust_labels"

Model = Annotated[str, typer.Argument(help="Model address, such as fashion or zoo:resnet20@w.safetensors?mean=…")]
Data = Annotated[str, typer.Argument(help="Data address, such as fashion, digits or parquet:test.parquet")]
Attacks = Annotated[
    list[str], typer.Option("--attack", metavar="NAME(…)", help="Such as 'pgd(eps=[2/255, 8/255])'; again for another.")
]
Out = Annotated[Path, typer.Option(metavar="DIR", help="Folder for the files.")]
Transfer = Annotated[
    list[str] | None, typer.Option(metavar="MODEL", help="Another model: every model is asked about all points.")
]
Format = Annotated[Literal["safetensors", "npz"], typer.Option("--format", help="Of the arrays.")]
Quantised = Annotated[bool, typer.Option(help="Also write 8-bit images, and count the successes this loses.")]
Trust = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help=f"{_TRUST}=true, for a model that guesses.")
]


def attack(
    model: Model,
    data: Data,
    attacks: Attacks,
    out: Out,
    limit: settings.Limit = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    batch: Annotated[int, typer.Option(help="Images per pass.")] = 128,
    device: Annotated[str | None, typer.Option(help="Where the models run, such as cuda; by default the CPU.")] = None,
    transfer: Transfer = None,
    suffix: Format = "safetensors",
    quantised: Quantised = True,
    set_: Trust = None,
    json: Annotated[bool, typer.Option("--json", help="Print attack.json instead of words.")] = False,
) -> None:
    """Attack a model; write the images, check what was written, and say what was found."""
    asked: dict[str, Any] = {
        "limit": limit,
        "seed": seed,
        "batch": batch,
        "device": device,
        "suffix": suffix,
        "quantised": quantised,
    }
    trusted = _trusted(set_ or ())
    from demur.audit.export import export
    from demur.cli.attack_words import failed, words
    from demur.cli.progress import shown_progress
    from demur.records import read_json

    models = [model, *(transfer or ())]
    with shown_progress() as progress:
        note = export(models, data, attacks, out, **asked, trust_labels=trusted, progress=progress)
    found = read_json(note)
    print(note.read_text().rstrip("\n") if json else "\n".join([*words(found), f"Files: {note}"]))
    raise typer.Exit(int(failed(found)))


def _trusted(given: Sequence[str]) -> bool:
    """Whether the labels are to be believed, the one key of a plan that an attack has use for."""
    from demur.audit.plan import read_plan
    from demur.errors import unknown

    for setting in given:
        if setting.partition("=")[0].strip() != _TRUST:
            raise unknown("setting", setting.partition("=")[0], [_TRUST])
    return read_plan(None, given, shipped=False).model.trust_labels
