"""How many rows strata may make of a sample, told before any image is read.

Which rows are drawn depends on the content of the images. The bound is of what is known without them: how many rows
there are, and of each stratum those that the data list, or how many classes there are.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import ceil, sqrt

from demur.compact import numbers_in
from demur.data import Source
from demur.data.compact_rows import CompactRows
from demur.data.lost_images import ListedSource
from demur.data.relabelled import RelabelledSource
from demur.pipeline.plan.plan_tables import Conditions
from demur.splits import shares_of

LABEL, GROUP = "label", "group"

USUAL_LEAST = 30
"""Rows of each stratum where the plan does not say how many."""


@dataclass(frozen=True, kw_only=True)
class StrataBound:
    """What strata may make of a sample.

    Attributes:
        name: `label`, `group` or a column; None where rows are drawn alike.
        least: rows of each stratum in each split.
        sizes: rows of each stratum in all splits, at most; None where nobody knows before the images are read.
    """

    name: str | None = None
    least: int = USUAL_LEAST
    sizes: tuple[int, ...] | None = ()

    @classmethod
    def of(cls, plan: Conditions, source: Source) -> "StrataBound":
        """The bound for the images of a source."""
        if plan.strata is None:
            return DRAWN_ALIKE
        least = USUAL_LEAST if plan.least is None else plan.least
        return cls(name=plan.strata, least=least, sizes=_sizes(source, plan.strata))

    def most(self, count: int, population: int, splits: int) -> int:
        """How many rows are measured at most where `count` of a population in so many splits are asked for."""
        if self.sizes is None:
            return population
        return min(population, count + sum(min(splits * self.least, size) for size in self.sizes))

    def growth(self, field: str, count: int, most: int, population: int) -> Iterator[str]:
        """What is to be said where a sample may become more than twice what was asked; nothing where it cannot.

        Args:
            field: of the plan, that says how many are asked for.
            count: how many that is.
            most: how many it may become.
            population: images they are drawn from, about.
        """
        if self.name is None or most <= 2 * count:
            return
        known = "" if self.sizes is not None else f"; how many values {self.name!r} has is not known before, either"
        large = "all" if most == population else f"up to {most:,}"
        yield (
            f"strata may make a sample larger: `{field}` asks for {count:,}, and at least {self.least} of each "
            f"{self.name!r} in each split may make it {large} of about {population:,} images. How many depends "
            f"on the content of the images{known}: demur plan --estimate reads them, and says how many are measured."
        )


DRAWN_ALIKE = StrataBound()


def listed_test_rows(source: Source) -> int | None:
    """How many rows a user's own split tests at most; None where the data list none, or name one held-out part alone.

    Rows of which it says nothing may be among them.
    """
    found = Counter(row.split for row in _listed_rows(source))
    held_out = set(found) - {"train", None}
    return None if not held_out or set(found) - {"train"} in ({"test"}, {"val"}) else found["test"] + found[None]


def hashed_test_rows(source: Source, rows: int) -> int:
    """About how many of so many rows of a source are tested where splits are shared out by hash: hardly ever more.

    It is what is expected and four standard deviations: as many as the shares of the whole set make of the rows that
    are kept, groups as a whole. Images that the model learned from, or that equal others, are not known of here.
    """
    listed = _listed_rows(source)
    share = shares_of(len(source) - int(listed.own_splits.are("train").sum()))["test"]
    groups = Counter(group for group in listed.groups if group is not None)
    squares = sum(size**2 for size in groups.values()) + len(source) - groups.total()
    squares = min(squares, rows * max(groups.values(), default=1))
    return min(rows, ceil(rows * share + 4 * sqrt(share * (1 - share) * squares)))


def _listed_rows(source: Source) -> CompactRows:
    """The rows of a source, as far as they are known before its images are; labels may be of other classes."""
    if isinstance(source, RelabelledSource):
        return _listed_rows(source.source)
    return CompactRows.of(source.listed if isinstance(source, ListedSource) else ())


def _sizes(source: Source, name: str) -> tuple[int, ...] | None:
    found = tuple(_counts(source, name).values())
    if name == LABEL and not found:
        return (len(source),) * len(source.classes)
    return found or None


def _counts(source: Source, name: str) -> Counter[object]:
    """How often each value stands in the rows that a source lists; empty where it lists none or has no such column."""
    if isinstance(source, RelabelledSource):
        return Counter() if name == LABEL else _counts(source.source, name)
    found = Counter(_values(_listed_rows(source), name))
    return found if any(value is not None for value in found) else Counter()


def _values(rows: CompactRows, name: str) -> Iterable[object]:
    if name in {LABEL, GROUP}:
        return numbers_in(rows.labels) if name == LABEL else rows.groups
    return rows.metadata.get(name, ())
