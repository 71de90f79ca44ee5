"""Result tables as files for a spreadsheet: one row per line, numbers with their ends and counts beside them."""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import polars as pl

from demur.analysis.accuracy.chart_data import Histogram
from demur.analysis.accuracy.error_direction import DirectionRow
from demur.analysis.accuracy.overall import ConditionRow
from demur.analysis.image_tables import image_tables
from demur.analysis.quantity import Quantity, Table
from demur.analysis.results import Results
from demur.analysis.robustness.censored_quantiles import CensoredQuantile
from demur.analysis.run_folder import Run
from demur.analysis.signals.class_profiles import ClassMapTable
from demur.analysis.signals.components import Roc
from demur.analysis.signals.decision_tables import Rejection
from demur.analysis.signals.layer_fusion import LayerFusion, layer_pairs
from demur.analysis.signals.overhead_tables import Timing
from demur.records import csv_bytes

_PICTURES = {"thumb", "image", "overlay"}

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


def table_files(run: Run, results: Results, counted: Mapping[str, pl.DataFrame] | None = None) -> dict[str, bytes]:
    """Every table as a file of `tables/` in a run folder, by its name; those that were `counted` in place of others."""
    tables = {**csv_tables(results), **dict(image_tables(run)), **(counted or {})}
    return {f"{FOLDER}/{name}": csv_bytes(table) for name, table in tables.items()}


def flat(row: Table) -> Line:
    """The cells of one row of a table: numbers with their ends, counts and units; rows within it are left out.

    >>> from demur.metrics import wilson
    >>> sorted(flat(Quantity.of(wilson(1, 2))))
    ['high', 'low', 'n', 'reason', 'unit', 'value']
    """
    line: Line = {}
    for name in type(row).model_fields:
        line |= _cells(name, getattr(row, name)) if name not in _PICTURES else {}
    return line


def _cells(name: str, value: Any) -> Line:
    if isinstance(value, Quantity | CensoredQuantile | Timing):
        ends = {f"{name}_{end}": getattr(value, end) for end in ("low", "high", "n", "unit", "reason")}
        above = {f"{name}_above": " ".join(value.above)} if isinstance(value, CensoredQuantile) else {}
        return {name: value.value} | ends | above
    if isinstance(value, tuple) and value and all(isinstance(each, str) for each in value):
        return {name: " ".join(value)}
    return {} if isinstance(value, Table | tuple | dict) else {name: value}


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


def _accuracy_tables(results: Results) -> Iterator[tuple[str, Iterable[Line]]]:
    yield "conditions", map(flat, results.conditions)
    yield "accuracy-by-eps", (_against_size(row) for row in results.conditions if row.kind == "attack" and row.severity)
    yield "failure-table", map(flat, results.policies)
    yield "policy-fits", map(flat, results.policy_fits)
    yield "classes", (flat(row) | _alone(row.alone) for row in results.per_class)
    yield "class-answers", _within(results.per_class, "wrong_answers", label="name")
    if results.confusions is not None:
        yield "confusion-pairs", map(flat, results.confusions.pairs)
    yield "slices", map(flat, results.slices)
    yield "calibration", map(flat, results.calibration.bins)
    yield "gallery", map(flat, results.gallery)
    if results.direction is not None:
        yield "direction", _sides(results.direction.rows)
        yield "direction-at-prevalence", map(flat, results.direction.at)
    if results.wrong_labels is not None:
        yield "wrong-labels", map(flat, results.wrong_labels.images)
        yield "wrong-label-pairs", map(flat, results.wrong_labels.pairs)


def _against_size(row: ConditionRow) -> Line:
    size: Line = {"family": row.family, "eps_of_pixel_range": row.severity}
    return size | flat(row)


def _alone(shares: Mapping[Any, Quantity]) -> Line:
    """The interval of each share by itself."""
    return {f"{name}_alone_{end}": getattr(share, end) for name, share in shares.items() for end in ("low", "high")}


def _sides(rows: Sequence[DirectionRow]) -> Iterator[Line]:
    for row in rows:
        for side in ("misses", "false_alarms"):
            named: Line = {"condition": row.condition, "kind": row.kind, "side": side}
            yield named | flat(getattr(row, side))


