"""Means over the cells of another grid, against copies of pixels."""

import math

import numpy as np
import pytest
import torch

from demur.attribution.compactness import hottest
from demur.attribution.grids import among, cell_means, cells

SIZES = [((4, 4), (4, 4)), ((8, 6), (4, 3)), ((64, 64), (7, 7)), ((5, 9), (7, 2)), ((4, 4), (10, 6)), ((1, 1), (3, 2))]


def slow_averaged(plane, size):
    """Each pixel copied so often that both grids divide the copies, then means of blocks."""
    tall, wide = (math.lcm(before, after) for before, after in zip(plane.shape, size, strict=True))
    fine = np.kron(plane, np.ones((tall // plane.shape[0], wide // plane.shape[1])))
    return fine.reshape(size[0], tall // size[0], size[1], wide // size[1]).mean(axis=(1, 3)).ravel()


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_a_cell_holds_the_mean_of_the_pixels_in_it(before, after):
    heat = torch.rand(3, *before, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = [slow_averaged(plane, after) for plane in heat.numpy()]
    np.testing.assert_allclose(cell_means(heat, after), expected, rtol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_map_on_its_own_grid_stays_as_it_is(dtype):
    heat = torch.rand(2, 7, 7, dtype=dtype, generator=torch.Generator().manual_seed(0))
    np.testing.assert_array_equal(cell_means(heat, (7, 7)), cells(heat))


@pytest.mark.parametrize(("before", "after"), SIZES)
def test_a_full_mask_fills_every_cell_exactly(before, after):
    full = torch.ones(2, *before, dtype=torch.bool)
    assert (cell_means(full, after) == 1).all()
    assert (cell_means(~full, after) == 0).all()


def test_cells_are_read_line_after_line():
    heat = torch.arange(12.0).view(1, 3, 4)
    assert cells(heat).tolist() == [list(range(12))]
    assert cells(heat.mT).tolist() == [[0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]]


def test_values_go_to_the_rows_that_have_one():
    out = among(np.array([True, False, True]), np.array([1.0, 2.0]))
    assert out[[0, 2]].tolist() == [1, 2]
    assert out[1].isnan()


@pytest.mark.parametrize(
    ("mass", "area", "expected"),
    [
        ([4, 3, 2, 1], 2, [1, 1, 0, 0]),
        ([1, 2, 3, 4], 2.5, [0, 0.5, 1, 1]),
        ([5, 1, 1, 1], 2, [1, 1 / 3, 1 / 3, 1 / 3]),
        ([1, 1, 1, 1], 1, [0.25, 0.25, 0.25, 0.25]),
        ([2, 2, 1, 0], 1, [0.5, 0.5, 0, 0]),
        ([4, 3, 2, 1], 0.25, [0.25, 0, 0, 0]),
        ([4, 3, 2, 1], 4, [1, 1, 1, 1]),
        ([4, 3, 2, 1], 0, [0, 0, 0, 0]),
    ],
)
def test_the_hottest_cells_fill_an_area_and_level_ones_share_the_rest(mass, area, expected):
    taken = hottest(np.array([mass, mass], dtype=float), np.array([area, len(mass)], dtype=float))
    np.testing.assert_allclose(taken[0], expected)
    np.testing.assert_array_equal(taken[1], 1)
