"""Moved and turned images against a slow resampling, and translations that a net of one pixel asks for."""

import math

import pytest
import torch
from torch import nn

from demur.attacks.core.harness import run
from demur.attacks.core.objective import Objective
from demur.attacks.spatial import Spatial, transformed
from demur.classifier import BoundClassifier
from demur.errors import InputError, UnknownNameError
from demur.randomness import Keys


def images(rows, shape, seed=0):
    return torch.rand(rows, *shape, generator=torch.Generator().manual_seed(seed)).double()


def numbers(*values):
    return torch.tensor(values).double()


def mirrored(place, size):
    """A coordinate reflected at the edges of the image until it lies inside, then held between outer pixel centres."""
    place = (place + 0.5) % (2 * size)
    place = 2 * size - place if place > size else place
    return min(max(place - 0.5, 0.0), size - 1.0)


def slowly(x, down, right, angle, padding):
    """Each pixel from where it was before: the move undone, the turn undone, the four neighbours mixed."""
    _, height, width = x.shape
    out = torch.zeros_like(x)
    for i in range(height):
        for j in range(width):
            v, u = i - (height - 1) / 2 - down * height, j - (width - 1) / 2 - right * width
            source_j = u * math.cos(angle) - v * math.sin(angle) + (width - 1) / 2
            source_i = u * math.sin(angle) + v * math.cos(angle) + (height - 1) / 2
            if padding == "reflection":
                source_i, source_j = mirrored(source_i, height), mirrored(source_j, width)
            for a in (math.floor(source_i), math.floor(source_i) + 1):
                for b in (math.floor(source_j), math.floor(source_j) + 1):
                    if 0 <= a < height and 0 <= b < width:
                        share = (1 - abs(source_i - a)) * (1 - abs(source_j - b))
                        out[:, i, j] += share * x[:, a, b]
    return out


@pytest.mark.parametrize("padding", ["zeros", "reflection"])
@pytest.mark.parametrize("shape", [(1, 6, 6), (3, 5, 8), (2, 7, 4)], ids=str)
def test_an_image_is_resampled_as_a_slow_loop_does(shape, padding):
    x = images(4, shape)
    down, right = numbers(0.0, 0.13, -0.2, 0.31), numbers(0.0, -0.07, 0.25, 0.4)
    angle = numbers(0.4, -0.9, 0.05, 2.1)
    found = transformed(x, down, right, angle, padding)
    for row in range(4):
        expected = slowly(x[row], float(down[row]), float(right[row]), float(angle[row]), padding)
        torch.testing.assert_close(found[row], expected, rtol=0, atol=1e-9)


def test_a_quarter_turn_is_anticlockwise_and_a_move_goes_down_and_right():
    x, none = images(1, (2, 6, 6)), numbers(0.0)
    torch.testing.assert_close(transformed(x, none, none, numbers(math.pi / 2)), x.rot90(1, (2, 3)))
    shifted = transformed(x, numbers(1 / 6), numbers(2 / 6), none)
    torch.testing.assert_close(shifted[:, :, 1:, 2:], x[:, :, :-1, :-2])
    assert torch.all(shifted[:, :, :1].abs() < 1e-12)
    assert torch.all(shifted[:, :, :, :2].abs() < 1e-12)


class Spot(nn.Module):
    """Class 1 needs light at one pixel."""

    def __init__(self, row, column):
        super().__init__()
        self.place, self.bias = (row, column), nn.Parameter(torch.tensor(0.9))

    def forward(self, x):
        z = 10 * (x[:, 0, self.place[0], self.place[1]] - self.bias)
        return torch.stack([-z, z], dim=1)


def attack_all(attack, net, x, keep="first", batch=4):
    classifier = BoundClassifier(net.eval(), classes=("dark", "light"), input_shape=tuple(x.shape[1:]))
    y = torch.zeros(len(x), dtype=torch.long)
    keys = Keys.of(0, [str(row) for row in range(len(x))], "spatial")
    return run(attack, Objective(classifier, "margin"), x, y, keys, keep=keep, batch=batch)


def light(rows=3):
    x = torch.zeros(rows, 1, 8, 8)
    x[:, 0, 4, 4] = 1
    return x


