"""What is held of the groups of one condition while its shards are read, and what is left of it: sums over groups.

A group may have images in any shard. So a line is held for each group and each kind of row that it has: how many, and
the smallest hash of their ids. When all shards of the condition were read, groups that have as many rows of each kind
count as several of one, and what shares and their intervals are made of is summed over them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
import polars as pl

from demur.metrics.calibration_sums import CalibrationRows, CalibrationSums
from demur.metrics.grouped_calibration import BinLines, GroupedCalibration
from demur.metrics.units import id_hashes
from demur.records import unit_names

_TOGETHER = 500_000
"""About so many lines are merged at a time."""

_UNIT, _CODE, _LEAST = "unit", "code", "least"


@dataclass(frozen=True)
class View:
    """Kinds of rows that some shares are about: columns by which rows are told apart.

    A share is of rows that have the same values of `by`; a group then counts once for each of these. Of a view that is
    `whole` it is of all of these rows, and one kind of them is flagged: less is kept then.
    """

    name: str
    columns: tuple[str, ...]
    by: tuple[str, ...] = ()
    whole: bool = False


@dataclass(frozen=True)
class Choice:
    """Rows of which one stands for each group: that whose id has the smallest hash among those of the same `by`."""

    name: str
    by: tuple[str, ...] = ()


@dataclass(frozen=True)
class GroupCounts:
    """What is known of groups, under some conditions.

    Attributes:
        cells: `condition view cell` and the columns of the view; a cell is a kind of row.
        pairs: `condition view a b sum`, Σ of the products of how many rows of two cells groups have; null stands for
            all cells of the same `by` of a view that is whole.
        supports: `condition view support cell units`, how many groups have rows of the cells of a support, and no
            others; a support has a line for each of its cells.
        singles: `condition choice`, the columns that rows are counted by, and `count`: of one row of each group.
    """

    cells: pl.DataFrame
    pairs: pl.DataFrame
    supports: pl.DataFrame
    singles: pl.DataFrame

    @property
    def tables(self) -> dict[str, pl.DataFrame]:
        """The tables by name."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def named(self, condition: pl.Expr) -> "GroupCounts":
        """The same led by the name of its condition."""
        return GroupCounts(*(table.select(condition, pl.all()) for table in self.tables.values()))


def joined(parts: Sequence[GroupCounts]) -> GroupCounts:
    """Those of several conditions."""
    return GroupCounts(
        *(pl.concat(each, how="diagonal") for each in zip(*(part.tables.values() for part in parts), strict=True))
    )


@dataclass
class GroupLines:
    """The lines of a condition, as its rows are read, and what is to be told of it."""

    views: Sequence[View]
    choices: Sequence[Choice]
    codes: dict[tuple[Any, ...], int] = field(default_factory=dict)
    lines: list[pl.DataFrame] = field(default_factory=list)
    schema: Mapping[str, Any] = field(default_factory=dict)

    def add(self, kinds: pl.DataFrame, found: pl.DataFrame) -> None:
        """Some more rows, and by which columns each is counted."""
        columns = kinds.columns
        self.schema = kinds.schema
        told = kinds.with_row_index("row").group_by(columns, maintain_order=True).agg("row")
        codes = [self.codes.setdefault(each, len(self.codes)) for each in told.select(columns).rows()]
        place = told.select("row", pl.Series(_CODE, codes, dtype=pl.UInt32)).explode("row").sort("row")
        rows = units_of(found).with_columns(place[_CODE])
        own = rows.group_by(_UNIT, _CODE).agg(count=pl.len().cast(pl.UInt32), least=pl.col(_LEAST).min())
        self.lines.append(own)

    @property
    def kinds(self) -> pl.DataFrame:
        """The columns that rows are counted by, and the code of each kind of row."""
        found = pl.DataFrame(list(self.codes), schema=self.schema, orient="row").with_row_index(_CODE)
        return found.with_columns(wrong=pl.col("predicted") != pl.col("label"))

    def merged(self) -> Iterator[pl.DataFrame]:
        """A line for each group and kind, all of some groups at a time."""
        for some in _parts(self.lines):
            yield some.group_by(_UNIT, _CODE).agg(pl.col("count").sum().cast(pl.Int64), pl.col(_LEAST).min())

    def counted(self) -> tuple[pl.DataFrame, GroupCounts]:
        """How many rows there are of each kind, and what is known of the groups; without the condition."""
        kinds = self.kinds
        every, singles = np.zeros(len(kinds), np.int64), [np.zeros(len(kinds), np.int64) for _ in self.choices]
        moments = [_Moments.of(view, kinds) for view in self.views]
        for lines in self.merged():
            every += _by_code(lines, len(kinds))
            for choice, numbers in zip(self.choices, singles, strict=True):
                numbers += _by_code(_singles(lines, kinds, choice), len(kinds))
            alike = _profiles(lines)
            for own in moments:
                own.add(alike)
        tables = zip(*(own.tables for own in moments), strict=True)
        cells, pairs, supports = (pl.concat(each, how="diagonal") for each in tables)
        return _rows(kinds, every), GroupCounts(cells, pairs, supports, self._singles(kinds, singles))

    def _singles(self, kinds: pl.DataFrame, numbers: Sequence[Any]) -> pl.DataFrame:
        """How many rows that stand for their group there are of each kind, choice by choice."""
        none = [_rows(kinds, np.zeros(len(kinds))).select(pl.lit("").alias("choice"), pl.all())]
        pairs = zip(self.choices, numbers, strict=True)
        return pl.concat(
            none + [_rows(kinds, own).select(pl.lit(choice.name).alias("choice"), pl.all()) for choice, own in pairs]
        )


