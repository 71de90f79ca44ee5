"""A small net with dropout, images it has not seen, and reference images it often gets wrong."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from demur.classifier import BoundClassifier, ensemble
from demur.evidence import Evidence
from demur.randomness import Keys
from demur.shapes import Images, Labels

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

    def body(self, x: Tensor) -> Tensor:
        """The features."""
        x = torch.max_pool2d(torch.relu(self.conv(4 * x - 2)), 2)
        return torch.relu(self.wide(self.maps(x).flatten(1)))

    def forward(self, x: Tensor) -> Tensor:
        """The logits."""
        logits: Tensor = self.head(self.values(self.body(x)))
        return logits

    @property
    def weights(self) -> tuple[NDArray[np.float64], ...]:
        """Matrix and bias of the head."""
        return tuple(part.double().detach().numpy() for part in (self.head.weight, self.head.bias))


def pictures(keys: Keys) -> Images:
    """Stripes across or down at a strength and width of their own, in noise."""
    noise = keys.uniform(torch.empty(len(keys), *SHAPE), "noise")
    across, strength, width = keys.uniform(torch.empty(len(keys), 3), "stripes").T[:, :, None, None, None]
    y, x = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    stripes = torch.sin(torch.where(across < 0.5, x, y) * (0.4 + 2 * width))
    return (0.5 + 0.35 * strength * stripes + 0.3 * (noise - 0.5)).clamp(0, 1)


@dataclass(frozen=True)
class ReferenceImages:
    """Evidence of the reference, batch by batch, anew each time."""

    world: "World"

    def __iter__(self) -> Iterator[Evidence]:
        world = self.world
        for part in torch.split(torch.arange(len(world.labels)), world.batch):
            rows = part.tolist()
            yield Evidence(
                world.classifier,
                world.reference_images[part],
                world.layers,
                features=True,
                keys=world.reference_keys.rows(rows),
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
    members: bool = False

    @cached_property
    def net(self) -> Net:
        """Its head is shifted so that every class has its images."""
        net = Net().eval()
        with torch.no_grad():
            net.head.weight *= 4
            net.head.bias.copy_(-net.head.weight @ net.body(self.reference_images).mean(dim=0))
        return net

    @cached_property
    def classifier(self) -> BoundClassifier:
        """The net as signals see it, alone or with another in an ensemble."""
        nets = (self.net, self.other) if self.members else (self.net,)
        found = [BoundClassifier(net, classes=CLASSES, input_shape=SHAPE) for net in nets]
        return ensemble(found) if self.members else found[0]

    @cached_property
    def other(self) -> Net:
        """The other member of the ensemble, where there is one."""
        net = Net(seed=1).eval()
        with torch.no_grad():
            net.head.weight *= 2
        return net

    @cached_property
    def keys(self) -> Keys:
        """One for each image."""
        return Keys.of(0, [f"image {row}" for row in range(self.rows)], "world")

    @cached_property
    def reference_keys(self) -> Keys:
        """One for each image of the reference."""
        return Keys.of(0, [f"known {row}" for row in range(self.references)], "world")

    @cached_property
    def images(self) -> Images:
        """Those that are scored."""
        return pictures(self.keys)

    @cached_property
    def reference_images(self) -> Images:
        """Those that may be learned from."""
        return pictures(self.reference_keys)

    @cached_property
    def labels(self) -> Labels:
        """Of the reference: what the net says, and more often something else the less sure it is."""
        with torch.no_grad():
            p = self.net(self.reference_images).softmax(dim=1)
        draw = np.random.default_rng(3).uniform(size=(len(p), 1))
        return torch.from_numpy((p.double().cumsum(dim=1).numpy() < draw).sum(axis=1)).clamp(max=3)

    @cached_property
    def logits(self) -> NDArray[np.float64]:
        """Of the images."""
        return self._of(self.net, self.images)

    @cached_property
    def features(self) -> NDArray[np.float64]:
        """Of the images."""
        return self._of(self.net.body, self.images)

    @cached_property
    def reference_logits(self) -> NDArray[np.float64]:
        """Of the reference."""
        return self._of(self.net, self.reference_images)

    @cached_property
    def reference_features(self) -> NDArray[np.float64]:
        """Of the reference."""
        return self._of(self.net.body, self.reference_images)

    @cached_property
    def wrong(self) -> NDArray[np.bool_]:
        """Which images of the reference the net gets wrong."""
        wrong: NDArray[np.bool_] = self.reference_logits.argmax(axis=1) != self.labels.numpy()
        return wrong

    @staticmethod
    def _of(function: Callable[[Tensor], Tensor], images: Images) -> NDArray[np.float64]:
        with torch.no_grad():
            return function(images).double().numpy()

    def reference(self) -> ReferenceImages:
        """What a signal is fitted to."""
        return ReferenceImages(self)

    def evidence(self, rows: slice = slice(None), **given: Any) -> Evidence:
        """The images, or some of them."""
        chosen = list(range(self.rows))[rows]
        return Evidence(
            self.classifier, self.images[rows], self.layers, features=True, keys=self.keys.rows(chosen), **given
        )
