"""What is left out of the results where there are many classes; `tables/` has all of it."""

from typing import Any, TypeVar

from demur.analysis.accuracy.confusions import MANY
from demur.analysis.attribution.map_tables import ClassMap
from demur.analysis.attribution.region_tables import Attribution, ClassRegion
from demur.analysis.attribution.trust_components import TrustComponents, TrustRow
from demur.analysis.results import Results
from demur.analysis.robustness.guard_attack_tables import GuardAttack
from demur.analysis.robustness.minimal_perturbation import ClassSearch, MinimalPerturbation
from demur.analysis.robustness.robust_accuracy import Robustness

Row = TypeVar("Row", ClassMap, ClassRegion, ClassSearch)


def shortened(results: Results) -> Results:
    """The same with only the classes that have a rank where more than 50 were measured one by one.

    Of the robustness of classes, which has no ranks, the 50 least robust stay. Each table says how many it left out.
    """
    if len(results.classes) <= MANY:
        return results
    found: dict[str, Any] = {
        "epsilon": tuple(map(_search, results.epsilon)),
        "robustness": tuple(map(_robustness, results.robustness)),
        "guard_attack": results.guard_attack and _guard_attack(results.guard_attack),
        "trust": results.trust and _trust(results.trust),
        "attribution": results.attribution and _attribution(results.attribution),
    }
    return results.model_copy(update=found)


def _ranked(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    return rows if len(rows) <= MANY else tuple(row for row in rows if row.rank is not None)


def _search(found: MinimalPerturbation) -> MinimalPerturbation:
    rows = _ranked(found.per_class)
    return found.model_copy(update={"per_class": rows, "classes_left_out": len(found.per_class) - len(rows)})


def _robustness(found: Robustness) -> Robustness:
    measured = [row for row in found.per_class if row.n]
    least = sorted(measured, key=lambda row: row.robust_accuracy.high if row.robust_accuracy else row.accuracy.high)
    rows = tuple(least[:MANY])
    return found.model_copy(update={"per_class": rows, "classes_left_out": len(found.per_class) - len(rows)})


def _guard_attack(found: GuardAttack) -> GuardAttack:
    """Those of which the most is accepted and wrong stay."""
    rows = tuple(sorted((row for row in found.per_class if row.n), key=lambda row: -row.found.low)[:MANY])
    return found.model_copy(update={"per_class": rows, "classes_left_out": len(found.per_class) - len(rows)})


def _trust(found: TrustComponents) -> TrustComponents:
    rows = found.classes if len(found.classes) <= MANY else tuple(row for row in found.classes if _has_rank(row))
    return found.model_copy(update={"classes": rows, "classes_left_out": len(found.classes) - len(rows)})


def _has_rank(row: TrustRow) -> bool:
    return any(rank is not None for rank in (row.epsilon_rank, row.difference_rank, row.compactness_rank))


def _attribution(found: Attribution) -> Attribution:
    maps = tuple(row.model_copy(update={"per_class": _ranked(row.per_class)}) for row in found.maps)
    regions = tuple(row.model_copy(update={"per_class": _ranked(row.per_class)}) for row in found.regions)
    return found.model_copy(update={"maps": maps, "regions": regions})
