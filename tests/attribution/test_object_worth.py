"""What object and background are worth."""

import pytest
import torch
from tests.attribution.map_shapes import SIZES, hot, noise, uniform
from torch.nn.functional import interpolate

from demur.attribution.occlusion import enlarge, has_both_parts, object_mask, weights

EVERY = pytest.mark.parametrize("size", SIZES, ids=str)


@EVERY
@pytest.mark.parametrize("part", ["whole", "object", "background"])
def test_a_pixel_is_worth_one_on_average(size, part):
    worth = weights(noise(3, *size), part)
    assert worth.shape == (3, 1, *size)
    assert worth.dtype == torch.float32
    assert (worth >= 0).all()
    torch.testing.assert_close(worth.double().mean(dim=(1, 2, 3)), torch.ones(3).double(), atol=1e-7, rtol=0)


@EVERY
def test_object_and_background_are_a_map_from_0_to_1_and_the_rest(size):
    heat = 5 * noise(2, *size) + 3
    for row in range(2):
        low, high = float(heat[row].min()), float(heat[row].max())
        scaled = (heat[row].double() - low) / (high - low)
        worth = {part: weights(heat, part)[row, 0].double() for part in ("object", "background")}
        torch.testing.assert_close(worth["object"], scaled / scaled.mean(), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(worth["background"], (1 - scaled) / (1 - scaled).mean(), atol=1e-5, rtol=1e-5)
        both = worth["object"] * scaled.mean() + worth["background"] * (1 - scaled.mean())
        torch.testing.assert_close(both, torch.ones(size).double(), atol=1e-6, rtol=0)


def test_a_mask_is_worth_the_same_all_over():
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[0, :2, :2] = True
    assert torch.equal(weights(mask.float(), "object"), 4.0 * mask[:, None])
    assert torch.equal(weights(mask.float(), "background"), (4 / 3) * (~mask[:, None]).float())
    assert torch.equal(weights(mask.float(), "whole"), torch.ones(1, 1, 4, 4))


@pytest.mark.parametrize("part", ["whole", "object", "background"])
def test_without_parts_every_pixel_is_worth_one(part):
    heat = torch.cat([torch.zeros(1, 4, 4), 0.7 * uniform(4, 4), hot(4, 4)])
    assert has_both_parts(heat).tolist() == [False, False, True]
    assert torch.equal(weights(heat, part)[:2], torch.ones(2, 1, 4, 4))
    mask = torch.tensor([True, False])[:, None, None].expand(2, 4, 4)
    assert has_both_parts(mask).tolist() == [False, False]
    assert torch.equal(weights(mask.float(), part), torch.ones(2, 1, 4, 4))


def test_maps_grow_bilinearly_between_the_centres_of_cells():
    heat = noise(3, 4, 5)
    expected = interpolate(heat[:, None], size=(32, 30), mode="bilinear", align_corners=False)[:, 0]
    torch.testing.assert_close(enlarge(heat, (32, 30)), expected, atol=1e-6, rtol=1e-5)
    assert (enlarge(heat, (32, 30)) >= 0).all()
    torch.testing.assert_close(enlarge(heat, (4, 5)), heat, atol=1e-7, rtol=0)


def test_the_object_begins_at_a_fifth_of_the_maximum():
    heat = torch.tensor([[[1.0, 0.21, 0.19, 0.0]], [[0.0, 0.0, 0.0, 0.0]], [[0.0, 5.0, 2.0, 0.9]]])
    assert object_mask(heat).int().tolist() == [[[1, 1, 0, 0]], [[0, 0, 0, 0]], [[0, 1, 1, 0]]]


@pytest.mark.parametrize("size", [(32, 32), (48, 50), (224, 224)], ids=str)
def test_worth_does_not_depend_on_company(size):
    heat = noise(5, 7, 7)
    large = enlarge(heat, size)
    for rows in ([0], [2], [4, 1], [3, 0, 2]):
        alone = enlarge(heat[rows], size)
        assert torch.equal(alone, large[rows])
        for part in ("object", "background"):
            assert torch.equal(weights(alone, part), weights(large, part)[rows])
        assert torch.equal(object_mask(alone), object_mask(large)[rows])
