"""Exact worst points of a ball cut by the unit box, flat and curved, and images whose ball the box does cut."""

import torch
from tests.oracles import SHAPE, Bowl, Plane

from demur.classifier import BoundClassifier

CLASSES = ("zero", "one")


def flat():
    return Plane()


def curved():
    """A bowl whose lowest point lies outside the unit box, so that the way there ends at a wall."""
    bowl = Bowl(radius=1.2)
    bowl.centre.data = torch.linspace(-0.4, 1.4, 16)
    return bowl


ORACLES = {"flat": flat, "curved": curved}


def downhill(oracle, x):
    """Where the label's claim falls fastest: along the normal for ever, or to the centre of the bowl and no further."""
    if isinstance(oracle, Plane):
        return 1e6 * oracle.normal.detach().view(1, *SHAPE).expand_as(x)
    return oracle.centre.detach().view(1, *SHAPE) - x


def worst(oracle, x, eps, norm):
    """The worst point of each row's ball ∩ box, in float64.

    For L2 it is x + clamp(s·v) with the largest share s of the way v that stays in the ball: what the conditions of
    Karush, Kuhn and Tucker say of a linear and of a spherical loss. Found by bisection.
    """
    x, v = x.double(), downhill(oracle, x).double()
    if norm == "linf":
        return (x + v.clamp(-eps, eps)).clamp(0, 1)
    low, high = torch.zeros(len(x), 1, 1, 1).double(), torch.ones(len(x), 1, 1, 1).double()
    for _ in range(80):
        middle = (low + high) / 2
        size = ((x + middle * v).clamp(0, 1) - x).flatten(1).norm(dim=1)[:, None, None, None]
        low, high = torch.where(size <= eps, middle, low), torch.where(size <= eps, high, middle)
    return (x + torch.where(high > 1 - 1e-12, 1.0, low) * v).clamp(0, 1)


def inner(oracle, rows):
    """Images of the oracle's label that keep away from the walls."""
    return _of_label(oracle, rows, lambda generator: 0.35 + 0.3 * torch.rand(512, *SHAPE, generator=generator))


def walled(oracle, rows):
    """Images of the oracle's label of which about half the pixels touch a wall."""

    def draw(generator):
        return (2 * torch.rand(512, *SHAPE, generator=generator) - 0.5).clamp(0, 1)

    return _of_label(oracle, rows, draw)


def _of_label(oracle, rows, draw):
    generator = torch.Generator().manual_seed(0)
    found = []
    with torch.no_grad():
        while len(found) < rows:
            x = draw(generator)
            found += list(x[oracle(x).argmax(dim=1) == oracle.label])
    return torch.stack(found[:rows])


def contested(oracle, x):
    """The images the oracle gets right after its boundary is moved to where about half of them can be fooled."""
    if isinstance(oracle, Bowl):
        oracle.radius = float((x.flatten(1) - oracle.centre.detach()).norm(dim=1).median()) - 0.2
    with torch.no_grad():
        return x[oracle(x).argmax(dim=1) == oracle.label]


def classifier_of(oracle, dtype=torch.float32):
    """The oracle behind demur's contract, in a precision."""
    return BoundClassifier(oracle.to(dtype).eval(), classes=CLASSES, input_shape=SHAPE)
