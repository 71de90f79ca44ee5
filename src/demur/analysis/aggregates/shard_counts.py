"""One pass over the shards of a run, some at a time: what is counted of every row, in memory that rows do not fill.

Counted exactly, by condition, split, label and answer: rows, those that a policy answers, passes. Scores are counted in
cells (`metrics.score_grid`), whose ends are taken from the rows of the sample. Of clean rows the sums go along that
calibration is made of. Of images in groups some bytes are held for each image of one condition at a time.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from demur.analysis.aggregates.group_lines import GroupCounts, GroupedBins, GroupLines, joined
from demur.analysis.aggregates.group_views import choices, views
from demur.analysis.aggregates.row_counts import LoneBins, LoneRows, Tally, kinds
from demur.analysis.row_design import alike
from demur.analysis.run_folder import GROUP, Run
from demur.errors import RunError
from demur.metrics.calibration_sums import CalibrationSums
from demur.metrics.grouped_calibration import GroupedCalibration
from demur.metrics.score_grid import grid_cells, score_ends
from demur.policies import Sited
from demur.records import BATCH_SIZE, COLUMNS, DESIGN, LOGIT, META, PASSES, STAGED, wrong

_BATCH_ROWS, _BATCH_NUMBERS, _FEWEST_ROWS = 32_768, 8_000_000, 512


def batch_rows(logits: int) -> int:
    """How many rows are read together, where each has so many logits."""
    return min(_BATCH_ROWS, max(_FEWEST_ROWS, _BATCH_NUMBERS // max(1, logits)))


_OWN = ("sample_id", "split", "label", "group", "condition", "predicted", "forwards", "backwards", "error")


@dataclass(frozen=True)
class ShardCounts:
    """What one pass counted.

    Attributes:
        rows: `condition split label predicted fooled accepts.<policy>… count` of rows that could be measured, with
            `site` where the guarantee is by site; where some have design weights, of those drawn alike.
        grid: `condition signal split wrong cell count` of the same rows, of corruptions those that are tested.
        ends: `signal end`, the highest score of each cell in their order; of the last one the highest that was met.
        effort: `condition rows forwards backwards rebatched` of all rows, and the passes of those that take part.
        calibration: the sums of clean rows; None where no logits were kept.
        groups: what is known of the groups of images; None where images are independent.
    """

    rows: pl.DataFrame
    grid: pl.DataFrame
    ends: pl.DataFrame
    effort: pl.DataFrame
    calibration: CalibrationSums | GroupedCalibration | None
    groups: GroupCounts | None = None


def count_shards(run: Run, entries: Sequence[Mapping[str, Any]]) -> ShardCounts:
    """Count the rows of every condition that has labels, of a run that has a sample; its scores tell the cells.

    Raises:
        RunError: a shard cannot be read, or is not what the manifest says.
    """
    logits = has_logits(run, entries)
    grids = {signal: ScoreGrid(score_ends(*_sampled(run, signal))) for signal in run.signals}
    parts = [
        _count(run, entries, entry, grids, logits=logits and entry["kind"] == "clean") for entry in run.conditions()
    ]
    groups = [part.groups for part in parts if part.groups is not None]
    signals = pl.Enum(run.signals)
    return ShardCounts(
        rows=pl.concat(part.rows for part in parts),
        grid=pl.concat(part.grid for part in parts),
        ends=pl.concat(grid.table(pl.lit(name, dtype=signals)) for name, grid in grids.items()),
        effort=pl.concat([*(part.effort for part in parts), *_effort_beside(run, entries)]),
        calibration=next((part.calibration for part in parts if part.calibration), None),
        groups=joined(groups) if groups else None,
    )


def _effort_beside(run: Run, entries: Sequence[Mapping[str, Any]]) -> Iterator[pl.DataFrame]:
    """The effort of conditions that are not counted: sections, and images of none of the classes."""
    counted = {entry["name"] for entry in run.conditions()}
    for entry in run.facts["conditions"]:
        if entry["name"] not in counted:
            found = sum(
                (_spent(table, table) for table in batches(run, entries, entry)), np.zeros(len(_EFFORT), np.int64)
            )
            yield _effort(entry["name"], found)


def _effort(condition: str, spent: Any) -> pl.DataFrame:
    return pl.DataFrame([(condition, *map(int, spent))], schema=["condition", *_EFFORT], orient="row")


def _sampled(run: Run, signal: str) -> Iterator[Any]:
    """The scores of right and wrong clean rows of the sample, and of all other conditions together."""
    clean, name = run.rows("clean"), f"signal.{signal}"
    failed = pl.Series(wrong(clean), dtype=pl.Boolean)
    yield from (clean.filter(kind)[name].to_numpy() for kind in (~failed, failed))
    others = (run.rows(entry["name"]) for entry in run.conditions() if entry["kind"] != "clean")
    yield np.concatenate([np.zeros(0), *(rows[name].to_numpy() for rows in others)])


@dataclass
class ScoreGrid:
    """The cells of the scores of a signal, and the highest score that was met."""

    ends: Any
    top: float = -np.inf

    def cells(self, scores: Any) -> Any:
        """The cell of each score."""
        self.top = max(self.top, np.max(scores, initial=-np.inf))
        return grid_cells(scores, self.ends)

    def table(self, signal: Any) -> pl.DataFrame:
        """The ends; that of the last cell is the highest score where some lie in it."""
        below = self.ends[-2] if len(self.ends) > 1 else -np.inf
        last = self.top if self.top > below else np.inf
        return pl.DataFrame({"end": np.append(self.ends[:-1], last)}).select(signal.alias("signal"), "end")


@dataclass(frozen=True)
class _Part:
    """What was counted of one condition."""

    rows: pl.DataFrame
    grid: pl.DataFrame
    effort: pl.DataFrame
    calibration: CalibrationSums | GroupedCalibration | None
    groups: GroupCounts | None


def _count(
    run: Run,
    entries: Sequence[Mapping[str, Any]],
    entry: Mapping[str, Any],
    grids: Mapping[str, ScoreGrid],
    *,
    logits: bool,
) -> _Part:
    """The rows of one condition; with the sums of calibration where it has logits."""
    rows, bins = _counters(run, entry)
    tallies = {signal: Tally(("split", "wrong", "cell")) for signal in grids}
    spent = np.zeros(len(_EFFORT), np.int64)
    for table in batches(run, entries, entry, logits=logits):
        found = _taking_part(run, entry["name"], table)
        spent += _spent(table, found)
        found = alike(found)
        rows.add(kinds(run, entry, found), found)
        ranked = found.filter(pl.col("split") == "test") if entry["kind"] == "corruption" else found
        failed = pl.Series(wrong(ranked), dtype=pl.Boolean)
        for signal, tally in tallies.items():
            tally.add(_in_cells(ranked, failed, grids[signal].cells(ranked[f"signal.{signal}"].to_numpy())))
        if logits:
            bins.add(found.select(pl.col(f"^{LOGIT}.*$")).to_numpy(), found)
    conditions = pl.Enum([each["name"] for each in run.conditions()])
    name, signals = pl.lit(entry["name"], dtype=conditions).alias("condition"), pl.Enum(run.signals)
    named = [
        tally.table().select(name, pl.lit(signal, dtype=signals).alias("signal"), "split", "wrong", "cell", "count")
        for signal, tally in tallies.items()
    ]
    effort = _effort(entry["name"], spent)
    (table, groups), sums = rows.counted(), bins.sums() if logits else None
    named_groups = None if groups is None else groups.named(name)
    return _Part(table.select(name, pl.all()), pl.concat(named), effort, sums, named_groups)


def _counters(run: Run, entry: Mapping[str, Any]) -> tuple[LoneRows | GroupLines, LoneBins | GroupedBins]:
    if run.facts["groups"] is None:
        return LoneRows(), LoneBins()
    return GroupLines(views(run, entry), choices(run, entry)), GroupedBins()


def _taking_part(run: Run, condition: str, table: pl.DataFrame) -> pl.DataFrame:
    lost = run.lost(condition)
    found = table.filter(pl.col("error").is_null())
    return found.filter(~pl.col("sample_id").is_in(lost)) if lost else found


def batches(
    run: Run, entries: Sequence[Mapping[str, Any]], condition: Mapping[str, Any], *, logits: bool = False
) -> Iterator[pl.DataFrame]:
    """The rows of a condition, some shards at a time, with the columns that are counted."""
    schema = _schema(run, condition, logits=logits)
    own = [entry for entry in entries if entry["condition"] == condition["name"]]
    if not own:  # a condition of which nothing was drawn
        yield pl.DataFrame(schema=schema)
    for some in together(own, batch_rows(len(run.classes) if logits else 0)):
        yield read_shards(run.path, some, schema)


def read_shards(path: Path, entries: Sequence[Mapping[str, Any]], schema: Mapping[str, Any]) -> pl.DataFrame:
    """Some columns of some shards of one condition; those that a shard lacks are null."""
    files = [path / "records" / f"{entry['shard']}.parquet" for entry in entries]
    try:
        scan = pl.scan_parquet(files, schema=schema, missing_columns="insert", extra_columns="ignore", glob=False)
        table = scan.collect()
    except (pl.exceptions.PolarsError, OSError) as error:
        raise RunError(
            f"{path / 'records'}: one of {files[0].name} to {files[-1].name} cannot be read ({error}). Run the same "
            "audit again; it measures the shard anew."
        ) from None
    named, planned = set(table["condition"].unique()), sum(entry["rows"] for entry in entries)
    if len(table) != planned or named - {entry["condition"] for entry in entries}:
        raise RunError(
            f"{files[0].name} to {files[-1].name} must have {planned} rows of {entries[0]['condition']!r}, as "
            f"manifest.json says; they have {len(table)} of {', '.join(map(repr, sorted(named)[:2]))}. Run the same "
            "audit again."
        )
    return table


def together(entries: Sequence[Mapping[str, Any]], rows: int) -> Iterator[Sequence[Mapping[str, Any]]]:
    """Shards in their order, as many as have so many rows."""
    some, size = list[Mapping[str, Any]](), 0
    for entry in entries:
        some.append(entry)
        size += entry["rows"]
        if size >= rows:
            yield some
            some, size = [], 0
    if some:
        yield some


def _schema(run: Run, condition: Mapping[str, Any], *, logits: bool) -> dict[str, Any]:
    """The columns that are counted; of an attack all but what its stages cost, for how it is judged depends on them."""
    names = COLUMNS if condition["kind"] == "attack" else {name: COLUMNS[name] for name in _OWN}
    staged = {name: kind for name, kind in STAGED.items() if not name.startswith(PASSES)}
    found: dict[str, Any] = {**names, **(staged if condition["kind"] == "attack" else {BATCH_SIZE: pl.Int32()})}
    found |= {f"signal.{name}": pl.Float64() for name in run.signals}
    columns = {policy.column for policy in run.policies.values() if isinstance(policy, Sited)} - {GROUP}
    found |= {f"{META}{column}": pl.String() for column in columns}
    found |= DESIGN if condition["name"] in run.weighted else {}
    return found | ({f"{LOGIT}{k}": pl.Float32() for k in range(len(run.classes))} if logits else {})


def has_logits(run: Run, entries: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the clean rows of a run have the logits of all classes."""
    first = next(entry for entry in entries if entry["condition"] == "clean")
    names = pl.read_parquet_schema(run.path / "records" / f"{first['shard']}.parquet")
    return all(f"{LOGIT}{k}" in names for k in range(len(run.classes)))


_EFFORT = ("rows", "forwards", "backwards", "rebatched", "kept_forwards", "kept_backwards")


def _spent(table: pl.DataFrame, kept: pl.DataFrame) -> Any:
    """The numbers of `_EFFORT`: of all rows, and of those that take part the passes."""
    passes = [int(each[name].sum()) for each in (table, kept) for name in ("forwards", "backwards")]
    rebatched = table.filter(pl.col("error").is_null())[BATCH_SIZE].count()
    return np.array([len(table), *passes[:2], rebatched, *passes[2:]], np.int64)


def _in_cells(found: pl.DataFrame, failed: pl.Series, cells: Any) -> pl.DataFrame:
    told = found.select("split").with_columns(wrong=failed, cell=pl.Series(cells, dtype=pl.Int32))
    return told.group_by("split", "wrong", "cell").agg(count=pl.len().cast(pl.Int64))
