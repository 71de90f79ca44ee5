"""The smallest changes by attacks, beside those along a direction on the same images."""

import numpy as np

from demur.analysis.reach import ROUNDING, ecdf, finite, reach
from demur.analysis.run import Run, groups, share
from demur.analysis.searched import Beside
from demur.analysis.searching import Entry, attack_searches, changes, is_direction, section_searches
from demur.metrics.quantile import median


def beside(run: Run, direction: Entry) -> tuple[Beside, ...]:
    """Every other search for the smallest change in the norm of a direction that shares images with it."""
    attacks = (*attack_searches(run), *(entry for entry in section_searches(run) if not is_direction(entry)))
    found = (_beside(run, direction, entry) for entry in attacks if entry["norm"] == direction["norm"])
    return tuple(each for each in found if each is not None)


def _beside(run: Run, direction: Entry, entry: Entry) -> Beside | None:
    """The ratio is 0 where the attack alone found nothing, infinite where the direction did; none where both."""
    both = run.rows(direction["name"]).select("sample_id", "group")
    for name, each in (("along", direction), ("attack", entry)):
        both = both.join(changes(run, each, name), on="sample_id", maintain_order="left")
    if both.is_empty():
        return None
    along, attack = (both[name].to_numpy() for name in ("along", "attack"))
    right = (along > 0) & (attack > 0)
    known = right & (np.isfinite(along) | np.isfinite(attack))
    return Beside(
        condition=entry["name"],
        sentence=entry["sentence"],
        n=len(both),
        median=reach(attack, groups(both)),
        ratio=finite(
            median(along[known] / attack[known], groups(both.filter(known))),
            "too many images were flipped by the attack alone",
        ),
        upheld=share(attack[right] <= along[right] + ROUNDING, both.filter(right)),
        ecdf=ecdf(attack),
    )
