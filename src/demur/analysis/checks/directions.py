"""Checks of searches against each other."""

from collections.abc import Iterator
from functools import reduce

import polars as pl

from demur.analysis.checks.levels import sure_level
from demur.analysis.results import Check
from demur.analysis.robustness import known_as
from demur.analysis.run import Run
from demur.analysis.searching import Entry, attack_searches, changes, is_direction, section_searches

_SLACK = 0.95
_MANY = 0.05


def directions(run: Run) -> Iterator[Check]:
    """Whether attacks find changes as small as a search along a straight line, of the same images and norm.

    A line is one of the ways an attack may go, so its smallest change can only be an upper bound.
    """
    searches = [*section_searches(run)]
    straight = [entry for entry in searches if is_direction(entry)]
    for entry in (*(entry for entry in searches if not is_direction(entry)), *attack_searches(run)):
        lines = [changes(run, line, "line") for line in straight if line["norm"] == entry["norm"]]
        if lines:
            yield _shorter(changes(run, entry, "attack"), reduce(_either, lines), entry)


def _either(one: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """The smaller of two lines' changes of the same images."""
    return pl.concat([one, other]).group_by("sample_id", maintain_order=True).min()


def _shorter(attack: pl.DataFrame, line: pl.DataFrame, entry: Entry) -> Check:
    """A twentieth more is no sign of weakness: an attack ends on one side of the edge, and counts its steps."""
    both = attack.join(line, on="sample_id")
    found, along = both["attack"].to_numpy(), both["line"].to_numpy()
    behind = int((along < _SLACK * found).sum())
    return Check(
        name="attacks go no further than lines",
        state=sure_level(behind, len(both), _MANY, 1.0),
        sentence=f"Images that a straight line flips by a clearly smaller change than {known_as(entry['family'])} does",
        count=behind,
        of=len(both),
    )
