"""The components of trust, taken from where they were measured."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from demur.analysis.looked import ClassLook, ClassRegion, MapRow, Measure, Region, Where
from demur.analysis.maps import COMPACTNESS
from demur.analysis.ranks import ranks
from demur.analysis.reach import sortable
from demur.analysis.searched import ClassSearch, Search
from demur.analysis.trust_tables import Trust, TrustRow

EVERYTHING = "all classes"

Row = TypeVar("Row", ClassSearch, ClassRegion, ClassLook)


def trust(searches: Sequence[Search], where: Where | None) -> Trust | None:
    """Smallest change, object against background and compactness side by side; None where none of them was measured.

    They are those of the first search, the first region and the first map of the plan. Nothing is summed: a class may
    be robust because it looks at the background.
    """
    search = next(iter(searches), None)
    region = next(iter(where.regions), None) if where else None
    look = next(iter(where.maps), None) if where else None
    if search is None and region is None and look is None:
        return None
    return Trust(
        epsilon_of=None if search is None else search.condition,
        epsilon_norm=None if search is None else search.norm,
        difference_of=None if region is None else region.region,
        difference_norm=None if region is None else region.norm,
        compactness_of=None if look is None else look.name,
        model=_model(search, region, look),
        classes=_classes(search, region, look),
    )


def _model(search: Search | None, region: Region | None, look: MapRow | None) -> TrustRow:
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


def _classes(search: Search | None, region: Region | None, look: MapRow | None) -> tuple[TrustRow, ...]:
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
    return dict(zip(far, ranks(medians, [row.median.n for row in far.values()], largest=True), strict=True))
