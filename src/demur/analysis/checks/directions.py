"""Checks of searches against each other."""

from collections.abc import Iterator, Mapping
from functools import reduce
from typing import Any

import polars as pl

from demur.analysis.beside import is_direction
from demur.analysis.checks.levels import sure_level
from demur.analysis.results import Check
from demur.analysis.robustness import known_as, smallest, unlimited
from demur.analysis.run import Run

_SLACK = 0.95
_MANY = 0.05


def directions(run: Run) -> Iterator[Check]:
    """Whether attacks find changes as small as a search along a straight line, of the same images and norm.

    A line is one of the ways an attack may go, so its smallest change can only be an upper bound.
    """
    everywhere = [entry for entry in run.conditions("epsilon") if entry["region"] is None]
    straight = [entry for entry in everywhere if is_direction(entry)]
    ended = [entry for entry in run.conditions("attack", "nearest") if unlimited(entry) and not entry.get("target")]
    for entry in [*(entry for entry in everywhere if not is_direction(entry)), *ended]:
        lines = [_changes(run, line) for line in straight if line["norm"] == entry["norm"]]
        if lines:
            yield _shorter(_changes(run, entry), reduce(_either, lines), entry)


def _changes(run: Run, entry: Mapping[str, Any]) -> pl.DataFrame:
    rows = run.rows(entry["name"])
    return pl.DataFrame({"sample_id": rows["sample_id"], "change": smallest(rows)})


def _either(one: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """The smaller of two lines' changes of the same images."""
    return pl.concat([one, other]).group_by("sample_id", maintain_order=True).min()


def _shorter(attack: pl.DataFrame, line: pl.DataFrame, entry: Mapping[str, Any]) -> Check:
    """A twentieth more is no sign of weakness: an attack ends on one side of the edge, and counts its steps."""
    both = attack.join(line, on="sample_id", suffix=".line")
    found, along = both["change"].to_numpy(), both["change.line"].to_numpy()
    behind = int((along < _SLACK * found).sum())
    return Check(
        name="attacks go no further than lines",
        state=sure_level(behind, len(both), _MANY, 1.0),
        sentence=f"Images that a straight line flips by a clearly smaller change than {known_as(entry['family'])} does",
        count=behind,
        of=len(both),
    )
