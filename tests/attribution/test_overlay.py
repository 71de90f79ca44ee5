"""Pictures: the right size, the right colours, nothing where the map is zero."""

import numpy as np
import pytest
import torch

from demur.attribution.overlay import overlay, picture, side_by_side


def image(channels=3, height=8, width=6):
    return torch.rand(channels, height, width, generator=torch.Generator().manual_seed(2))


def peak(height=4, width=3, at=(1, 2)):
    heat = torch.zeros(height, width)
    heat[at] = 5.0
    return heat


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize(
    ("size", "side", "times"), [((8, 6), 60, 10), ((8, 6), 61, 11), ((8, 6), 3, 1), ((300, 240), 224, 1)]
)
def test_small_pictures_are_enlarged_by_a_whole_number(channels, size, side, times):
    x = image(channels, *size)
    shown = picture(x, side)
    assert shown.dtype == np.uint8
    assert shown.shape == (times * size[0], times * size[1], 3)
    plain = (x[:3] if channels > 2 else x[:1].expand(3, -1, -1)).mul(255).round().permute(1, 2, 0).numpy()
    assert np.array_equal(shown[::times, ::times], plain)
    assert np.array_equal(shown[times - 1 :: times, times - 1 :: times], plain)
    assert overlay(x, peak(), side).shape == shown.shape
    assert side_by_side(x, peak(), side).shape[1] > 2 * shown.shape[1]
    assert np.array_equal(side_by_side(x, peak(), side)[:, : shown.shape[1]], shown)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_the_map_is_warm_where_it_is_high_and_absent_where_it_is_zero(scale):
    black = torch.zeros(3, 40, 30)
    shown = overlay(black, scale * peak(), 30).astype(int)
    hot, cold = shown[15, 25], shown[35, 5]
    assert hot.sum() > 400
    assert hot[0] > hot[2]
    assert (cold == 0).all()


def test_a_map_that_is_zero_leaves_a_grey_image():
    x = image()
    shown = overlay(x, torch.zeros(4, 3), 60)
    under = picture(x, 60).astype(float)
    assert np.abs(shown - (0.3 * under + 0.7 * under.mean(axis=2, keepdims=True))).max() <= 0.5


def test_colours_get_lighter_all_the_way():
    ramp = torch.linspace(0, 1, 256)[None].expand(256, -1)
    shown = overlay(torch.zeros(1, 256, 256), ramp)[128].astype(float)
    light = shown @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(light) >= -1).all()
    assert light[-1] - light[0] > 150
    assert np.abs(np.diff(light)).max() < 4, "no steps that the map does not have"


def test_one_outlier_does_not_darken_the_rest():
    heat = torch.full((32, 32), 0.1)
    heat[:, 16:] = 1.0
    heat[3, 3] = 1e6
    shown = overlay(torch.zeros(1, 32, 32), heat).astype(int).sum(axis=2)
    assert np.median(shown[:, 120:]) > 400 > np.median(shown[:, :100])


def test_the_map_is_enlarged_smoothly():
    shown = overlay(torch.zeros(1, 200, 200), peak(4, 4, (1, 1))).astype(int).sum(axis=2)
    assert np.abs(np.diff(shown, axis=1)).max() < 40


@pytest.mark.parametrize("height", [1e-6, 1.0])
def test_a_map_of_one_cell_is_seen(height):
    shown = overlay(torch.zeros(1, 32, 32), height * peak(32, 32, (16, 16)), 32).astype(int)
    assert shown[16, 16].sum() > 400
    assert not shown[:8].any()
