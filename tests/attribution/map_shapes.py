"""Maps of known shape."""

import torch

SIZES = [(4, 4), (7, 7), (3, 8), (16, 5), (1, 6), (32, 32)]


def uniform(height, width):
    return torch.ones(1, height, width)


def hot(height, width, row=0, column=0):
    """One cell holds everything."""
    heat = torch.zeros(1, height, width)
    heat[0, row, column] = 3.0
    return heat


def noise(rows, height, width, seed=0, levels=None):
    """Uneven maps; with `levels`, of few values, so that cells tie."""
    heat = torch.rand(rows, height, width, generator=torch.Generator().manual_seed(seed)) ** 3
    return heat if levels is None else (heat * levels).floor()


def checkers(height, width):
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return ((rows + columns) % 2 == 0).float()[None]
