"""Nets whose maps are known or easy to compute slowly."""

import torch
from tests.classifier.classifier_nets import SHAPE, net, seeded
from torch import nn

from demur.classifier import BoundClassifier
from demur.randomness import Keys
from demur.registry import build

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.5)
CLASSES = torch.tensor([0, 3, 2, 1, 0])


class Deep(nn.Module):
    """Two convolutions, in-place ReLUs between, maps averaged into a linear head."""

    def __init__(self, end=None, outputs=4):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 5, 3, padding=1), nn.Conv2d(5, 6, 3, stride=2)
        self.bend = nn.ReLU(inplace=True)
        self.head = nn.Linear(6, outputs)
        self.end = end or nn.Identity()

    def forward(self, x):
        x = self.bend(self.second(self.bend(self.first(x))))
        return self.end(self.head(x.mean(dim=(2, 3))) / 4)


class Affine(nn.Module):
    """Logits that are linear in the image."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(3 * 8 * 8, 4)

    def forward(self, x):
        return self.head(x.flatten(1))


class Against(Deep):
    """All that the last layer puts out is positive and speaks against every class: its maps are empty."""

    def forward(self, x):
        x = self.bend(self.second(self.bend(self.first(x))))
        return -x.mean(dim=(2, 3)) @ self.head.weight.abs().T


def wrapped(module=None, classes="abcd", **declared):
    module = seeded(Deep()) if module is None else module
    return BoundClassifier(module, classes=tuple(classes), input_shape=SHAPE, **declared)


KINDS = {
    "logits": lambda: wrapped(mean=MEAN, std=STD),
    "lone": lambda: wrapped(net()),
    "probabilities": lambda: wrapped(seeded(Deep(nn.Softmax(dim=1))), output="probabilities"),
    "sigmoids": lambda: wrapped(seeded(Deep(nn.Sigmoid())), output="sigmoid"),
    "one number": lambda: wrapped(seeded(Deep(outputs=1)), "ab", output="logit"),
    "one sigmoid": lambda: wrapped(seeded(Deep(nn.Sigmoid(), outputs=1)), "ab", output="sigmoid"),
    "double": lambda: wrapped().double,
}


def keys(rows):
    return Keys.of(5, [f"image {row}" for row in range(rows)], "map")


def maps_of(name, classifier, x, classes):
    return (build("map", name) if isinstance(name, str) else name)(classifier, x, classes, keys(len(x)))
