"""Options that several commands share, and the plan they make together."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from demur.audit.plan import Plan

Model = Annotated[
    str | None, typer.Argument(help="Model address, such as fashion or zoo:resnet20@w.safetensors?mean=…&std=…")
]
Data = Annotated[str | None, typer.Argument(help="Data address, such as fashion, digits or parquet:test.parquet")]
PlanFile = Annotated[Path | None, typer.Option("--plan", help="A TOML plan; other options win over it.")]
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Set one plan key, such as data.limit=2000.")
]
Limit = Annotated[int | None, typer.Option(help="Use the N images with the smallest hashes.")]
Risk = Annotated[float | None, typer.Option(help="Largest tolerable share of wrong answers, such as 0.02.")]
Prevalence = Annotated[
    str | None,
    typer.Option(metavar="NAME=SHARE", help="How common the positive class is in use, such as positive=0.005."),
]
Batch = Annotated[int | None, typer.Option(help="Images per pass.")]
Seed = Annotated[int | None, typer.Option(help="Seed of everything random.")]


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
) -> "Plan":
    """The plan of a command line: options over --set over the file over defaults."""
    from demur.audit.plan import read_plan

    given: dict[str, Any] = {
        "model.address": model,
        "data.address": data,
        "data.limit": limit,
        "data.prevalence": prevalence,
        "batch": batch,
        "seed": seed,
    }
    found = read_plan(plan, settings or (), {key: value for key, value in given.items() if value is not None})
    return found if risk is None else found.at_risk(risk)
