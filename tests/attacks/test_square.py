"""Square against a slow copy of its algorithm box, closed-form worst corners, and images of any shape."""

import math

import pytest
import torch
from tests.oracles import CLASSES, SHAPE, Bowl, Plane, images
from torch import nn

from demur.attacks.core.attack_state import AttackState, Output
from demur.attacks.core.harness import run
from demur.attacks.core.objective import Objective
from demur.attacks.square import Square
from demur.classifier import BoundClassifier
from demur.errors import InputError
from demur.randomness import Keys

EPS = {"linf": 0.08, "l2": 0.4}
PUBLISHED = [(0, 1), (10, 1), (11, 2), (50, 2), (51, 4), (200, 4), (201, 8), (501, 16), (1001, 32), (2001, 64),
             (4001, 128), (6001, 256), (8000, 256), (8001, 512), (9999, 512)]  # fmt: skip
STEPS = [0, 3, 40, 150, 400, 700, 999]


def walk_at(shape, rows=7, norm="linf"):
    """A state that has come some way: a clean image, a best point inside the ball, a candidate better for half."""
    generator = torch.Generator().manual_seed(3)
    origin = torch.rand(rows, *shape, generator=generator).double()
    delta = torch.randn(rows, *shape, generator=generator).double()
    delta *= EPS[norm] / delta.flatten(1).norm(dim=1, p=math.inf if norm == "linf" else 2)[:, None, None, None] / 1.3
    best = (origin + delta).clamp(0, 1)
    x = (origin - delta).clamp(0, 1)
    state = AttackState(
        x=x,
        y=torch.zeros(rows, dtype=torch.long),
        origin=origin,
        eps=torch.full((rows,), EPS[norm], dtype=torch.float64),
        seed=Keys.of(1, [str(row) for row in range(rows)], "").seeds("attack"),
        logits=torch.zeros(rows, 2),
    )
    return state.at(x, best=best, highest=torch.zeros(rows).double())


def seen_at(state, steps):
    loss = torch.tensor([1.0, -1.0] * len(state))[: len(state)].double()
    none = torch.empty(0)
    step = torch.tensor(steps)
    return Output(logits=state.logits, loss=loss, gradient=none, jacobian=none, fooled=loss > 9, step=step)


def side_of(share, step, steps, shape):
    halvings = sum(step * 10_000 // steps > bar for bar in (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000))
    return round(math.sqrt(share / 2**halvings * shape[1] * shape[2]))


def corner(state, draw, side, step):
    """Top and left of the row's square."""
    share = state.uniform(draw, state.x.new_empty(len(state), 2), step)[0]
    return int(share[0] * (state.x.shape[2] - side + 1)), int(share[1] * (state.x.shape[3] - side + 1))


def sign_of(state, step):
    return torch.where(state.uniform("colour", state.x[:, :, :1, :1], step)[0, :, 0, 0] < 0.5, -1.0, 1.0)


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 6, 9), (2, 12, 5)], ids=str)
def test_a_step_in_the_cube_is_that_of_the_algorithm_box(shape):
    state = walk_at(shape)
    moved = Square(eps=EPS["linf"], share=0.5).advance(state, seen_at(state, STEPS))
    for row, step in enumerate(STEPS):
        one, turn = state.rows(torch.tensor([row])), torch.tensor([step])
        best = one.x[0] if row % 2 == 0 else one.best[0]
        side = min(max(side_of(0.5, step, 1000, shape), 1), *shape[1:])
        top, left = corner(one, "square", side, turn)
        colour = sign_of(one, turn)
        expected = best.clone()
        for channel in range(shape[0]):
            for i in range(top, top + side):
                for j in range(left, left + side):
                    value = one.origin[0, channel, i, j] + EPS["linf"] * colour[channel]
                    expected[channel, i, j] = min(max(float(value), 0.0), 1.0)
        torch.testing.assert_close(moved.x[row], expected)
        assert torch.equal(moved.best[row], best)


