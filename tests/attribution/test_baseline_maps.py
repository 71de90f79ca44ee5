"""Maps that know nothing."""

import math

import pytest
import torch
from tests.attribution.map_shapes import SIZES, noise

from demur.attribution.compactness import compactness
from demur.attribution.grids import baselines
from demur.randomness import Keys

EVERY = pytest.mark.parametrize("size", SIZES, ids=str)


def keys(rows, condition="grad_cam"):
    return Keys.of(0, [str(row) for row in range(rows)], condition)


@EVERY
def test_the_centred_map_is_a_normal_density_at_the_middles_of_cells(size):
    heat = noise(2, *size)
    centred = baselines(heat, keys(2))["centred"]
    for row in range(size[0]):
        for column in range(size[1]):
            down = ((row + 0.5) / size[0] - 0.5) / 0.25
            across = ((column + 0.5) / size[1] - 0.5) / 0.25
            assert float(centred[1, row, column]) == pytest.approx(math.exp(-(down**2 + across**2) / 2), rel=1e-5)


@EVERY
def test_the_shuffled_map_has_the_same_cells_in_another_order(size):
    heat = noise(3, *size)
    shuffled = baselines(heat, keys(3))["shuffled"]
    assert torch.equal(shuffled.flatten(1).sort(dim=1).values, heat.flatten(1).sort(dim=1).values)
    assert not torch.equal(shuffled, heat)
    before, after = compactness(heat), compactness(shuffled)
    assert torch.equal(before["area_90"], after["area_90"])
    torch.testing.assert_close(before["gini"], after["gini"], rtol=1e-12, atol=0)


def test_every_cell_goes_everywhere_alike():
    heat = torch.zeros(4000, 2, 3)
    heat[:, 0, 0] = 1
    share = baselines(heat, keys(4000))["shuffled"].mean(dim=0)
    torch.testing.assert_close(share, torch.full((2, 3), 1 / 6), atol=0.03, rtol=0)


@pytest.mark.parametrize("size", [(4, 4), (224, 224)], ids=str)
def test_baselines_of_a_map_do_not_depend_on_its_company(size):
    heat = noise(4, *size)
    together = baselines(heat, keys(4))
    alone = baselines(heat[[2, 0]], keys(4).rows([2, 0]))
    assert list(together) == ["uniform", "centred", "shuffled"]
    assert all(torch.equal(alone[name], together[name][[2, 0]]) for name in together)


def test_the_order_depends_on_the_key():
    heat = noise(1, 7, 7)
    one, other = (baselines(heat, keys(1, condition))["shuffled"] for condition in ("grad_cam", "gradient"))
    assert not torch.equal(one, other)
