"""Attacks in words: sizes in one unit, stages that add up, and which kind of point a table is about."""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from demur.analysis.quantity import Quantity
from demur.analysis.results import Results
from demur.analysis.robustness.attack_tables import AttackRow
from demur.analysis.robustness.robust_accuracy import Robustness
from demur.report.phrases import DASH
from demur.report.short_titles import Named

NORMS: Mapping[str, str] = {"linf": "L∞", "l2": "L2", "l1": "L1"}


@dataclass(frozen=True, kw_only=True)
class StageLine:
    """One line of an ensemble: images it was run on, those it fooled first, those that stand after it, its passes."""

    name: str
    n: int | None
    fooled: int
    standing: int
    passes: int | None


def stage_lines(found: Robustness) -> Iterator[StageLine]:
    """From the images that were wrong already to those that nothing fooled; each line starts from the one above."""
    wrong = round(found.n * (1 - found.accuracy.value))
    standing = found.n - wrong
    yield StageLine(name="wrong before any change", n=None, fooled=wrong, standing=standing, passes=None)
    for stage in found.stages:
        standing -= stage.successes
        yield StageLine(
            name=stage.name.upper().replace("_", "-"),
            n=stage.n,
            fooled=stage.successes,
            standing=standing,
            passes=stage.passes,
        )


def size_percent(size: float, norm: str) -> str:
    """A size: of L∞ in per cent of full brightness, of other norms a length.

    >>> size_percent(0.016953, "linf"), size_percent(0.0004, "linf"), size_percent(1.234, "l2")
    ('1.7 %', '0.04 %', '1.23')
    """
    if math.isnan(size):
        return DASH
    return f"{size * 100:.2g} %" if norm == "linf" else f"{size:.3g}"


def size_interval(found: Quantity, norm: str) -> str:
    """The interval of a size in the same unit, without it; empty where there is none.

    >>> size_interval(Quantity(value=0.017, low=0.0158, high=0.0183, n=100), "linf")
    '1.6–1.8'
    """
    if math.isnan(found.low) or math.isnan(found.high):
        return ""
    return "–".join(size_percent(end, norm).removesuffix(" %") for end in (found.low, found.high))


def attack_groups(results: Results) -> Iterator[tuple[str, tuple[AttackRow, ...]]]:
    """The attacks by the points they keep, so that points of a size and minimal ones are not read as one ranking."""
    nearest = {condition for condition, found in results.titles.items() if found.points}
    kinds = (
        (
            "Points of the stated size: how many stand there",
            [row for row in results.attacks if row.condition not in nearest],
        ),
        (
            "Nearest points: how many stand at the stated size, and how near the nearest image is that fools it",
            [row for row in results.attacks if row.condition in nearest],
        ),
    )
    yield from ((title, tuple(rows)) for title, rows in kinds if rows)


def is_minimal(row: Named, results: Results) -> bool:
    """Whether the points kept of a condition are not of the size it is judged at."""
    found = results.titles.get(row.condition)
    return found is not None and found.points is not None