def rectangle(height, width):
    """The bump of the paper, as nested squares that add up; Andriushchenko et al. (2020), supplement A."""
    bump = torch.zeros(height, width).double()
    top, left = height // 2, width // 2
    for count in range(max(height // 2 + 1, width // 2 + 1)):
        rows = slice(max(top, 0), min(top + 2 * count + 1, height))
        columns = slice(max(left, 0), min(left + 2 * count + 1, width))
        bump[rows, columns] += 1 / (count + 1) ** 2
        top, left = top - 1, left - 1
    return bump / bump.norm() if bump.numel() else bump


def eta(side):
    bump = torch.cat([rectangle(side // 2, side), -rectangle(side - side // 2, side)])
    return bump / bump.norm()


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 6, 9), (2, 12, 5), (1, 3, 4)], ids=str)
def test_a_step_in_the_sphere_is_that_of_the_algorithm_box(shape):
    state, eps = walk_at(shape, norm="l2"), EPS["l2"]
    moved = Square(eps=eps, norm="l2").advance(state, seen_at(state, STEPS))
    odd = min(shape[1:]) - 1 + min(shape[1:]) % 2
    for row, step in enumerate(STEPS):
        one, turn = state.rows(torch.tensor([row])), torch.tensor([step])
        delta = (one.x if row % 2 == 0 else one.best)[0] - one.origin[0]
        side = max(side_of(0.8, step, 1000, shape), 3)
        side = min(side + 1 - side % 2, odd)
        boxes = [corner(one, draw, side, turn) for draw in ("square", "second square")]
        here, there = ((..., slice(top, top + side), slice(left, left + side)) for top, left in boxes)
        either = torch.zeros(shape).double()
        either[here], either[there] = 1, 1
        left_over = max(eps**2 - float(delta.square().sum()), 0) / shape[0]
        energy = left_over + (delta * either).square().sum(dim=(1, 2), keepdim=True)
        bump = eta(side).T if float(one.uniform("turned", one.eps, turn)[0]) >= 0.5 else eta(side)
        old = delta[here] / (delta[here].square().sum(dim=(1, 2), keepdim=True).sqrt() + 1e-12)
        new = bump * sign_of(one, turn)[:, None, None] + old
        new = new / (new.square().sum(dim=(1, 2), keepdim=True).sqrt() + 1e-12) * energy.sqrt()
        delta = delta.clone()
        delta[there] = 0
        delta[here] = new
        expected = (one.origin[0] + eps * delta / delta.norm()).clamp(0, 1)
        torch.testing.assert_close(moved.x[row], expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("step", "part"), PUBLISHED)
def test_squares_shrink_by_the_published_schedule_whatever_the_number_of_steps(step, part):
    state = walk_at((1, 64, 64), rows=1)
    for steps in (10_000, 40_000):
        attack = Square(eps=0.1, steps=steps)
        side = attack._side(state, torch.tensor([step * steps // 10_000]))
        assert int(side) == max(round(math.sqrt(0.8 / part * 64 * 64)), 1)


def attack_all(attack, oracle, x, label, keep="worst", batch=64):
    classifier = BoundClassifier(oracle.eval(), classes=CLASSES, input_shape=tuple(x.shape[1:]))
    keys = Keys.of(0, [str(row) for row in range(len(x))], "square")
    y = torch.full((len(x),), label)
    return run(attack, Objective(classifier, "margin"), x, y, keys, keep=keep, batch=batch)


def best_corner(oracle, x, eps):
    """The corner of ball ∩ box where the loss is highest: each pixel alone decides its end."""
    low, high = (x - eps).clamp(0, 1), (x + eps).clamp(0, 1)
    if isinstance(oracle, Plane):
        return oracle.worst(x, eps)
    centre = oracle.centre.detach().view(1, *SHAPE)
    return torch.where((low - centre).abs() < (high - centre).abs(), low, high)


@pytest.mark.parametrize("oracle", [Plane(), Bowl()], ids=lambda o: type(o).__name__)
@pytest.mark.parametrize("eps", [0.03, 0.08, 0.3])
def test_given_enough_queries_it_finds_the_worst_corner(oracle, eps):
    x = images(oracle, 16)
    outcome = attack_all(Square(eps=eps, steps=400), oracle, x, oracle.label)
    margin = Objective(BoundClassifier(oracle.eval(), classes=CLASSES, input_shape=SHAPE), "margin")
    y = torch.full((16,), oracle.label)
    clean, best = (margin.loss(margin.answer(point, y), y) for point in (x, best_corner(oracle, x, eps)))
    assert torch.all(outcome.loss_kept <= best + 1e-4)
    assert torch.all(outcome.loss_kept >= best - 0.01 * (best - clean).abs() - 1e-4)
    assert torch.all(outcome.backwards == 0)
    assert torch.all(outcome.linf <= eps + 1e-6)


class Slope(nn.Module):
    """Class 1 lies along a normal that is smooth over the image, as those of trained nets are."""

    def __init__(self):
        super().__init__()
        down = torch.linspace(-1, 1, 12)
        self.normal = nn.Parameter(torch.outer(down, torch.cos(2 * down)).flatten())

    def forward(self, x):
        z = x.flatten(1) @ self.normal
        return torch.stack([torch.zeros_like(z), z], dim=1)


def test_in_the_sphere_it_goes_most_of_the_way_along_the_normal_and_uses_the_whole_radius():
    oracle, x = Slope(), torch.full((8, 1, 12, 12), 0.5)
    outcome = attack_all(Square(eps=0.5, norm="l2", steps=500), oracle, x, 0)
    possible = 0.5 * float(oracle.normal.detach().norm())
    gained = outcome.loss_kept - oracle(x)[:, 1].detach()
    assert torch.all(gained <= possible + 1e-5)
    assert torch.all(gained >= 0.6 * possible)
    torch.testing.assert_close(outcome.l2, torch.full((8,), 0.5))


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_more_queries_find_worse_points(norm):
    oracle = Bowl()
    x = images(oracle, 32)
    kept = [
        attack_all(Square(eps=EPS[norm], norm=norm, steps=steps), oracle, x, 1).loss_kept.mean()
        for steps in (1, 10, 50, 200)
    ]
    assert kept == sorted(kept)
    assert kept[-1] > kept[0] + 0.1


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 2), (1, 2, 3), (3, 1, 9), (1, 2, 2), (1, 11, 3)], ids=str)
def test_images_of_any_shape_are_attacked(norm, shape):
    torch_net = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 2))
    with torch.no_grad():
        torch_net[1].weight.copy_(torch.stack([torch.zeros(math.prod(shape)), torch.ones(math.prod(shape))]))
        torch_net[1].bias.zero_()
    x = torch.full((3, *shape), 0.5)
    outcome = attack_all(Square(eps=0.2, norm=norm, steps=150), torch_net, x, 0, keep="worst", batch=2)
    assert torch.all(outcome.troubles == 0)
    gained = outcome.loss_kept - math.prod(shape) / 2
    ideal = 0.2 * (math.prod(shape) if norm == "linf" else math.sqrt(math.prod(shape)))
    assert torch.all(gained <= ideal + 1e-5)
    assert torch.all(gained > (0.8 if norm == "linf" else 0.3) * ideal)


@pytest.mark.parametrize(
    ("fields", "words"), [({"share": 1.0}, "share"), ({"steps": 0}, "steps"), ({"eps": 8}, "8/255")]
)
def test_a_hyper_parameter_out_of_range_is_refused(fields, words):
    with pytest.raises(InputError, match=words):
        Square(**{"eps": 0.1, **fields})
