"""How many images have a near-duplicate that serves something else."""

from collections import Counter
from typing import Any

import numpy as np
import torch

from demur.data import Index, Source
from demur.data.near import near_duplicates, print_of

_EXAMPLES = 20


def near_facts(source: Source, index: Index) -> dict[str, Any]:
    """Counts of near-duplicates across roles, images the model was trained on among them, and some of the pairs."""
    prints, ids, roles = _prints(source, index)
    _, height, width = source.input_shape
    pairs = near_duplicates(prints, np.array(roles), (height, width))
    touched = [row for row in np.unique(pairs) if roles[row] == "test"]
    between = Counter("-".join(sorted((roles[one], roles[other]))) for one, other in pairs)
    return {
        "pairs": len(pairs),
        "between": dict(sorted(between.items())),
        "test_images": len(touched),
        "test": roles.count("test"),
        "copies": index.leaks,
        "examples": [[ids[one], ids[other]] for one, other in pairs[:_EXAMPLES]],
    }


def _prints(source: Source, index: Index) -> tuple[torch.Tensor, list[str], list[str]]:
    """Prints, ids and roles of the readable rows that take part, and of those the model was trained on."""
    serves = {**dict.fromkeys(index.learned, "train"), **dict(zip(index.positions.tolist(), index.roles, strict=True))}
    positions = sorted(serves)
    side = print_of(torch.zeros(1, *source.input_shape)).shape[1:]
    prints = torch.empty(len(positions), *side, dtype=torch.uint8)  # pages nobody writes to take no memory
    ids, roles = list[str](), list[str]()
    for position, row in zip(positions, source.read(positions), strict=True):
        if row.image is not None and tuple(row.image.shape) == tuple(source.input_shape):
            prints[len(ids)] = print_of(row.image[None])[0]
            ids.append(row.sample_id)
            roles.append(serves[position])
    return prints[: len(ids)], ids, roles
