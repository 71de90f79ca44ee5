"""An adversarially trained MNIST net, on which attacks of different strength come to different results."""

import os
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from demur.classifier import BoundClassifier

needs_shared = pytest.mark.skipif("DEMUR_SHARED" not in os.environ, reason="DEMUR_SHARED is not set")


class SmallCNN(nn.Module):
    """Four 3×3 convolutions, pooling after each pair, then three linear layers."""

    def __init__(self):
        super().__init__()
        widths = [(1, 32), (32, 32), (32, 64), (64, 64)]
        self.feature_extractor = nn.ModuleDict({f"conv{k}": nn.Conv2d(*w, 3) for k, w in enumerate(widths, start=1)})
        parts = [
            ("fc1", nn.Linear(1024, 200)),
            ("relu1", nn.ReLU()),
            ("fc2", nn.Linear(200, 200)),
            ("relu2", nn.ReLU()),
        ]
        self.classifier = nn.Sequential(OrderedDict([*parts, ("fc3", nn.Linear(200, 10))]))

    def forward(self, x):
        for name, layer in self.feature_extractor.items():
            x = layer(x).relu()
            x = nn.functional.max_pool2d(x, 2) if name in ("conv2", "conv4") else x
        return self.classifier(x.flatten(1))


def robust_mnist(rows=256):
    """The net behind demur's contract, and the first test images in [0, 1] with their labels."""
    shared = Path(os.environ["DEMUR_SHARED"])
    module = SmallCNN().eval()
    module.load_state_dict(load_file(shared / "models" / "mnist_smallcnn_ddn.safetensors"))
    held = np.load(shared / "data" / "mnist" / "test-first-500.npz")
    x = torch.from_numpy(held["images"][:rows]).float()[:, None] / 255
    y = torch.from_numpy(held["labels"][:rows]).long()
    return BoundClassifier(module, classes=[str(k) for k in range(10)], input_shape=(1, 28, 28)), x, y
