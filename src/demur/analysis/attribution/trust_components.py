"""Components of trust, side by side and never summed into one number."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from demur.analysis.attribution.map_tables import COMPACTNESS, ClassMap, MapRow, Measure
from demur.analysis.attribution.region_tables import Attribution, ClassRegion, Region
from demur.analysis.quantity import Quantity, Table
from demur.analysis.robustness.censored_quantiles import CensoredQuantile, sortable
from demur.analysis.robustness.minimal_perturbation import ClassSearch, MinimalPerturbation
from demur.analysis.run_folder import class_ranks


class TrustRow(Table):
    """One class, or the whole model: how far, what it leans on, how compactly it looks; ranks among the classes.

    Rank 1 is the most trusted: largest smallest change, largest background − object, smallest area.
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


EVERYTHING = "all classes"

Row = TypeVar("Row", ClassSearch, ClassRegion, ClassMap)


def trust(searches: Sequence[MinimalPerturbation], where: Attribution | None) -> TrustComponents | None:
    """Smallest change, object against background and compactness side by side; None where none of them was measured.

    They are those of the first search, the first region and the first map of the plan. Nothing is summed: a class may
    be robust because it looks at the background.
    """
    search = next(iter(searches), None)
    region = next(iter(where.regions), None) if where else None
    look = next(iter(where.maps), None) if where else None
    if search is None and region is None and look is None:
        return None
    return TrustComponents(
        epsilon_of=None if search is None else search.condition,
        epsilon_norm=None if search is None else search.norm,
        difference_of=None if region is None else region.region,
        difference_norm=None if region is None else region.norm,
        compactness_of=None if look is None else look.name,
        model=_model(search, region, look),
        classes=_classes(search, region, look),
    )


def _model(search: MinimalPerturbation | None, region: Region | None, look: MapRow | None) -> TrustRow:
    area = None if look is None else _area(look)
    return TrustRow(
        name=EVERYTHING,
        n=max(part.n for part in (search, region, look) if part is not None),
        epsilon=None if search is None else search.median,
        epsilon_rank=None,
        difference=None if region is None else region.difference,
        difference_rank=None,
        compactness=None if area is None else area.median,
        compactness_rank=None,
    )


def _area(look: MapRow) -> Measure | None:
    return next((measure for measure in look.measures if measure.measure == COMPACTNESS), None)


def _classes(search: MinimalPerturbation | None, region: Region | None, look: MapRow | None) -> tuple[TrustRow, ...]:
    """One row of each class in the order of the labels."""
    far = _by_name(() if search is None else search.per_class)
    apart = _by_name(() if region is None else region.per_class)
    compact = _by_name(() if look is None else look.per_class)
    places = _farthest(far)
    rows = []
    for name in far or apart or compact:
        reach, side, area = far.get(name), apart.get(name), compact.get(name)
        rows.append(
            TrustRow(
                name=name,
                n=max(part.n for part in (reach, side, area) if part is not None),
                epsilon=None if reach is None else reach.median,
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


def _farthest(far: Mapping[str, ClassSearch]) -> Mapping[str, int | None]:
    """The search ranks the class that flips first as 1; trust ranks the one that flips last so."""
    medians = [sortable(row.median) for row in far.values()]
    return dict(zip(far, class_ranks(medians, [row.median.n for row in far.values()], largest=True), strict=True))
