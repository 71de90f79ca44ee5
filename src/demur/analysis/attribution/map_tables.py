"""What was measured of each attribution map: compactness, place, agreement, sanity, and how it ranks errors."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal, TypeAlias

import numpy as np
import polars as pl

from demur.analysis.quantity import Number, Quantity, Table
from demur.analysis.robustness.least_distances import attack_searches
from demur.analysis.robustness.perturbation_curves import Entry, minimal_changes, section_searches
from demur.analysis.row_means import mean_of, rows_with, values
from demur.analysis.run_folder import BASELINE, Run, score, share
from demur.metrics.class_ranking_test import class_ranks
from demur.metrics.delong import auroc_gain, auroc_interval
from demur.metrics.jackknife import FEWEST
from demur.metrics.quantiles import median
from demur.metrics.rank_correlation import spearman
from demur.records import EXPLAIN, groups, wrong

Outcome: TypeAlias = Literal["pass", "warn", "fail"]


class Measure(Table):
    """One measure of one map, beside the same measure of baseline maps (uniform, centred, shuffled).

    `median` is over images whose map is not all zero. `perturbation_correlation` is its rank correlation with the
    minimal perturbation, null where none was searched; `auroc` is that of wrong answers, with the measure read as an
    uncertainty score in its stated direction, and `gain` the difference to the AUROC of msp on the same images.
    """

    measure: str
    sentence: str
    median: Quantity
    uniform: Number
    centred: Number
    shuffled: Number
    perturbation_correlation: Quantity | None
    auroc: Quantity
    gain: Quantity


class Localisation(Table):
    """How well a map meets the marked object: mean over the images that have a mark, beside baselines."""

    measure: str
    sentence: str
    value: Quantity
    uniform: Quantity
    centred: Quantity
    shuffled: Quantity


class Agreement(Table):
    """How alike two maps of the same images are: mean rank correlation, and overlap of their top fifths."""

    other: str
    n: int
    correlation: Quantity
    overlap: Quantity


class Sanity(Table):
    """Rank correlation of the map with that of the same net with random weights: it must fall.

    Adebayo et al. (2018), arXiv:1810.03292.
    """

    n: int
    correlation: Quantity
    state: Outcome
    sentence: str


class ClassMap(Table):
    """How compact the map is on images of one class: the area that holds half of its mass; rank 1 is most compact."""

    name: str
    n: int
    area: Quantity
    rank: int | None


class MapRow(Table):
    """One kind of map: on its own grid, `empty` where it is zero everywhere, measured on the others.

    `layer` is the one whose maps they are, null for maps of the image itself.
    """

    condition: str
    name: str
    sentence: str
    layer: str | None = None
    height: int
    width: int
    n: int
    empty: int
    measures: tuple[Measure, ...]
    localisations: tuple[Localisation, ...]
    agreements: tuple[Agreement, ...]
    sanity: Sanity | None
    per_class: tuple[ClassMap, ...] = ()
    pictures: tuple["Overlay", ...] = ()


class Overlay(Table):
    """One image beside its map, both as data URIs; null where the picture was not kept."""

    sample_id: str
    label: str
    predicted: str
    image: str | None
    overlay: str | None


def overlays(run: Run, name: str) -> tuple[Overlay, ...]:
    """The pictures kept of one map, in the order they were kept; none where the run has no pictures of maps."""
    kept = (run.optional_facts("overlays") or {}).get(name, [])
    clean = run.rows("clean")
    rows = {row["sample_id"]: row for row in clean.select("sample_id", "label", "predicted").to_dicts()} if kept else {}
    return tuple(_overlay(run, entry, rows[entry["sample_id"]]) for entry in kept if entry["sample_id"] in rows)


def _overlay(run: Run, entry: Mapping[str, str], row: Mapping[str, Any]) -> Overlay:
    return Overlay(
        sample_id=entry["sample_id"],
        label=run.classes[row["label"]],
        predicted=run.classes[row["predicted"]],
        image=run.thumb(entry["image"]),
        overlay=run.thumb(entry["overlay"]),
    )


_CORRELATION = "correlation"

_SENTENCES: Mapping[Outcome, str] = {
    "pass": "with random weights the map changes: it shows what the model has learned",
    "warn": "the map is not shown to change with random weights",
    "fail": "with random weights the map hardly changes: it shows the image more than what was learned",
}


def sanities(run: Run) -> Mapping[str, Sanity]:
    """Map → how much of it is left when the weights are drawn anew; nothing where that was not tried."""
    return {entry["map"]: _sanity(run, entry) for entry in run.optional_facts("sanity") or ()}


def _sanity(run: Run, entry: Mapping[str, Any]) -> Sanity:
    """Images on which either map is zero everywhere have no correlation and are left out."""
    columns = {"sample_id": entry["sample_ids"], _CORRELATION: entry["correlation"]}
    found = pl.DataFrame(columns, schema={"sample_id": pl.String, _CORRELATION: pl.Float64})
    known = rows_with(found.join(run.rows(entry["map"]), on="sample_id", maintain_order="left"), _CORRELATION)
    correlation, limit = mean_of(known, _CORRELATION), entry["limit"]
    alike = values(known, _CORRELATION)
    constant = correlation.n >= FEWEST and not np.ptp(alike)  # no mean with an interval: then most images decide
    state = _state(share(alike >= limit, known), _MOST) if constant else _state(correlation, limit)
    return Sanity(n=len(known), correlation=correlation, state=state, sentence=_SENTENCES[state])


_MOST = 0.5
"""Of the images."""


def _state(alike: Quantity, limit: float) -> Outcome:
    """Judged on the whole interval; where it holds the limit, or there is none, nothing is shown either way."""
    return "pass" if alike.high < limit else "fail" if alike.low >= limit else "warn"


COMPACTNESS = "area_50"
"""The measure that stands for a map in tables of classes: small where half of its mass lies in few cells."""

_BASELINES = ("uniform", "centred", "shuffled")
_AGREEMENT, _OVERLAP = f"{EXPLAIN}agreement.", f"{EXPLAIN}overlap."
_CHANGE = "minimal perturbation"


def map_rows(run: Run) -> tuple[MapRow, ...]:
    """Every map of the plan, in its order."""
    entries = run.conditions("map")
    if not entries:
        return ()
    known, sane = _baseline_rows(run), sanities(run)
    found = []
    for entry in entries:
        rows = run.rows(entry["name"]).join(known, on="sample_id", how="left", maintain_order="left")
        found.append(
            MapRow(
                condition=entry["name"],
                name=entry["map"],
                sentence=entry["sentence"],
                layer=entry.get("layer"),
                height=_size(rows, "height"),
                width=_size(rows, "width"),
                n=len(rows),
                empty=int((values(rows, f"{EXPLAIN}empty") > 0).sum()),
                measures=tuple(_measure(rows, **measure) for measure in entry["measures"]),
                localisations=tuple(_localisation_rows(rows, entry)),
                agreements=tuple(_agreements(rows)),
                per_class=_classes(run, rows),
                sanity=sane.get(entry["map"]),
                pictures=overlays(run, entry["map"]),
            )
        )
    return tuple(found)


def first_search(run: Run) -> Entry | None:
    """The search that speaks for the run: the first of the section's, else the first attack that searched."""
    return next(iter((*section_searches(run), *attack_searches(run))), None)


