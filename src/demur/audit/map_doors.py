"""Which maps and regions a model and its images allow, found out before anything is measured."""

from collections.abc import Iterable

import torch

from demur.audit.conditions import Condition
from demur.audit.engine import Bench
from demur.classifier import Classifier
from demur.errors import InputError, ModelError
from demur.explain import AttributionMap
from demur.explain.layers import last_grid
from demur.randomness import Keys
from demur.registry import build
from demur.registry.tables import CENTRED, MARKED

_TRIED = 2
_LOOKED = 256


def has_maps(classifier: Classifier) -> bool:
    """Whether the model has a layer with a grid of more than one cell, which Grad-CAM needs."""
    try:
        last_grid(classifier)
    except ModelError:
        return False
    return True


def try_maps(bench: Bench, found: Iterable[Condition]) -> None:
    """Refuse maps that this model cannot give, and regions that the data do not mark, before anything is measured.

    Raises:
        ModelError: the model lacks the layer a map is of.
        InputError: `marked`, of data without boxes or masks.
    """
    wanted = {condition.region for condition in found if condition.region}
    maps = [condition.map for condition in found if condition.map]
    maps += [build("map", region) for region in wanted - {MARKED, CENTRED}]
    for each in maps:
        _try(bench.classifier, each)
    readable = [row for row in range(len(bench.index)) if bench.index.errors[row] is None][:_LOOKED]
    if MARKED in wanted and not bench.marks(readable)[1].any():
        raise InputError(
            f"[where] asks for the region {MARKED!r}, and none of the first {len(readable)} images of "
            f"{bench.source.address} has a box or a mask. Name a map such as grad_cam instead, or say where the marks "
            "are: ?masks=FOLDER or ?boxes=FOLDER."
        )


def _try(classifier: Classifier, found: AttributionMap) -> None:
    x = torch.full((_TRIED, *classifier.input_shape), 0.5, device=classifier.device)
    y = torch.zeros(_TRIED, dtype=torch.long, device=classifier.device)
    found(classifier, x, y, Keys.of(0, [str(k) for k in range(_TRIED)], "door"))
