"""`demur attack`: adversarial images as files, checked."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from demur.cli.settings import Limit

_TRUST = "model.trust_labels"

Model = Annotated[str, typer.Argument(help="Model address, such as fashion or zoo:resnet20@w.safetensors?mean=…")]
Data = Annotated[str, typer.Argument(help="Data address, such as fashion, digits or parquet:test.parquet")]
Attacks = Annotated[
    list[str],
    typer.Option(
        "--attack",
        metavar="NAME(…)",
        help="Such as 'pgd(eps=[2/255, 8/255])', from `demur list attack`; again for another.",
    ),
]
Out = Annotated[Path, typer.Option(metavar="DIR", help="Folder for the files.")]
Transfer = Annotated[
    list[str] | None,
    typer.Option(metavar="MODEL", help="Another model: every model classifies all adversarial images."),
]
Format = Annotated[Literal["safetensors", "npz"], typer.Option("--format", help="Of the arrays.")]
Quantised = Annotated[bool, typer.Option(help="Also write 8-bit images, and count the successes this loses.")]
Trust = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help=f"Only {_TRUST}=true: attack a model though it scores like guessing."
    ),
]


def attack(
    model: Model,
    data: Data,
    attacks: Attacks,
    out: Out,
    limit: Limit = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    batch: Annotated[int, typer.Option(help="Images per pass.")] = 128,
    device: Annotated[str | None, typer.Option(help="Where the models run, such as cuda; by default the CPU.")] = None,
    transfer: Transfer = None,
    suffix: Format = "safetensors",
    quantised: Quantised = True,
    set_: Trust = None,
    json: Annotated[bool, typer.Option("--json", help="Print attack.json instead of words.")] = False,
) -> None:
    """Attack a model; write the adversarial images, check them, and summarise the result."""
    asked: dict[str, Any] = {
        "limit": limit,
        "seed": seed,
        "batch": batch,
        "device": device,
        "suffix": suffix,
        "quantised": quantised,
    }
    trusted = _trusted(set_ or ())
    from demur.cli.settings import progress_display
    from demur.files import read_json
    from demur.pipeline.export import export

    models = [model, *(transfer or ())]
    with progress_display() as progress:
        note = export(models, data, attacks, out, **asked, trust_labels=trusted, progress=progress)
    found = read_json(note)
    print(note.read_text("utf-8").rstrip("\n") if json else "\n".join([*attack_words(found), f"Files: {note}"]))
    raise typer.Exit(int(failed(found)))


def _trusted(given: Sequence[str]) -> bool:
    """Whether the labels are to be believed, the one key of a plan that an attack has use for."""
    from demur.errors import unknown
    from demur.pipeline.plan.plan_file import read_plan

    for setting in given:
        if setting.partition("=")[0].strip() != _TRUST:
            raise unknown("setting", setting.partition("=")[0], [_TRUST])
    return read_plan(None, given, shipped=False).model.trust_labels


def failed(found: Mapping[str, Any]) -> bool:
    """Whether the measurement failed: answers that change when they are asked for again."""
    checks = [check for model in found["models"] for check in model["checks"]]
    again = [entry["reloaded"] for entry in found["exports"]]
    return any(check["state"] == "fail" for check in checks) or any(one["same"] < one["of"] for one in again)


def attack_words(found: Mapping[str, Any]) -> list[str]:
    """The result, a few lines for each attack."""
    lines = []
    if found["unreadable"]:
        lines.append(f"{found['unreadable']:,} images could not be read and were not attacked.")
    for model in found["models"]:
        lines += [
            f"✖ {model['name']}: {c['sentence']} ({c['count']:,} of {c['of']:,})."
            for c in model["checks"]
            if c["state"] == "fail"
        ]
    for entry in found["exports"]:
        lines += [
            f"{entry['attack']} on {found['models'][entry['model']]['name']}",
            *(f"  {line}" for line in _of(entry)),
        ]
    for each in found["transfer"]:
        lines += ["", *_matrix(each, [model["name"] for model in found["models"]])]
    return lines


def _of(entry: Mapping[str, Any]) -> list[str]:
    lines = [
        f"Robust accuracy{_whatever(entry)} {_share(entry['robust_accuracy'])} of {entry['n']:,} images.",
        f"Success {_share(entry['success'])}: {entry['successful']:,} of {entry['right']:,} that were right before.",
        f"{_change(entry)}; {_each(entry, 'forwards')} forward and {_each(entry, 'backwards')} backward passes each.",
        _again(entry["reloaded"]),
    ]
    if entry["reached"]:
        lines.insert(2, f"Taken for the target: {_share(entry['reached'])}.")
    if "rounded" in entry:
        lines.append(_rounded(entry["rounded"]))
    if entry["flags"]:
        lines.append("Flags: " + ", ".join(f"{name} {count:,}" for name, count in entry["flags"].items()) + ".")
    return [*lines, *(f"It failed on {count:,} images: {reason}." for reason, count in entry["crashes"].items())]


def _whatever(entry: Mapping[str, Any]) -> str:
    return " against changes of any size" if entry["eps"] is None and entry["norm"] != "none" else ""


def _each(entry: Mapping[str, Any], passes: str) -> str:
    return f"{entry[passes] / entry['n']:.1f}"


def _change(entry: Mapping[str, Any]) -> str:
    found, norm = entry["median_change"], str(entry["norm"])
    if found["value"] is None:
        return f"Median change undefined ({found['reason']})"
    unit = 255 if norm == "linf" else 1
    value, low, high = (None if found[end] is None else f"{unit * found[end]:.3g}" for end in ("value", "low", "high"))
    ends = f" ({low} to {high})" if low and high else ""
    return f"Median change {value}{ends}{'/255 a pixel' if norm == 'linf' else f' in {norm.upper()}'}"


def _again(found: Mapping[str, Any]) -> str:
    most, others = f"{found['largest_difference']:.1g}", found["of"] - found["same"]
    if others:
        return f"✖ Read back: {others:,} of {found['of']:,} predictions are others; logits differ by up to {most}."
    return f"Read back: the same {found['of']:,} predictions; logits differ by at most {most}."


def _rounded(found: Mapping[str, Any]) -> str:
    left = f"; {found['outside']:,} of them are larger than eps" if found["outside"] else ""
    return (
        f"In 8 bits: of {found['successful']:,} successful, {found['survived']:,} survive{left}; lost "
        f"{_share(found['lost'])}."
    )


def _share(found: Mapping[str, Any]) -> str:
    if found["value"] is None:
        return f"undefined ({found['reason']})"
    return f"{100 * found['value']:.1f} % ({100 * found['low']:.1f} to {100 * found['high']:.1f})"


def _matrix(found: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Robust accuracy, and in brackets the share of successes that carry over."""
    cells = [
        [f"{_percent(accuracy)} ({_percent(carried)})" for accuracy, carried in zip(*rows, strict=True)]
        for rows in zip(found["robust_accuracy"], found["carried"], strict=True)
    ]
    wide = max(len(text) for text in [*names, *(cell for row in cells for cell in row), "found on"]) + 2
    return [
        f"{found['attack']}: robust accuracy (share of the successes that carry over); rows attacked, columns asked",
        "".join(text.ljust(wide) for text in ["", *names]).rstrip(),
        *("".join(text.ljust(wide) for text in [name, *row]).rstrip() for name, row in zip(names, cells, strict=True)),
    ]


def _percent(found: Mapping[str, Any]) -> str:
    return "–" if found["value"] is None else f"{100 * found['value']:.1f} %"
