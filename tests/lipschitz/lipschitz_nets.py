"""Small nets with fixed random weights, one for each way in which steps can be put together."""

import torch
from torch import nn
from torch.nn import functional

from demur.classifier import BoundClassifier

SHAPE = (3, 8, 8)
MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.25, 0.3)


def seeded(module, seed=3):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
        for layer in module.modules():
            if isinstance(layer, nn.BatchNorm2d):
                layer.running_mean.copy_(torch.randn(layer.running_mean.shape, generator=generator))
                layer.running_var.copy_(torch.rand(layer.running_var.shape, generator=generator) + 0.2)
    return module.eval()


def conv(inputs, outputs, **options):
    return nn.Conv2d(inputs, outputs, 3, padding=1, **options)


class Linear(nn.Module):
    """Affine from end to end, in many kinds of steps."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.second = conv(3, 6, stride=2), nn.BatchNorm2d(6), conv(6, 6, groups=2)
        self.pool, self.head = nn.AvgPool2d(2), nn.Linear(24, 4)
        self.scale = nn.Parameter(torch.ones(6, 1, 1))

    def forward(self, x):
        x = functional.pad(self.norm(self.first(x)), (1, 1, 1, 1), value=0.7)[:, :, 1:-1, 1:-1]
        x = 1.5 * self.second(x) - x * self.scale + 0.25
        return -self.head(self.pool(x).view(x.size(0), -1)) / 2


class Residual(nn.Module):
    """Two blocks with shortcuts, one subsampled and padded; the sums are not followed by anything steep."""

    def __init__(self):
        super().__init__()
        self.stem, self.stem_norm = conv(3, 4, bias=False), nn.BatchNorm2d(4)
        self.one, self.one_norm, self.two = conv(4, 4), nn.BatchNorm2d(4), conv(4, 4)
        self.down = conv(4, 8, stride=2)
        self.head = nn.Linear(8, 4)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        x = self.relu(self.stem_norm(self.stem(x)))
        x = torch.relu(self.two(self.relu(self.one_norm(self.one(x)))) + x)
        x = self.down(x) + functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2))
        return self.head(functional.gelu(x).mean(dim=(2, 3)))


class Joined(nn.Module):
    """Branches side by side, of one and of several beginnings, and pools whose windows overlap."""

    def __init__(self):
        super().__init__()
        self.left, self.right, self.after = conv(3, 4), nn.Conv2d(3, 4, 1), nn.Conv2d(12, 6, 2)
        self.pool, self.drop = nn.MaxPool2d(3, stride=2, padding=1), nn.Dropout(0.5)
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(54, 16), nn.SiLU(), nn.Linear(16, 4))

    def forward(self, x):
        left, right = self.left(x), self.right(x)
        both = functional.leaky_relu(torch.cat([left, right], dim=1), 1.4)
        more = torch.cat([self.pool(both), self.pool(torch.tanh(left))], dim=1)
        return self.head(self.drop(self.after(more)))


class Steep(nn.Module):
    """Activations steeper than one, normalisation over channels, and an adaptive pool that overlaps."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.second = conv(3, 6), nn.GroupNorm(2, 6, eps=0.1), conv(6, 6)
        self.layer_norm = nn.LayerNorm(6 * 9, eps=0.2)
        self.act, self.pool, self.head = nn.Hardswish(), nn.AdaptiveMaxPool2d(3), nn.Linear(54, 4)

    def forward(self, x):
        x = self.act(self.norm(self.first(x)))
        x = self.pool(functional.elu(self.second(x), 1.7)).flatten(1)
        return self.head(functional.mish(self.layer_norm(x)))


NETS = (Linear, Residual, Joined, Steep)


def classifier(net, **options):
    module = seeded(net() if isinstance(net, type) else net)
    options = {"classes": tuple("abcd"), "input_shape": SHAPE, "mean": MEAN, "std": STD} | options
    return BoundClassifier(module, **options)


def images(rows=6, shape=SHAPE, seed=0):
    return torch.rand(rows, *shape, generator=torch.Generator().manual_seed(seed))


def matrix(function, shape):
    """The dense matrix of the linear part of a map, column by column."""
    zeros = torch.zeros(1, *shape, dtype=torch.float64)
    still = function(zeros).flatten()
    units = torch.eye(zeros.numel(), dtype=torch.float64)
    with torch.no_grad():
        return torch.stack([function(unit.view(1, *shape)).flatten() - still for unit in units], dim=1).detach()


def dense_norm(function, shape):
    return float(torch.linalg.matrix_norm(matrix(function, shape), ord=2))
