"""The hottest part of a map."""

import numpy as np

from demur.explain.grids import Cells


def hottest(mass: Cells, area: Cells) -> Cells:
    """Which share of each cell belongs to the `area` hottest cells (rows,) of its row: (rows, cells).

    Hotter cells go first and belong to it whole. Cells as hot as each other share alike what is left, so that nothing
    depends on the order of the cells and the shares add up to `area`, which need not be a whole number.
    """
    last = np.clip(np.ceil(area).astype(np.int64) - 1, 0, mass.shape[1] - 1)
    edge = np.take_along_axis(np.sort(mass, axis=1)[:, ::-1], last[:, None], axis=1)
    hotter, level = mass > edge, mass == edge
    left = (area - hotter.sum(axis=1)) / level.sum(axis=1)
    return hotter + level * left[:, None]