@pytest.mark.parametrize(("place", "within"), [((3, 6), True), ((6, 2), True), ((5, 4), True), ((7, 4), False)])
def test_a_grid_finds_the_one_translation_that_brings_the_light_to_the_pixel(place, within):
    attack = Spatial(grid=True, steps=124, max_translation=0.25, max_rotation=0.0)
    outcome = attack_all(attack, Spot(*place), light())
    assert bool(outcome.fooled.all()) == within == bool(outcome.fooled.any())
    expected = torch.zeros_like(light())
    expected[(slice(None), 0, *(place if within else (4, 4)))] = 1
    torch.testing.assert_close(outcome.x, expected, rtol=0, atol=1e-5)
    assert torch.all(outcome.backwards == 0)


def test_a_grid_finds_the_turn_that_brings_the_light_to_the_pixel():
    x = torch.zeros(2, 1, 9, 9)
    x[:, 0, 4, 6] = 1
    quarter = Spatial(grid=True, steps=26, max_translation=0.0, max_rotation=90.0)
    assert attack_all(quarter, Spot(2, 4), x).fooled.all()
    assert attack_all(quarter, Spot(6, 4), x).fooled.all()
    assert not attack_all(Spatial(grid=True, steps=26, max_rotation=60.0), Spot(2, 4), x).fooled.any()


def test_grid_points_are_all_different_and_reach_both_ends():
    x = images(1, (1, 9, 9)).float()
    seen = []

    class Watching(nn.Module):
        def forward(self, x):
            seen.append(x.clone())
            return torch.stack([x.sum(dim=(1, 2, 3)) * 0 + 5, x.sum(dim=(1, 2, 3)) * 0], dim=1)

    attack_all(Spatial(grid=True, steps=29, max_translation=0.2, max_rotation=20.0), Watching(), x)
    looked = [found[0] for found in seen[-30:]]
    assert len({tuple(found.flatten().tolist()) for found in looked}) == 30
    for share in (-1.0, 1.0):
        corner = transformed(x.double(), *(numbers(share * reach) for reach in (0.2, 0.2, math.radians(20.0))))
        assert min(float((corner - found).abs().max()) for found in looked) < 1e-5


@pytest.mark.parametrize("steps", [20, 60])
def test_at_random_more_tries_find_more(steps):
    """A light moved by up to two pixels either way shines on a pixel by the overlap of the two."""
    attack = Spatial(steps=steps, max_translation=0.25, max_rotation=0.0)
    net = Spot(3, 5)
    net.bias.data.fill_(0.5)
    share = float(attack_all(attack, net, light(600), batch=300).fooled.float().mean())
    overlap = 1 - torch.linspace(-1, 1, 401).abs()
    hit = float((torch.outer(overlap, overlap) > 0.5).float().mean()) * (2 / 4) ** 2
    expected = 1 - (1 - hit) ** (steps + 1)
    assert abs(share - expected) <= 4 * (expected * (1 - expected) / 600) ** 0.5 + 0.005


def test_moves_and_turns_stay_within_their_limits(monkeypatch):
    told = []
    monkeypatch.setattr("demur.attacks.spatial.transformed", lambda x, *numbers: (told.append(numbers), x)[1])
    attack = Spatial(steps=40, max_translation=0.3, max_rotation=15.0)
    attack_all(attack, Spot(0, 0), light(50), keep="worst")
    for axis, most in ((0, 0.3), (1, 0.3), (2, math.radians(15.0))):
        drawn = torch.cat([numbers[axis] for numbers in told])
        assert 0.97 * most < float(drawn.abs().max()) <= most
        assert abs(float(drawn.mean())) < 0.05 * most


@pytest.mark.parametrize(
    ("fields", "error", "words"),
    [
        ({"max_translation": 1.5}, InputError, "a share of the side"),
        ({"max_rotation": 270.0}, InputError, "degrees"),
        ({"grid": True}, InputError, "at least 26"),
        ({"padding": "zero"}, UnknownNameError, "'zeros'"),
        ({"steps": 0}, InputError, "steps"),
    ],
)
def test_a_hyper_parameter_out_of_range_is_refused(fields, error, words):
    with pytest.raises(error, match=words):
        Spatial(**fields)
