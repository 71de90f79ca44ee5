"""Maps that know nothing, to compare with."""

import torch

from demur.randomness import Keys
from demur.shapes import Heat

_WIDTH = 0.25


def baselines(heat: Heat, keys: Keys) -> dict[str, Heat]:
    """For each map three on its grid that know nothing of the image: `uniform`, `centred`, `shuffled`.

    All cells alike; a normal density about the middle, its deviation a quarter of the side either way; the map's own
    cells in an order drawn by the row's key.
    """
    drawn = keys.uniform(heat.cpu(), "shuffled").flatten(1).numpy()
    order = torch.from_numpy(drawn.argsort(axis=1, kind="stable")).to(heat.device)
    return {
        "uniform": torch.ones_like(heat),
        "centred": centred(heat),
        "shuffled": heat.flatten(1).gather(1, order).view(heat.shape),
    }


def centred(heat: Heat) -> Heat:
    """A normal density about the middle of each map's grid."""
    _, height, width = heat.shape
    return (_bell(height)[:, None] * _bell(width)).to(heat).expand_as(heat)


def _bell(side: int) -> torch.Tensor:
    places = (torch.arange(side, dtype=torch.float64) - (side - 1) / 2) / (_WIDTH * side)
    return (-0.5 * places.square()).exp()