def units_of(found: pl.DataFrame) -> pl.DataFrame:
    """The group of each row, by a hash of its name, and the hash of its id."""
    least = pl.Series(_LEAST, id_hashes(found["sample_id"].to_list()), dtype=pl.UInt64)
    return pl.DataFrame([unit_names(found).hash().alias(_UNIT), least])


def _parts(lines: Sequence[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Lines of some groups at a time, all of each."""
    every = pl.concat(lines, rechunk=False)
    parts = 1 + every.height // _TOGETHER
    for part in range(parts):
        yield every.filter(pl.col(_UNIT) % parts == part) if parts > 1 else every


def _by_code(lines: pl.DataFrame, size: int) -> Any:
    found = lines.group_by(_CODE).agg(pl.col("count").sum())
    return np.bincount(found[_CODE].to_numpy(), found["count"].to_numpy(), minlength=size).astype(np.int64)


def _rows(kinds: pl.DataFrame, counts: Any) -> pl.DataFrame:
    columns = [name for name in kinds.columns if name not in {_CODE, "wrong"}]
    found = kinds.select(columns).with_columns(count=pl.Series(counts, dtype=pl.Int64)).filter(pl.col("count") > 0)
    return found.sort(columns)


def _singles(lines: pl.DataFrame, kinds: pl.DataFrame, choice: Choice) -> pl.DataFrame:
    """One row of each group in each split, told by its code."""
    by = ("split", *choice.by)
    own = kinds.filter(pl.col("split").is_in(["certify", "test"])).select(_CODE, *by)
    own = lines.join(own, on=_CODE).sort(_LEAST).unique([_UNIT, *by], keep="first")
    return own.with_columns(count=pl.lit(1, dtype=pl.Int64))


def _profiles(lines: pl.DataFrame) -> pl.DataFrame:
    """Of groups that have as many rows of each kind one alone, and `times`, how many such groups there are."""
    marks = lines.select(_UNIT, mark=pl.struct(_CODE, "count").hash())
    profiles = marks.group_by(_UNIT).agg(profile=pl.col("mark").sum())
    first = profiles.group_by("profile").agg(pl.col(_UNIT).first(), times=pl.len().cast(pl.Int64))
    return lines.join(first.drop("profile"), on=_UNIT)


@dataclass
class _Moments:
    """The sums of a view, as groups are added."""

    view: View
    cells: pl.DataFrame
    place: pl.DataFrame
    pairs: list[pl.DataFrame] = field(default_factory=list)
    supports: list[pl.DataFrame] = field(default_factory=list)

    @classmethod
    def of(cls, view: View, kinds: pl.DataFrame) -> "_Moments":
        columns = list(view.columns)
        cells = kinds.select(columns).unique().sort(columns).with_row_index("cell")
        place = kinds.join(cells, on=columns, nulls_equal=True).select(_CODE, "cell", *view.by)
        return cls(view, cells, place)

    def add(self, lines: pl.DataFrame) -> None:
        """Some more groups, all lines of each."""
        unit = [_UNIT, *self.view.by]
        own = lines.join(self.place, on=_CODE)
        own = own.group_by(*unit, "cell").agg(pl.col("count").sum(), pl.col("times").first())
        if self.view.whole:
            self._add_whole(own, unit)
            return
        product = pl.col("count") * pl.col("count_right") * pl.col("times")
        self.pairs.append(own.join(own, on=unit).group_by(a="cell", b="cell_right").agg(sum=product.sum()))
        marks = own.group_by(unit).agg(support=pl.col("cell").hash().sum())
        self.supports.append(own.join(marks, on=unit).group_by("support", "cell").agg(units=pl.col("times").sum()))

    def _add_whole(self, own: pl.DataFrame, unit: list[str]) -> None:
        """The products of each cell with itself and with all; as support all cells of the same `by`."""
        by = list(self.view.by)
        every = own.group_by(unit).agg(pl.col("count").sum().alias("all"), pl.col("times").first())
        for other, product in ((pl.col("cell"), pl.col("count")), (pl.lit(None, pl.UInt32), pl.col("all"))):
            lines = own.join(every.drop("times"), on=unit).with_columns(a=pl.col("cell"), b=other)
            self.pairs.append(lines.group_by("a", "b").agg(sum=(pl.col("count") * product * pl.col("times")).sum()))
        units = every.group_by(by).agg(units=pl.col("times").sum()).with_columns(support=pl.struct(by).hash())
        self.supports.append(
            units.join(self.place.select("cell", *by).unique(), on=by).select("support", "cell", "units")
        )

    @property
    def tables(self) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
        """Cells, pairs and supports, each led by the name of the view."""
        pairs = pl.concat(self.pairs).group_by("a", "b").agg(pl.col("sum").sum()).sort("a", "b")
        supports = pl.concat(self.supports).group_by("support", "cell").agg(pl.col("units").sum())
        found = self.cells, pairs, supports.sort("support", "cell")
        named = (table.select(pl.lit(self.view.name).alias("view"), pl.all()) for table in found)
        cells, pairs, supports = named
        return cells, pairs, supports


@dataclass
class GroupedBins:
    """What calibration is made of, by group and bin, as rows are read; row by row while none has a group."""

    lines: list[pl.DataFrame] = field(default_factory=list)
    lone: CalibrationSums | None = field(default_factory=CalibrationSums.empty)

    def add(self, logits: Any, found: pl.DataFrame) -> None:
        """Some more rows, with their logits."""
        if self.lone is not None:
            alone = found["group"].null_count() == len(found)
            self.lone = self.lone.plus(logits, found["label"].to_numpy()) if alone else None
        rows = CalibrationRows.of(logits, found["label"].to_numpy())
        numbers = {"confidence": rows.confidence, "surprise": rows.surprise, "distance": rows.distance}
        place = pl.Series(rows.place, dtype=pl.UInt8)
        own = units_of(found).with_columns(place=place, right=pl.Series(rows.right > 0), **_series(numbers))
        sums = pl.col("right").sum(), *(pl.col(name).sum() for name in numbers)
        self.lines.append(own.group_by(_UNIT, "place").agg(pl.len().alias("n"), pl.col(_LEAST).min(), *sums))

    def sums(self) -> GroupedCalibration | CalibrationSums:
        """The sums over groups, or over rows where none has a group."""
        if self.lone is not None:
            return self.lone
        found, totals = GroupedCalibration.empty(), list[pl.DataFrame]()
        sums = [pl.col(name).sum() for name in ("n", "right", "confidence", "surprise", "distance")]
        for some in _parts(self.lines):
            lines = some.group_by(_UNIT, "place").agg(*sums, pl.col(_LEAST).min())
            found = found.plus(_bin_lines(lines))
            own = lines.group_by(_UNIT).agg(pl.col("n", "surprise", "distance").sum(), pl.col(_LEAST).min())
            totals.append(own)
        every = pl.concat(totals).sort(_LEAST)
        return found.with_blocks(every.select("n", "surprise", "distance").to_numpy().astype(np.float64))


def _series(numbers: Mapping[str, Any]) -> dict[str, pl.Series]:
    return {name: pl.Series(values, dtype=pl.Float64) for name, values in numbers.items()}


def _bin_lines(lines: pl.DataFrame) -> BinLines:
    units = np.unique(lines[_UNIT].to_numpy(), return_inverse=True)[1]
    place, n, right = (lines[name].to_numpy().astype(np.int64) for name in ("place", "n", "right"))
    return BinLines(
        units, place, n, right, *(lines[name].to_numpy() for name in ("confidence", "surprise", "distance"))
    )
