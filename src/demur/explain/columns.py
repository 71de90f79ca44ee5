"""What is written down of a map: one number per image and measure."""

import torch
from jaxtyping import Bool
from torch import Tensor

from demur.explain.agreement import agreement
from demur.explain.baselines import baselines
from demur.explain.grids import BLOCK
from demur.explain.localisation import LOCALISATIONS as LOCALISATIONS
from demur.explain.localisation import localisation
from demur.explain.measures import MEASURES as MEASURES
from demur.explain.measures import compactness
from demur.randomness import Keys
from demur.records import EXPLAIN
from demur.shapes import Flags, Heat, Scores


def map_columns(
    heat: Heat, mask: Bool[Tensor, "rows tall wide"] | None, marked: Flags, keys: Keys
) -> dict[str, Scores]:
    """The columns `explain.…` of a kind of map, single precision, NaN where a value is not defined.

    A map that is zero everywhere has `explain.empty` 1 and no measures, those of its baselines included, so that
    either are told of the same images.

    Args:
        heat: maps on their own grid.
        mask: true on the objects, at image size; None where the data marks none, and then there are no columns of
            place.
        marked: which rows have a mark.
        keys: of the rows, for the shuffled baseline.
    """
    blocks = []
    for rows in torch.split(torch.arange(len(heat)), BLOCK):
        marks = None if mask is None else mask[rows]
        blocks.append(_columns(heat[rows], marks, marked[rows], keys.rows(rows.tolist())))
    return {name: torch.cat([block[name] for block in blocks]) for name in blocks[0]}


def agreement_columns(heat: Heat, other: Heat, name: str) -> dict[str, Scores]:
    """The columns on how alike a map and another one, of this name, are; NaN where that is not defined."""
    alike, shared = agreement(heat, other)
    return {f"{EXPLAIN}agreement.{name}": alike, f"{EXPLAIN}overlap.{name}": shared}


def _columns(heat: Heat, mask: Bool[Tensor, "rows tall wide"] | None, marked: Flags, keys: Keys) -> dict[str, Scores]:
    empty = ~heat.flatten(1).any(dim=1).cpu()
    columns = _measured(heat, mask, marked)
    for name, known in baselines(heat, keys).items():
        found = _measured(known, mask, marked)
        columns |= {f"{name}.{measure}": values.where(~empty, torch.nan) for measure, values in found.items()}
    rows, height, width = heat.shape
    columns |= {"empty": empty, "height": torch.full((rows,), height), "width": torch.full((rows,), width)}
    return {f"{EXPLAIN}{name}": values.float() for name, values in columns.items()}


def _measured(heat: Heat, mask: Bool[Tensor, "rows tall wide"] | None, marked: Flags) -> dict[str, Tensor]:
    found: dict[str, Tensor] = dict(compactness(heat))
    if mask is not None:
        place = localisation(heat, mask)
        found |= {name: values.where(marked.cpu(), torch.nan) for name, values in place.items()}
    return found
