"""Nets under attack, with images each has not learned from."""

import os
from collections import OrderedDict
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from common.adversarial import trained
from common.counting import Count, Counting
from demur.adapters import load_model
from demur.classifier import BoundClassifier
from demur.data import Source, build_index, open_data
from demur.randomness import Keys
from demur.training.learning_loop import InputScaling
from demur.training.training_task import split

SHARED = os.environ.get("DEMUR_SHARED")


@dataclass(frozen=True)
class Subject:
    """A net in evaluation mode that takes normalised images, and images in [0, 1] to attack it on."""

    name: str
    network: nn.Module
    classes: tuple[str, ...]
    x: Tensor
    y: Tensor
    keys: Keys
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None

    def plain(self) -> tuple[nn.Module, Count]:
        """The net as other libraries want it, images in [0, 1] in and logits out; and its counter."""
        counting = Counting(self.scaled()).eval().requires_grad_(False)
        return counting, counting.count

    def scaled(self) -> nn.Module:
        """The bare net for images in [0, 1], which it gets in the memory layout that demur gives its own."""
        return ChannelsLast(InputScaling(deepcopy(self.network), self.mean, self.std)).eval().requires_grad_(False)

    def classifier(self) -> tuple[BoundClassifier, Count]:
        """The net as demur wants it, and its counter, at zero."""
        counting = Counting(deepcopy(self.network).requires_grad_(False)).eval()
        channels, height, width = self.x.shape[1:]
        made = BoundClassifier(
            counting, classes=self.classes, input_shape=(channels, height, width), mean=self.mean, std=self.std
        )
        counting.count.reset()
        return made, counting.count


class ChannelsLast(nn.Module):
    """A net whose images lie in memory pixel by pixel, which convolutions on a CPU are faster with."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        return self.network(x.contiguous(memory_format=torch.channels_last))


class SmallCNN(nn.Module):
    """Two pairs of 3×3 convolutions, each followed by pooling, and three linear layers: 312,202 parameters.

    The net of Carlini and Wagner (2017), arXiv:1608.04644, with the layer names of later work on robust MNIST nets.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[tuple[str, nn.Module]] = []
        for k, (inputs, outputs) in enumerate(((1, 32), (32, 32), (32, 64), (64, 64)), start=1):
            layers += [(f"conv{k}", nn.Conv2d(inputs, outputs, 3)), (f"relu{k}", nn.ReLU())]
            layers += [(f"pool{k}", nn.MaxPool2d(2))] if k % 2 == 0 else []
        self.feature_extractor = nn.Sequential(OrderedDict(layers))
        self.classifier = nn.Sequential(
            OrderedDict(
                fc1=nn.Linear(1024, 200),
                relu1=nn.ReLU(),
                fc2=nn.Linear(200, 200),
                relu2=nn.ReLU(),
                fc3=nn.Linear(200, 10),
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.feature_extractor(x).flatten(1))


def fashion(images: int) -> Subject:
    """The shipped classifier, undefended, on images that it has not learned from."""
    source = open_data("fashion")
    made = load_model("fashion", classes=source.classes, input_shape=source.input_shape)
    x, y, keys = _first(source, range(images))
    contract = made.contract
    return Subject("fashion, undefended", made.as_module(), source.classes, x, y, keys, contract.mean, contract.std)


def resnet20(images: int) -> Subject | None:
    """An undefended ResNet-20 on CIFAR-10; None without DEMUR_SHARED."""
    if not SHARED:
        return None
    source = open_data(f"parquet:{SHARED}/data/cifar10/test.parquet")
    address = f"zoo:resnet20@{SHARED}/models/cifar10_resnet20.safetensors?mean=.485,.456,.406&std=.229,.224,.225"
    made = load_model(address, classes=source.classes, input_shape=source.input_shape)
    x, y, keys = _first(source, range(images))
    contract = made.contract
    return Subject("resnet20 on CIFAR-10", made.as_module(), source.classes, x, y, keys, contract.mean, contract.std)


def robust_mnist(images: int) -> Subject | None:
    """An adversarially trained SmallCNN on MNIST, of at most 500 images; None without DEMUR_SHARED."""
    if not SHARED:
        return None
    network = SmallCNN().eval()
    network.load_state_dict(load_file(f"{SHARED}/models/mnist_smallcnn_ddn.safetensors"))
    with np.load(f"{SHARED}/data/mnist/test-first-500.npz") as held:
        x = torch.from_numpy(held["images"][:images, None]).float() / 255
        y = torch.from_numpy(held["labels"][:images]).long()
    keys = Keys.of(0, [str(row) for row in range(len(x))], "benchmark")
    return Subject("robust SmallCNN on MNIST", network, tuple("0123456789"), x, y, keys)


def robust_fashion(images: int) -> Subject:
    """A net trained against L∞ changes of .1, on images that it has not learned from; trained once, in minutes."""
    source = open_data("fashion")
    index = build_index(source)
    learned = set(split(index).learned.tolist())
    rows = [int(position) for row, position in enumerate(index.positions) if row not in learned][:images]
    x, y, keys = _first(source, rows)
    return Subject("robust net on fashion", trained(source, index), source.classes, x, y, keys)


def _first(source: Source, positions: Sequence[int]) -> tuple[Tensor, Tensor, Keys]:
    rows = [row for row in source.read(positions) if row.image is not None]
    x = torch.stack([row.image for row in rows if row.image is not None])
    return x, torch.tensor([row.label for row in rows]), Keys.of(0, [row.sample_id for row in rows], "benchmark")
