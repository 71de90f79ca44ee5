"""`demur list`: every name demur knows."""

from typing import Annotated

import typer

from demur.errors import unknown
from demur.registry import TABLES, names


def list_names(
    kind: Annotated[str | None, typer.Argument(help=f"One of {', '.join(TABLES)}.")] = None,
) -> None:
    """List the names that plans and addresses may use."""
    if kind is not None and kind not in TABLES:
        raise unknown("kind", kind, TABLES)
    for each in TABLES if kind is None else (kind,):
        print(f"{each:<12}{' '.join(names(each))}")
