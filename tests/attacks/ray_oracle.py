"""What the tests of rays share: an oracle along one line, a counting objective, brute force."""

import torch
from tests.attacks.counting_objective import Counting
from tests.oracles import CLASSES, ORDER, SHAPE
from torch import nn

from demur.classifier import BoundClassifier
from demur.randomness import Keys

ROWS = 24
NORMS = ("linf", "l2")
CLEAR = 1e-4
"""How much further out an answer flips clearly, by 1e-5 of the largest logit, than at all."""


class Along(nn.Module):
    """The margin of class 1 is any function of the mean pixel."""

    label = 0

    def __init__(self, margin):
        super().__init__()
        self.margin = margin
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x):
        z = self.scale * self.margin(x.flatten(1).mean(dim=1))
        return torch.stack([torch.zeros_like(z), z], dim=1) + 3


def given(module, x, ray=None, wrong=0, **named):
    """An objective, labels and keys."""
    y = torch.full((len(x),), module.label)
    y[:wrong] = 1 - y[:wrong]
    classifier = BoundClassifier(module.to(x.dtype).eval(), classes=CLASSES, input_shape=SHAPE)
    objective = Counting(classifier, "cross_entropy" if ray is None else ray.loss, **named)
    return objective, x, y, Keys.of(0, [str(k) for k in range(len(x))], "ray")


def unit(direction, norm):
    return direction / direction.flatten(1).norm(p=ORDER[norm], dim=1)[:, None, None, None]


def way(ray, objective, x, y, keys):
    """The direction of each row, written out."""
    leaf = x.clone().requires_grad_()
    loss = nn.functional.cross_entropy(objective.classifier.logits(leaf).double(), y, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, leaf)
    match ray.direction:
        case "sign":
            return unit(gradient.sign(), ray.norm)
        case "gradient":
            return unit(gradient, ray.norm)
        case _:
            return unit(keys.normal(x, "direction"), ray.norm)


def brute(ray, objective, x, y, direction, points=1000):
    """Row by row: the scan, then many points before the first of it that flips; which of them flips first.

    Infinite where none does; and how far apart the points lie.
    """

    def flips(row, t):
        at = (x[row] + t[:, None, None, None] * direction[row]).clamp(0, 1)
        return objective.classifier.logits(at).argmax(dim=1) != y[row]

    first, spacing = torch.full((2, len(x)), torch.inf, dtype=x.dtype)
    scan = torch.cat([torch.zeros(1), ray.sizes(x)])
    for row in range(len(x)):
        seen = flips(row, scan).nonzero()
        if len(seen):
            k = int(seen[0])
            grid = torch.linspace(scan[k - 1], scan[k], points + 1)
            first[row], spacing[row] = grid[flips(row, grid)][0], grid[1] - grid[0]
    return first, spacing


def check(ray, objective, x, y, found, direction):
    """The upper end flips and is what is recorded; the lower end does not."""
    out, flipped = found.outcome, found.outcome.fooled & (found.outcome.step > 0)
    assert torch.all((found.high - found.low)[flipped] <= ray.tolerance * (1 + 1e-3))
    for t, flips in ((found.low, False), (found.high, True)):
        at = (x + t[:, None, None, None].nan_to_num(posinf=0.0) * direction).clamp(0, 1)
        assert torch.all(
            (objective.fooled(objective.answer(at, y, objective.classifier.logits(at)), y) == flips)[flipped]
        )
    torch.testing.assert_close(out.x[flipped], at[flipped], rtol=0, atol=1e-6)
    sizes = (out.x - x).flatten(1).norm(p=ORDER[ray.norm], dim=1)
    torch.testing.assert_close(out.size(ray.norm), sizes)
    assert torch.all(out.x[~out.fooled] == x[~out.fooled])
    assert torch.all((out.x >= 0) & (out.x <= 1))