def _baseline_rows(run: Run) -> pl.DataFrame:
    """The baseline's uncertainty, and the minimal perturbation where one was searched, of every image."""
    clean = run.rows("clean").select("sample_id", f"signal.{BASELINE}")
    search = first_search(run)
    if search is None:
        return clean
    return clean.join(minimal_changes(run, search, _CHANGE), on="sample_id", how="left", maintain_order="left")


def _size(rows: pl.DataFrame, side: str) -> int:
    sizes = values(rows, f"{EXPLAIN}{side}")
    return int(sizes[np.isfinite(sizes)].max(initial=0))


def _measure(rows: pl.DataFrame, name: str, sentence: str, uncertainty: int) -> Measure:
    """On images whose map is not zero everywhere; baseline maps are measured on the same images."""
    seen = rows_with(rows, f"{EXPLAIN}{name}")
    own, units = values(seen, f"{EXPLAIN}{name}"), groups(seen)
    msp, failed = score(seen, BASELINE), wrong(seen)
    return Measure(
        measure=name,
        sentence=sentence,
        median=Quantity.of(median(own, units)),
        **{kind: _middle(seen, f"{EXPLAIN}{kind}.{name}") for kind in _BASELINES},
        perturbation_correlation=_with_change(seen, name) if _CHANGE in rows.columns else None,
        auroc=Quantity.of(auroc_interval(uncertainty * own, failed, units)),
        gain=Quantity.of(auroc_gain(uncertainty * own, msp, failed, units)),
    )


def _middle(rows: pl.DataFrame, column: str) -> float:
    return median(values(rows_with(rows, column), column)).value


def _with_change(seen: pl.DataFrame, name: str) -> Quantity:
    """Over images that were right; those that never flipped tie as the largest."""
    right = seen.filter(pl.col(_CHANGE) > 0)
    return Quantity.of(spearman(values(right, f"{EXPLAIN}{name}"), values(right, _CHANGE), groups(right)))


def _localisation_rows(rows: pl.DataFrame, entry: Mapping[str, Any]) -> Iterator[Localisation]:
    """Over images that say where their object is; nothing where none does."""
    for way in entry["localisations"]:
        own = f"{EXPLAIN}{way['name']}"
        others = {kind: f"{EXPLAIN}{kind}.{way['name']}" for kind in _BASELINES}
        marked = rows_with(rows, own)
        if marked.is_empty():
            continue
        yield Localisation(
            measure=way["name"],
            sentence=way["sentence"],
            value=mean_of(marked, own),
            **{kind: mean_of(marked, column) for kind, column in others.items()},
        )


def _agreements(rows: pl.DataFrame) -> Iterator[Agreement]:
    """With every map that this one was held against."""
    for column in rows.columns:
        if column.startswith(_AGREEMENT):
            other = column.removeprefix(_AGREEMENT)
            yield Agreement(
                other=other,
                n=len(rows_with(rows, column)),
                correlation=mean_of(rows, column),
                overlap=mean_of(rows, f"{_OVERLAP}{other}"),
            )


def _classes(run: Run, rows: pl.DataFrame) -> tuple[ClassMap, ...]:
    """How compact the map is class by class, the most compact first in rank."""
    column = f"{EXPLAIN}{COMPACTNESS}"
    seen = rows_with(rows, column)
    areas = []
    for k in range(len(run.classes)):
        own = seen.filter(pl.col("label") == k)
        areas.append(median(values(own, column), groups(own)))
    places = class_ranks([area.value for area in areas], [area.n for area in areas])
    return tuple(
        ClassMap(name=name, n=int((rows["label"] == k).sum()), area=Quantity.of(area), rank=place)
        for k, (name, area, place) in enumerate(zip(run.classes, areas, places, strict=True))
    )
