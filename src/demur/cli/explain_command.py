"""`demur explain`: attribution maps, as pictures and a table."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from demur.cli import strict_json as json_
from demur.errors import InputError

Model = Annotated[
    str, typer.Argument(help="Model address, such as fashion or 'zoo:resnet20@w.safetensors?size=32&mean=…&std=…'")
]
Images = Annotated[list[Path], typer.Argument(help="Picture files, or folders of them.", metavar="IMAGES")]
Maps = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="NAME(…)",
        help="Such as grad_cam or 'smooth_grad(n=50)', from `demur list map`; again for another.",
    ),
]
Of = Annotated[str | None, typer.Option("--class", metavar="NAME", help="The class to explain; by default the answer.")]
Classes = Annotated[Path | None, typer.Option(metavar="FILE", help="The names of the classes, one a line, in order.")]

_MAPS = ("grad_cam", "gradient")
_SHOWN = ("area_50", "area_90", "dispersion")
_LONGEST = 40
_ABOUT = "area of 50 %: share of the map that holds half of its mass; dispersion: 0 in one spot, 1 all over."
_NUMBERED = "The classes have no names and are counted from 0; name them with --classes FILE."


def explain(
    model: Model,
    images: Images,
    maps: Maps = None,
    of: Of = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the pictures and the table.")] = Path(
        "explained"
    ),
    classes: Classes = None,
    crop: Annotated[bool, typer.Option(help="Cut pictures to the model's proportions instead of stretching.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    device: Annotated[str | None, typer.Option(help="Where the model runs, such as cuda; by default the CPU.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the table as JSON.")] = False,
) -> None:
    """Write attribution maps: an overlay for each picture and map, and a table of how compact the maps are."""
    from demur.adapters.declarations import declared
    from demur.attribution.explain_model import open_model
    from demur.attribution.explain_run import TABLE, explain_pictures, find_pictures
    from demur.classifier.devices import on_device
    from demur.cli.settings import progress_display
    from demur.pipeline.run.run_writer import try_folder

    if out.exists() and not out.is_dir():
        raise InputError(f"--out names the folder that overlays are written to, and {out} is a file. Name another.")
    try_folder(out)
    pictures = find_pictures(images, out)
    with progress_display() as progress:
        classifier = open_model(model, pictures, classes)
        classifier = classifier if device is None else on_device(classifier, device)
        rules, chosen = declared(model).rules, maps or _MAPS
        lines = explain_pictures(
            classifier, pictures, out, progress, maps=chosen, of=of, crop=crop, rules=rules, seed=seed
        )
    print(json_.dumps(lines, indent=2) if json else "\n".join([*words(lines), f"Table: {out / TABLE}"]))
    raise typer.Exit(int(any(line["error"] for line in lines)))


def words(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """The rows as a table, and what could not be read."""
    whole = [line for line in lines if not line["error"]]
    first = whole[0]["map"] if whole else ""
    likeness = [f"agreement.{first}"] if any(line["map"] != first for line in whole) else []
    header = ["image", "answer", "confidence", "map", *(_heading(name) for name in (*_SHOWN, *likeness))]
    shown = [_cells(line, (*_SHOWN, *likeness)) for line in whole]
    about = [_ABOUT] if shown else []
    about += [f"like {first}: rank correlation of the two maps, 1 the same, 0 unrelated."] if likeness else []
    numbered = [_NUMBERED] if whole and all(line["predicted"].isdecimal() for line in whole) else []
    empty = sum(line["explain.empty"] for line in whole)
    failed = [f"✖ {line['image']}: {line['error']}" for line in lines if line["error"]]
    widths = [max(len(row[k]) for row in [header, *shown]) + 2 for k in range(len(header))]
    table = [
        "".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [header, *shown]
    ]
    zero = [f"{empty:.0f} of {len(whole)} maps are zero everywhere: nothing speaks for the class."] if empty else []
    return [*(table if shown else []), *about, *numbered, *zero, *failed]


def _heading(name: str) -> str:
    kind, _, of = name.partition("_")
    return f"area of {of} %" if kind == "area" else name.replace("agreement.", "like ")


def _cells(line: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    answer = line["predicted"]
    if line["explained"] != answer:
        answer += f", not {line['explained']} ({100 * line['probability']:.1f} %)"
    measures = [line.get(f"explain.{name}") for name in names]
    return [
        _short(line["image"]),
        answer,
        f"{100 * line['confidence']:.1f} %",
        line["map"],
        *("–" if value is None else f"{value:z.2f}".replace("-", "−") for value in measures),
    ]


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"…{text[1 - _LONGEST :]}"
