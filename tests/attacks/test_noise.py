"""Noise succeeds exactly as often as the share of the ball that the plane cuts off."""

import itertools

import pytest
import torch
from scipy.special import betainc
from torch import nn

from demur.attacks.core.harness import run
from demur.attacks.core.objective import Objective
from demur.attacks.noise import Noise
from demur.classifier import BoundClassifier
from demur.randomness import Keys

ROWS = 3000
SHAPE = (1, 2, 4)
NORMAL = torch.tensor([1.0, -2.0, 0.5, 3.0, -0.25, 1.5, -1.0, 0.75])


class Cut(nn.Module):
    """Class 1 lies further along `normal` from the middle of the box than `reach`."""

    def __init__(self, normal, reach):
        super().__init__()
        self.normal, self.reach = nn.Parameter(normal), reach

    def forward(self, x):
        z = (x.flatten(1) - 0.5) @ self.normal - self.reach
        return torch.stack([-z, z], dim=1)


def first_and_second(attack, normal, reach):
    """Shares of rows that the first draw fools, and of the rest that the second does."""
    objective = Objective(
        BoundClassifier(Cut(normal, reach).eval(), classes=("no", "yes"), input_shape=SHAPE), "margin"
    )
    x, y = torch.full((ROWS, *SHAPE), 0.5), torch.zeros(ROWS, dtype=torch.long)
    keys = Keys.of(0, [str(row) for row in range(ROWS)], "noise")
    outcome = run(attack, objective, x, y, keys, batch=512)
    assert torch.all(outcome.backwards == 0)
    first = outcome.fooled & (outcome.step == 0)
    return float(first.float().mean()), float(outcome.fooled[~first].float().mean())


def assert_share(found, expected, rows):
    assert abs(found - expected) <= 4 * (expected * (1 - expected) / rows) ** 0.5 + 1e-3


@pytest.mark.parametrize(("eps", "reach"), [(0.1, 0.03), (0.1, 0.09), (0.3, 0.03)])
def test_of_one_pixel_the_ball_is_an_interval_and_its_ends(eps, reach):
    normal = torch.zeros(8)
    normal[3] = 1.0
    inside, corner = first_and_second(Noise(eps=eps, steps=1), normal, reach)
    assert_share(inside, (eps - reach) / (2 * eps), ROWS)
    assert_share(corner, 0.5, ROWS * (1 - inside))


@pytest.mark.parametrize("eps", [0.05, 0.2])
def test_corners_are_drawn_evenly(eps):
    corners = torch.tensor(list(itertools.product((-1.0, 1.0), repeat=8))) @ NORMAL
    inside, corner = first_and_second(Noise(eps=eps, steps=1), NORMAL, 3.1 * eps)
    assert_share(corner, float((corners > 3.1).float().mean()), ROWS * (1 - inside))


@pytest.mark.parametrize(("eps", "share"), [(0.1, 0.2), (0.3, 0.4), (0.3, 0.0)])
def test_of_a_sphere_the_plane_cuts_off_a_cap(eps, share):
    """Caps of balls and spheres: Li (2011), "Concise formulas for the area and volume of a hyperspherical cap"."""
    size = len(NORMAL)
    inside, surface = first_and_second(Noise(eps=eps, norm="l2", steps=1), NORMAL, share * eps * float(NORMAL.norm()))
    ball, sphere = (betainc((size + more) / 2, 0.5, 1 - share**2) / 2 for more in (1, -1))
    assert_share(inside, ball, ROWS)
    assert_share(surface, sphere, ROWS * (1 - inside))


@pytest.mark.parametrize("steps", [1, 5, 30])
def test_every_draw_is_a_new_one(steps):
    normal = torch.zeros(8)
    normal[0] = 1.0
    attack = Noise(eps=0.1, steps=steps)
    objective = Objective(BoundClassifier(Cut(normal, 0.08).eval(), classes=("no", "yes"), input_shape=SHAPE), "margin")
    x, y = torch.full((ROWS, *SHAPE), 0.5), torch.zeros(ROWS, dtype=torch.long)
    outcome = run(attack, objective, x, y, Keys.of(0, [str(row) for row in range(ROWS)], "noise"), batch=512)
    points = steps + 1
    survives = 0.9 ** ((points + 1) // 2) * 0.5 ** (points // 2)
    assert_share(float(outcome.fooled.float().mean()), 1 - survives, ROWS)
