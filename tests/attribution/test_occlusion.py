"""Hiding parts of images."""

import pytest
import torch
from scipy import ndimage
from tests.attribution.map_shapes import noise

from demur.attribution.occlusion import occlude

PARTS = pytest.mark.parametrize("part", ["object", "background"])
BY = pytest.mark.parametrize("by", ["blur", "mean"])


def case(rows=4, channels=3, size=(16, 20), seed=0):
    images = torch.rand(rows, channels, *size, generator=torch.Generator().manual_seed(seed))
    mask = noise(rows, *size, seed=seed + 1) > 0.2
    return images, mask


@PARTS
@BY
@pytest.mark.parametrize("size", [(16, 20), (8, 8), (31, 9)], ids=str)
@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_not_hidden_stays_bit_for_bit(part, by, size, channels):
    images, mask = case(size=size, channels=channels)
    out = occlude(images, mask, part, by)
    gone = (mask if part == "object" else ~mask)[:, None].expand_as(images)
    assert torch.equal(out[~gone], images[~gone])
    assert (out[gone] != images[gone]).float().mean() > 0.99
    assert out.dtype == images.dtype
    assert ((out >= 0) & (out <= 1)).all()


@PARTS
def test_the_mean_is_that_of_the_part_that_stays(part):
    images, mask = case()
    out = occlude(images, mask, part, "mean")
    for row in range(len(images)):
        gone = mask[row] if part == "object" else ~mask[row]
        for channel in range(3):
            kept = images[row, channel][~gone].tolist()
            expected = torch.full((int(gone.sum()),), sum(kept) / len(kept))
            torch.testing.assert_close(out[row, channel][gone], expected, atol=1e-6, rtol=0)


@PARTS
@pytest.mark.parametrize("size", [(16, 20), (32, 24)], ids=str)
def test_the_blur_is_an_eighth_of_the_short_side(part, size):
    images, mask = case(rows=1, size=size)
    out = occlude(images, mask, part, "blur")
    gone = mask[0] if part == "object" else ~mask[0]
    for channel in range(3):
        plane = ndimage.gaussian_filter(images[0, channel].double().numpy(), min(size) / 8, mode="nearest")
        torch.testing.assert_close(out[0, channel][gone], torch.from_numpy(plane).float()[gone], atol=1e-5, rtol=0)


@PARTS
@BY
def test_an_image_without_two_parts_stays_as_it_is(part, by):
    images, mask = case(rows=3)
    mask[0], mask[1] = True, False
    out = occlude(images, mask, part, by)
    assert torch.equal(out[:2], images[:2])
    assert not torch.equal(out[2], images[2])
    assert out.isfinite().all()


@PARTS
@BY
@pytest.mark.parametrize("size", [(16, 20), (224, 224)], ids=str)
def test_what_is_hidden_does_not_depend_on_company(part, by, size):
    images, mask = case(rows=3, size=size)
    together = occlude(images, mask, part, by)
    for rows in ([0], [2, 1]):
        assert torch.equal(occlude(images[rows], mask[rows], part, by), together[rows])