def _signal_tables(results: Results) -> Iterator[tuple[str, Iterable[Line]]]:
    facts = {"signal": "name", "score_unit": "unit", "fit_images": "fit_images", "ranks_as": "ranks_as"}
    yield "signals", _within(results.signals, "targets", **facts)
    yield "signal-contests", map(flat, results.contests)
    yield "signal-parts", map(flat, results.parts)
    attack = {"condition": "condition", "point": "point", "flatters": "flatters", "knowledge": "knowledge"}
    yield "attack-detection", _within(results.detections, "signals", **attack)
    yield "layer-fusions", map(flat, results.fusions)
    yield "layer-pairs", (line for own in results.fusions for line in _pairs(own))
    yield "class-maps", map(flat, results.class_maps)
    yield "class-map-profiles", (line for found in results.class_maps for line in _maps_of_classes(found))
    yield "rocs", (line for roc in results.rocs for line in _roc_points(roc))
    yield "histograms", (line for found in results.histograms for line in _bars(found))
    yield "rejections", (line for row in results.rejections for line in _rates(row))


def _roc_points(roc: Roc) -> Iterator[Line]:
    for alarms, hits in roc.points:
        yield flat(roc) | {"false_alarms": alarms, "hits": hits}


def _pairs(fusion: LayerFusion) -> Iterator[Line]:
    own: Line = {"signal": fusion.signal}
    return (own | flat(pair) for pair in layer_pairs(fusion))


def _maps_of_classes(found: ClassMapTable) -> Iterator[Line]:
    """A line for each map of each class, the strongest first."""
    for row in found.classes:
        for place, each in enumerate(zip(row.maps, row.right_added, row.wrong_added, strict=True), 1):
            own: Line = {"signal": found.signal, "place": place}
            yield own | flat(row) | dict(zip(("map", "right_added", "wrong_added"), each, strict=True))


def _rates(row: Rejection) -> Iterator[Line]:
    for condition, rate in row.abstention_rates.items():
        yield flat(row) | {"condition": condition} | _cells("abstention_rate", rate)


def _bars(found: Histogram) -> Iterator[Line]:
    for at, (low, high) in enumerate(itertools.pairwise(found.edges)):
        edges: Line = {"signal": found.signal, "low": low, "high": high}
        yield edges | {name: getattr(found, name)[at] for name in ("right", "wrong", "corrupted", "attacked")}


def _verdict_tables(results: Results) -> Iterator[tuple[str, Iterable[Line]]]:
    yield "checks", map(flat, results.checks)
    yield "gates", map(flat, results.gates)
    if results.preprocessing is not None:
        yield "preprocessing", map(flat, results.preprocessing.rows)
    yield "guarantees", map(flat, results.guarantees)
    yield "label-needs", map(flat, results.label_needs)
    if results.guarantee is not None:
        yield "guarantee-parts", map(flat, results.guarantee.parts)


def _attack_tables(results: Results) -> Iterator[tuple[str, Iterable[Line]]]:
    yield "attacks", map(flat, results.attacks)
    yield "robustness", map(flat, results.robustness)
    for name in ("curve", "per_class", "stages"):
        yield f"robustness-{name.replace('_', '-')}", _within(results.robustness, name, attack="condition", of="norm")


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
    if results.overhead is not None:
        yield "overhead", map(flat, results.overhead.rows)
    if results.trust is not None:
        taken = flat(results.trust)
        yield "trust", (flat(row) | taken for row in (results.trust.model, *results.trust.classes))
    if results.lipschitz is not None:
        yield "lipschitz", map(flat, results.lipschitz.layers)
        yield "lipschitz-network", [flat(results.lipschitz)]
    if results.guard_attack is not None:
        yield "guard-attack", [flat(results.guard_attack)]
        for name in ("sizes", "attackers", "detections", "alone", "forced", "confidence", "per_class"):
            yield f"guard-attack-{_FILES.get(name, name)}", map(flat, getattr(results.guard_attack, name))
    if results.smoothed is not None:
        yield "smoothed", (flat(results.smoothed) | flat(size) for size in results.smoothed.sizes)
    if results.proof is not None:
        yield "proof", map(flat, results.proof.sizes)
        yield "proof-classes", map(flat, results.proof.per_class)
        of_classes = ((one.name, size) for one in results.proof.per_class for size in one.sizes)
        yield "proof-class-sizes", ({"name": name, **flat(size)} for name, size in of_classes)


_FILES = {"per_class": "classes", "forced": "abstention", "alone": "signals"}

_TABLES = (
    _accuracy_tables,
    _signal_tables,
    _verdict_tables,
    _attack_tables,
    _perturbation_tables,
    _attribution_tables,
    _unknown_tables,
    _coverage_tables,
    _model_tables,
)
