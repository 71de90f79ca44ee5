"""Result tables as files for a spreadsheet: one row per line, numbers with their ends and counts beside them."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeAlias

import polars as pl

from demur.analysis.quantity import Quantity, Table
from demur.analysis.results import Results
from demur.analysis.robustness.censored_quantiles import CensoredQuantile
from demur.records import csv_bytes

Line: TypeAlias = dict[str, str | int | float | bool | None]

FOLDER = "tables"

_MAP_TABLES = {
    "measures": "measures",
    "localisations": "localisations",
    "agreements": "agreements",
    "sanity": "sanity",
    "map-classes": "per_class",
}
_REGION_TABLES = {"region-classes": "per_class", "occlusions": "occlusions"}


def csv_tables(results: Results) -> dict[str, pl.DataFrame]:
    """Every table that has lines, by the name of its file."""
    found = {name: list(lines) for tables in _TABLES for name, lines in tables(results)}
    return {f"{name}.csv": _frame(lines) for name, lines in found.items() if lines}


def table_files(results: Results) -> dict[str, bytes]:
    """Every table as a file of `tables/` in a run folder, by its name."""
    return {f"{FOLDER}/{name}": csv_bytes(table) for name, table in csv_tables(results).items()}


def flat(row: Table) -> Line:
    """The cells of one row of a table: numbers with their ends, counts and units; rows within it are left out.

    >>> from demur.metrics import wilson
    >>> sorted(flat(Quantity.of(wilson(1, 2))))
    ['high', 'low', 'n', 'reason', 'unit', 'value']
    """
    line: Line = {}
    for name in type(row).model_fields:
        line |= _cells(name, getattr(row, name))
    return line


def _cells(name: str, value: Any) -> Line:
    if isinstance(value, Quantity | CensoredQuantile):
        ends = {f"{name}_{end}": getattr(value, end) for end in ("low", "high", "n", "unit", "reason")}
        above = {f"{name}_above": " ".join(value.above)} if isinstance(value, CensoredQuantile) else {}
        return {name: value.value} | ends | above
    if isinstance(value, tuple) and value and all(isinstance(each, str) for each in value):
        return {name: " ".join(value)}
    return {} if isinstance(value, Table | tuple) else {name: value}


def _frame(lines: Sequence[Line]) -> pl.DataFrame:
    """A cell that is undefined is empty."""
    columns = dict.fromkeys(name for line in lines for name in line)
    table = pl.DataFrame({name: pl.Series([line.get(name) for line in lines], strict=False) for name in columns})
    return table.with_columns(pl.col(pl.Float64).fill_nan(None))


def _within(owners: Sequence[Table], field: str, **key: str) -> Iterator[Line]:
    """The rows within some tables, each led by what names its owner."""
    for owner in owners:
        named = {column: getattr(owner, name) for column, name in key.items()}
        rows = getattr(owner, field)
        yield from (named | flat(row) for row in (rows if isinstance(rows, tuple) else [rows]) if row is not None)


def _perturbation_tables(results: Results) -> Iterator[tuple[str, Iterable[Line]]]:
    yield "epsilon", map(flat, results.epsilon)
    for name in ("per_class", "confusions", "curve", "comparisons"):
        yield f"epsilon-{name.replace('_', '-')}", _within(results.epsilon, name, search="condition", norm="norm")


def _attribution_tables(results: Results) -> Iterator[tuple[str, Iterable[Line]]]:
    found = results.attribution
    if found is None:
        return
    yield "attribution-maps", map(flat, found.maps)
    for name, field in _MAP_TABLES.items():
        yield f"attribution-{name}", _within(found.maps, field, map="condition")
    yield "attribution-regions", map(flat, found.regions)
    for name, field in _REGION_TABLES.items():
        yield f"attribution-{name}", _within(found.regions, field, object="region")
    yield "attribution-region-agreements", map(flat, found.agreements)


def _unknown_tables(results: Results) -> Iterator[tuple[str, Iterable[Line]]]:
    if results.unknown is not None:
        yield "unknown", [flat(results.unknown)]
        yield "unknown-policies", map(flat, results.unknown.policies)
        yield "unknown-classes", map(flat, results.unknown.classes)


def _coverage_tables(results: Results) -> Iterator[tuple[str, Iterable[Line]]]:
    if results.coverage_loss is not None:
        yield "coverage", map(flat, results.coverage_loss.steps)
        yield "coverage-conditions", map(flat, results.coverage_loss.conditions)
    if results.team is not None:
        yield "team", map(flat, results.team.rows)


def _model_tables(results: Results) -> Iterator[tuple[str, Iterable[Line]]]:
    if results.trust is not None:
        taken = flat(results.trust)
        yield "trust", (flat(row) | taken for row in (results.trust.model, *results.trust.classes))
    if results.lipschitz is not None:
        yield "lipschitz", map(flat, results.lipschitz.layers)
        yield "lipschitz-network", [flat(results.lipschitz)]


_TABLES = (_perturbation_tables, _attribution_tables, _unknown_tables, _coverage_tables, _model_tables)
