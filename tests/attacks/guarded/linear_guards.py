"""Guards whose worst points are known: a plane that decides, and a score that is linear in the image."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.optimize import linprog
from tests.oracles import CLASSES, SHAPE, Plane, images

from demur.attacks.guarded.guarded_classifier import GuardedClassifier
from demur.classifier import BoundClassifier
from demur.randomness import Keys

ROWS, EPS, FAR = 16, 0.08, 0.15
SLOPE = torch.tensor([2.0, -1.0, 1.5, 1.0, 0.5, 2.0, 1.0, -0.5] * 2)


@dataclass(frozen=True)
class Tilt:
    """A score that is linear in the image."""

    sign: float = 1.0

    def __call__(self, evidence):
        return self.sign * evidence.images.flatten(1).double().cpu() @ SLOPE.double()


@dataclass(frozen=True)
class Misled(Tilt):
    """Its surrogate rises where the score falls."""

    def surrogate(self, evidence):
        return -self(evidence)


@dataclass(frozen=True)
class Sealed:
    """A score that is never below its bound, with a surrogate that always is."""

    def __call__(self, evidence):
        return torch.ones(len(evidence), dtype=torch.float64)

    def surrogate(self, evidence):
        return evidence.images.flatten(1).double().sum(dim=1) * 1e-3 - 100


def keys(rows=ROWS):
    return Keys.of(0, [str(row) for row in range(rows)], "guards")


def setting(signals, bounds, oracle=None, rows=ROWS):
    """A guarded oracle, images that it answers rightly, and their labels."""
    oracle = oracle or Plane()
    classifier = BoundClassifier(oracle.eval(), classes=CLASSES, input_shape=SHAPE)
    x = images(type(oracle)(), rows)
    return GuardedClassifier(classifier, signals, bounds), x, torch.full((rows,), oracle.label)


def least_scores(oracle, x, eps=FAR):
    """The smallest score of a wrong answer in each ball, by linear programming; infinite where none is wrong."""
    normal, found = oracle.normal.detach().double().numpy(), []
    for row in x.flatten(1).double().numpy():
        bounds = np.stack([(row - eps).clip(0), (row + eps).clip(max=1)], axis=1)
        made = linprog(SLOPE.numpy(), A_ub=-normal[None], b_ub=[float(oracle.offset.detach())], bounds=bounds)
        found.append(made.fun if made.success else np.inf)
    return torch.tensor(found, dtype=torch.float64)
