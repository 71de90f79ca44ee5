"""What was measured of each map: compactness, place, likeness to other maps, and whether any of it tells of doubt."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import polars as pl

from demur.analysis.average import mean_of, measured, values
from demur.analysis.looked import Agreement, ClassLook, Localised, MapRow, Measure
from demur.analysis.overlays import overlays
from demur.analysis.ranks import ranks
from demur.analysis.run import Run, groups, score, wrong
from demur.analysis.sanity import sanities
from demur.analysis.searching import Entry, attack_searches, changes, section_searches
from demur.analysis.signals import BASELINE
from demur.analysis.table import Quantity
from demur.metrics.delong import auroc_gain, auroc_interval
from demur.metrics.quantile import median
from demur.metrics.spearman import spearman
from demur.records import EXPLAIN

COMPACTNESS = "area_50"
"""The measure that stands for a map in tables of classes: small where half of its mass lies in few cells."""

_UNINFORMED = ("uniform", "centred", "shuffled")
_AGREEMENT, _OVERLAP = f"{EXPLAIN}agreement.", f"{EXPLAIN}overlap."
_CHANGE = "smallest change"


def map_rows(run: Run) -> tuple[MapRow, ...]:
    """Every map of the plan, in its order."""
    entries = run.conditions("map")
    if not entries:
        return ()
    known, sane = _known(run), sanities(run)
    found = []
    for entry in entries:
        rows = run.rows(entry["name"]).join(known, on="sample_id", how="left", maintain_order="left")
        found.append(
            MapRow(
                condition=entry["name"],
                name=entry["map"],
                sentence=entry["sentence"],
                height=_size(rows, "height"),
                width=_size(rows, "width"),
                n=len(rows),
                empty=int((values(rows, f"{EXPLAIN}empty") > 0).sum()),
                measures=tuple(_measure(rows, **measure) for measure in entry["measures"]),
                localised=tuple(_localised(rows, entry)),
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


def _known(run: Run) -> pl.DataFrame:
    """The baseline's doubt, and the smallest change where one was searched, of every image."""
    clean = run.rows("clean").select("sample_id", f"signal.{BASELINE}")
    search = first_search(run)
    if search is None:
        return clean
    return clean.join(changes(run, search, _CHANGE), on="sample_id", how="left", maintain_order="left")


def _size(rows: pl.DataFrame, side: str) -> int:
    sizes = values(rows, f"{EXPLAIN}{side}")
    return int(sizes[np.isfinite(sizes)].max(initial=0))


def _measure(rows: pl.DataFrame, name: str, sentence: str, doubt: int) -> Measure:
    """On images whose map is not zero everywhere; those that know nothing are measured on the same images."""
    seen = measured(rows, f"{EXPLAIN}{name}")
    own, units = values(seen, f"{EXPLAIN}{name}"), groups(seen)
    msp, failed = score(seen, BASELINE), wrong(seen)
    return Measure(
        measure=name,
        sentence=sentence,
        median=Quantity.of(median(own, units)),
        **{kind: _middle(seen, f"{EXPLAIN}{kind}.{name}") for kind in _UNINFORMED},
        with_epsilon=_with_change(seen, name) if _CHANGE in rows.columns else None,
        auroc=Quantity.of(auroc_interval(doubt * own, failed, units)),
        gain=Quantity.of(auroc_gain(doubt * own, msp, failed, units)),
    )


def _middle(rows: pl.DataFrame, column: str) -> float:
    return median(values(measured(rows, column), column)).value


def _with_change(seen: pl.DataFrame, name: str) -> Quantity:
    """Over images that were right; those that never flipped tie as the largest."""
    right = seen.filter(pl.col(_CHANGE) > 0)
    return Quantity.of(spearman(values(right, f"{EXPLAIN}{name}"), values(right, _CHANGE), groups(right)))


def _localised(rows: pl.DataFrame, entry: Mapping[str, Any]) -> Iterator[Localised]:
    """Over images that say where their object is; nothing where none does."""
    for way in entry["localisations"]:
        own = f"{EXPLAIN}{way['name']}"
        others = {kind: f"{EXPLAIN}{kind}.{way['name']}" for kind in _UNINFORMED}
        marked = measured(rows, own)
        if marked.is_empty():
            continue
        yield Localised(
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
                n=len(measured(rows, column)),
                correlation=mean_of(rows, column),
                overlap=mean_of(rows, f"{_OVERLAP}{other}"),
            )


def _classes(run: Run, rows: pl.DataFrame) -> tuple[ClassLook, ...]:
    """How compact the map is class by class, the most compact first in rank."""
    column = f"{EXPLAIN}{COMPACTNESS}"
    seen = measured(rows, column)
    areas = []
    for k in range(len(run.classes)):
        own = seen.filter(pl.col("label") == k)
        areas.append(median(values(own, column), groups(own)))
    places = ranks([area.value for area in areas], [area.n for area in areas])
    return tuple(
        ClassLook(name=name, n=int((rows["label"] == k).sum()), area=Quantity.of(area), rank=place)
        for k, (name, area, place) in enumerate(zip(run.classes, areas, places, strict=True))
    )
