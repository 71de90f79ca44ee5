"""Small nets with random but fixed weights, and images for them."""

import torch
from torch import nn

SHAPE = (3, 8, 8)
CLASSES = ("cat", "dog", "frog", "ship")


class Net(nn.Module):
    """A convolution, an in-place ReLU, batch normalisation and a linear head, ended by any activation."""

    def __init__(self, classes=4, channels=3, end=None):
        super().__init__()
        self.conv = nn.Conv2d(channels, 6, 3, padding=1)
        self.relu = nn.ReLU(inplace=True)
        self.norm = nn.BatchNorm2d(6)
        self.unused = nn.Linear(6, classes)
        self.head = nn.Linear(6, classes)
        self.end = end or nn.Identity()

    def forward(self, x):
        return self.end(self.head(self.norm(self.relu(self.conv(x))).mean(dim=(2, 3))))


def seeded(module):
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return module.eval()


def net(**options):
    return seeded(Net(**options))


def images(rows=5, shape=SHAPE, seed=0):
    return torch.rand(rows, *shape, generator=torch.Generator().manual_seed(seed))


def hooks_on(module):
    return sum(len(layer._forward_hooks) + len(layer._forward_pre_hooks) for layer in module.modules())
