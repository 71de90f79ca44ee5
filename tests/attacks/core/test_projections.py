"""Points of balls drawn at random have the laws they are said to have, and projections end where they must."""

import pytest
import torch
from scipy.stats import kstest

from demur.attacks.core.attack_state import AttackState
from demur.attacks.core.best_points import inside_ball
from demur.attacks.core.projections import gaussian_noise, length, project, random_point, unit

ROWS = 64


def state(eps=0.1, level=0.5, shape=(3, 8, 8)):
    x = torch.full((ROWS, *shape), level)
    y = torch.zeros(ROWS, dtype=torch.long)
    radii = torch.full((ROWS,), eps)
    return AttackState(x=x, y=y, origin=x, eps=radii, seed=torch.arange(ROWS) * 7919, logits=torch.zeros(ROWS, 2))


def test_normal_numbers_are_normal_and_differ_from_row_to_row_and_step_to_step():
    first, second = gaussian_noise(state(), "a", 0), gaussian_noise(state(), "a", 1)
    assert first.isfinite().all()
    assert kstest(first.flatten().numpy(), "norm").pvalue > 0.001
    assert (first.flatten(1) @ first.flatten(1).T / 192 - torch.eye(ROWS)).fill_diagonal_(0).abs().max() < 0.35
    assert (first * second).mean().abs() < 0.05


def test_points_of_an_l2_ball_have_uniform_radii_and_those_of_a_cube_uniform_pixels():
    radii = length(random_point(state(0.1), "l2", "start") - 0.5, "l2") / 0.1
    assert kstest(radii.numpy(), "uniform").pvalue > 0.001
    pixels = (random_point(state(0.1), "linf", "start") - 0.4) / 0.2
    assert kstest(pixels.flatten().numpy(), "uniform").pvalue > 0.001


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("level", [0.0, 0.5, 1.0])
def test_a_projection_lies_in_ball_and_box_and_leaves_what_does_alone(norm, level):
    begun = state(0.3, level)
    far = begun.x + 2 * gaussian_noise(begun, "far")
    near = project(far, begun.x, begun.eps, norm)
    assert torch.all(length(near - begun.x, norm) <= 0.3 + 1e-6)
    assert torch.all((near >= 0) & (near <= 1))
    torch.testing.assert_close(project(near, begun.x, begun.eps, norm), near, rtol=0, atol=1e-7)


def test_a_row_of_zeros_has_no_direction_and_tiny_ones_do():
    rows = torch.stack([torch.zeros(1, 2, 2), torch.full((1, 2, 2), 1e-30)])
    assert torch.equal(unit(rows)[0], rows[0])
    assert length(unit(rows), "l2")[1] == pytest.approx(1.0)


@pytest.mark.parametrize("pixels", [4, 64, 1024])
def test_the_slack_of_a_ball_is_a_rounding_of_each_pixel_and_no_more(pixels):
    """A millionth of the pixel range in each pixel: so it is in L∞, and √n times that in L2."""
    origin = torch.full((1, 1, 1, pixels), 0.5, dtype=torch.float64)
    for norm, slack in (("linf", 1e-6), ("l2", 1e-6 * pixels**0.5)):
        for distance, inside in ((0.1 + 0.9 * slack, True), (0.1 + 1.1 * slack, False)):
            moved = origin.clone()
            moved[..., 0] += distance
            assert inside_ball(moved, origin, torch.tensor([0.1]).double(), norm).tolist() == [inside], (norm, distance)


@pytest.mark.parametrize(
    ("value", "inside"), [(0.0, True), (1.0, True), (-1e-6, False), (1 + 1e-6, False), (torch.nan, False)]
)
def test_a_point_outside_the_box_is_outside_every_ball(value, inside):
    origin = torch.full((2, 1, 2, 2), 0.5)
    moved = origin.clone()
    moved[1, 0, 1, 0] = value
    assert inside_ball(moved, origin, torch.full((2,), torch.inf), "l2").tolist() == [True, inside]
