"""A small net with dropout, images it has not seen, and reference images it often gets wrong."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import nn

from demur.classifier import Classifier
from demur.evidence import Evidence
from demur.randomness import Keys

SHAPE = (1, 8, 8)
CLASSES = tuple("abcd")


class Net(nn.Module):
    """Two hidden layers, dropped out by map and by value, and a linear head on 16 features."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3)
        self.maps = nn.Dropout2d(0.25)
        self.wide = nn.Linear(6 * 9, 16)
        self.values = nn.Dropout(0.4)
        self.head = nn.Linear(16, len(CLASSES))
        rng = np.random.default_rng(seed)
        for parameter in self.parameters():
            scale = 1.5 / np.sqrt(max(1, parameter[0].numel()))
            parameter.data = torch.from_numpy(rng.normal(0, scale, tuple(parameter.shape)).astype(np.float32))

    def body(self, x):
        x = torch.max_pool2d(torch.relu(self.conv(4 * x - 2)), 2)
        return torch.relu(self.wide(self.maps(x).flatten(1)))

    def forward(self, x):
        return self.head(self.values(self.body(x)))

    @property
    def weights(self):
        return tuple(part.double().detach().numpy() for part in (self.head.weight, self.head.bias))


def pictures(keys):
    """Stripes across or down at a strength and width of their own, in noise."""
    noise = keys.uniform(torch.empty(len(keys), *SHAPE), "noise")
    across, strength, width = keys.uniform(torch.empty(len(keys), 3), "stripes").T[:, :, None, None, None]
    y, x = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    stripes = torch.sin(torch.where(across < 0.5, x, y) * (0.4 + 2 * width))
    return (0.5 + 0.35 * strength * stripes + 0.3 * (noise - 0.5)).clamp(0, 1)


@dataclass(frozen=True)
class Reference:
    """Evidence of the reference, batch by batch, anew each time."""

    world: "World"

    def __iter__(self):
        world = self.world
        for part in torch.split(torch.arange(len(world.labels)), world.batch):
            rows = part.tolist()
            yield Evidence(
                world.classifier,
                world.known[part],
                world.layers,
                features=True,
                keys=world.known_keys.rows(rows),
                groups=None if world.groups is None else [world.groups[row] for row in rows],
            )


@dataclass(frozen=True)
class World:
    """Everything a signal may read, and what a slow reference may look up."""

    layers: tuple[str, ...] = ()
    batch: int = 32
    groups: tuple[str, ...] | None = None
    rows: int = 12
    references: int = 160

    @cached_property
    def net(self):
        """Its head is shifted so that every class has its images."""
        net = Net().eval()
        with torch.no_grad():
            net.head.weight *= 4
            net.head.bias.copy_(-net.head.weight @ net.body(self.known).mean(dim=0))
        return net

    @cached_property
    def classifier(self):
        return Classifier(self.net, classes=CLASSES, input_shape=SHAPE)

    @cached_property
    def keys(self):
        return Keys.of(0, [f"image {row}" for row in range(self.rows)], "world")

    @cached_property
    def known_keys(self):
        return Keys.of(0, [f"known {row}" for row in range(self.references)], "world")

    @cached_property
    def images(self):
        return pictures(self.keys)

    @cached_property
    def known(self):
        return pictures(self.known_keys)

    @cached_property
    def labels(self):
        """What the net says, and more often something else the less sure it is."""
        with torch.no_grad():
            p = self.net(self.known).softmax(dim=1)
        draw = np.random.default_rng(3).uniform(size=(len(p), 1))
        return torch.from_numpy((p.double().cumsum(dim=1).numpy() < draw).sum(axis=1)).clamp(max=3)

    @cached_property
    def logits(self):
        return self._of(self.net, self.images)

    @cached_property
    def features(self):
        return self._of(self.net.body, self.images)

    @cached_property
    def known_logits(self):
        return self._of(self.net, self.known)

    @cached_property
    def known_features(self):
        return self._of(self.net.body, self.known)

    @cached_property
    def wrong(self):
        return self.known_logits.argmax(axis=1) != self.labels.numpy()

    @staticmethod
    def _of(function, images):
        with torch.no_grad():
            return function(images).double().numpy()

    def reference(self):
        return Reference(self)

    def evidence(self, rows=slice(None), **given):
        """The images, or some of them."""
        chosen = list(range(self.rows))[rows]
        return Evidence(
            self.classifier, self.images[rows], self.layers, features=True, keys=self.keys.rows(chosen), **given
        )
