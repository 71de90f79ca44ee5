"""Components of trust, side by side and never summed into one number."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from demur.analysis.attribution.map_tables import COMPACTNESS, ClassMap, MapRow, Measure
from demur.analysis.attribution.region_tables import Attribution, ClassRegion, Region
from demur.analysis.quantity import Quantity, Table
from demur.analysis.robustness.censored_quantiles import CensoredQuantile, sortable
from demur.analysis.robustness.minimal_perturbation import ClassSearch, MinimalPerturbation
from demur.metrics.class_ranking_test import class_ranks


class TrustRow(Table):
    """One class, or the whole model: minimal perturbation, object reliance, map compactness; ranks among classes.

    Rank 1 is the most trusted: largest minimal perturbation, largest background − object, smallest area.
    """

    name: str
    n: int
    epsilon: CensoredQuantile | None
    epsilon_rank: int | None
    difference: Quantity | None
    difference_rank: int | None
    compactness: Quantity | None
    compactness_rank: int | None


class TrustComponents(Table):
    """The components and what they were taken from; null where the run has none."""

    epsilon_of: str | None
    epsilon_norm: str | None
    difference_of: str | None
    compactness_of: str | None
    model: TrustRow
    classes: tuple[TrustRow, ...]
    difference_norm: str | None = None
    classes_left_out: int = 0


EVERYTHING = "all classes"

Row = TypeVar("Row", ClassSearch, ClassRegion, ClassMap)


def trust(searches: Sequence[MinimalPerturbation], found: Attribution | None) -> TrustComponents | None:
    """Minimal perturbation, object against background, compactness, side by side; None where none was measured.

    They are those of the first search, the first region and the first map of the plan. Nothing is summed: a class may
    be robust because the model relies on the background.
    """
    search = next(iter(searches), None)
    region = next(iter(found.regions), None) if found else None
    map_row = next(iter(found.maps), None) if found else None
    if search is None and region is None and map_row is None:
        return None
    return TrustComponents(
        epsilon_of=None if search is None else search.condition,
        epsilon_norm=None if search is None else search.norm,
        difference_of=None if region is None else region.region,
        difference_norm=None if region is None else region.norm,
        compactness_of=None if map_row is None else map_row.name,
        model=_model(search, region, map_row),
        classes=_classes(search, region, map_row),
    )


def _model(search: MinimalPerturbation | None, region: Region | None, map_row: MapRow | None) -> TrustRow:
    area = None if map_row is None else _area(map_row)
    return TrustRow(
        name=EVERYTHING,
        n=max(part.n for part in (search, region, map_row) if part is not None),
        epsilon=None if search is None else search.median,
        epsilon_rank=None,
        difference=None if region is None else region.difference,
        difference_rank=None,
        compactness=None if area is None else area.median,
        compactness_rank=None,
    )


def _area(map_row: MapRow) -> Measure | None:
    return next((measure for measure in map_row.measures if measure.measure == COMPACTNESS), None)


def _classes(search: MinimalPerturbation | None, region: Region | None, map_row: MapRow | None) -> tuple[TrustRow, ...]:
    """One row of each class in the order of the labels."""
    searches = _by_name(() if search is None else search.per_class)
    regions = _by_name(() if region is None else region.per_class)
    maps = _by_name(() if map_row is None else map_row.per_class)
    places = _robustness_ranks(searches)
    rows = []
    for name in searches or regions or maps:
        search_row, side, area = searches.get(name), regions.get(name), maps.get(name)
        rows.append(
            TrustRow(
                name=name,
                n=max(part.n for part in (search_row, side, area) if part is not None),
                epsilon=None if search_row is None else search_row.median,
                epsilon_rank=places.get(name),
                difference=None if side is None else side.difference,
                difference_rank=None if side is None else side.rank,
                compactness=None if area is None else area.area,
                compactness_rank=None if area is None else area.rank,
            )
        )
    return tuple(rows)


def _by_name(rows: Sequence[Row]) -> Mapping[str, Row]:
    return {row.name: row for row in rows}


def _robustness_ranks(searches: Mapping[str, ClassSearch]) -> Mapping[str, int | None]:
    """The search ranks the class that flips first as 1; trust ranks the one that flips last so."""
    medians = [row.median for row in searches.values()]
    ranks = class_ranks([sortable(median) for median in medians], [median.n for median in medians], largest=True)
    return dict(zip(searches, ranks, strict=True))
