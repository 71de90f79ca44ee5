"""The points that attackers of the guard left, as rows of the images they were made from."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from demur.analysis.guard_shapes import ATTACKERS
from demur.analysis.run_folder import Flags, Run
from demur.records import wrong

NORM = "linf"
UNAWARE = ("minimal", "confident")
"""Attackers who do not know the guard."""

_ID = "sample_id"
_IDENTITY = pl.col(r"^(sample_id|split|label|group|meta\..*)$")


@dataclass(frozen=True, eq=False)
class GuardedRows:
    """What was found inside balls of one size round the same images, a row for each in the same order.

    Attributes:
        eps: the size, a fraction of the [0, 1] pixel range.
        clean: the images as they are.
        attackers: for each attacker the points kept: the answer, the scores, the distance, what they cost.
        withheld: for each share of the size, in ascending order, the right answers that are given as they are and
            withheld at some point no further away.
        confidence: the points at which answers stay and their scores mislead.
    """

    eps: float
    clean: pl.DataFrame
    attackers: Mapping[str, pl.DataFrame]
    withheld: Mapping[float, Flags]
    confidence: pl.DataFrame


def guarded_rows(run: Run) -> tuple[GuardedRows, ...]:
    """What was found at each size, in the order of the plan; empty where no guard was attacked."""
    facts = run.optional_facts("guard_attack")
    if facts is None or facts["reason"] is not None or run.guard is None:
        return ()
    return tuple(_of_size(run, run.optional_facts(f"guard_attack_{at}")) for at in range(len(facts["eps"])))


def _of_size(run: Run, facts: Mapping[str, Any]) -> GuardedRows:
    ids = facts["sample_ids"]
    clean = _joined(run.every_clean, pl.DataFrame({_ID: ids}, schema={_ID: pl.String}), how="inner")
    identity = clean.select(_IDENTITY)
    return GuardedRows(
        eps=facts["eps"],
        clean=clean,
        attackers={name: _joined(identity, _points(ids, facts["attackers"][name])) for name in ATTACKERS},
        withheld=_withheld(run, identity, ids, facts["abstention"]),
        confidence=_joined(identity, _points(ids, facts["confidence"])),
    )


def _joined(rows: pl.DataFrame, other: pl.DataFrame, how: Any = "left") -> pl.DataFrame:
    return rows.join(other, on=_ID, how=how, maintain_order="left")


def _points(ids: Sequence[str], found: Mapping[str, Any]) -> pl.DataFrame:
    """The columns of a record that decisions follow from, and those of the attack."""
    kinds = {"signal": found["scores"], "gap": found["surrogate_gap"]}
    numbers = {
        f"{kind}.{name}": [*map(_number, values)] for kind, each in kinds.items() for name, values in each.items()
    }
    plain = {name: found[name] for name in ("predicted", "forwards", "backwards", "zero_score_gradient")}
    columns = {_ID: ids, f"distance.{NORM}": found["distance"], **plain, **numbers}
    table = pl.DataFrame(columns, schema_overrides=dict.fromkeys(numbers, pl.Float64))
    return table.with_columns(pl.col(_ID).cast(pl.String))


def _number(value: float | str | None) -> float:
    """A score as JSON has it; what is no number is null there, and what is infinite a word."""
    return math.nan if value is None else float(value)


def _withheld(
    run: Run, identity: pl.DataFrame, ids: Sequence[str], found: Sequence[Mapping[str, Any]]
) -> dict[float, Flags]:
    """Smaller balls were searched for what was found in larger ones alone."""
    assert run.guard is not None
    flags = {}
    for each in sorted(found, key=lambda each: each["alpha"]):
        flags[each["alpha"]] = np.zeros(len(identity), np.bool_)
        if each["rows"]:
            points = identity.join(_points([ids[row] for row in each["rows"]], each), on=_ID, how="inner")
            reached = points.filter(~run.accepts(run.guard, points) & ~wrong(points))[_ID]
            flags[each["alpha"]] = identity[_ID].is_in(reached.implode()).to_numpy()
    return flags
