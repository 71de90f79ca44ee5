"""Networks of the reference systems that are too large or too special for the zoo, by the address of a module.

PYTHONPATH=examples/reference-systems demur train "module:reference_networks:vgg10_light" folder:animals
"""

import torch
from torch import Tensor, nn


def _conv(channels: int, out: int, size: int = 3, stride: int = 1, padding: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(channels, out, size, stride, padding), nn.BatchNorm2d(out), nn.ReLU()]


def vgg10_light(channels: int = 3, classes: int = 10) -> nn.Module:
    """System 001's VGG10_lighter: pairs of 3×3 convolutions of 32, 64, 128, 128, 128 and three dense layers.

    It takes images of 224 × 224 and has 43,395,754 parameters for three channels and ten classes, 98 % of them dense.
    """
    layers: list[nn.Module] = []
    for width in (32, 64, 128, 128, 128):
        layers += [*_conv(channels, width), *_conv(width, width), nn.MaxPool2d(2)]
        channels = width
    dense = [nn.Linear(6272, 4096), nn.ReLU(), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(), nn.Dropout()]
    return nn.Sequential(*layers, nn.Flatten(), *dense, nn.Linear(4096, classes))


class Mixed(nn.Module):
    """Four branches side by side, as in the first mixed block of InceptionV3: 256 channels come out.

    Szegedy et al. (2016), arXiv:1512.00567.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        wide = [*_conv(channels, 48, 1, padding=0), *_conv(48, 64, 5, padding=2)]
        deep = [*_conv(channels, 64, 1, padding=0), *_conv(64, 96), *_conv(96, 96)]
        pooled = [nn.AvgPool2d(3, 1, 1), *_conv(channels, 32, 1, padding=0)]
        branches = (_conv(channels, 64, 1, padding=0), wide, deep, pooled)
        self.branches = nn.ModuleList([nn.Sequential(*branch) for branch in branches])

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (rows, 256, height, width)."""
        return torch.cat([branch(maps) for branch in self.branches], dim=1)


def inception_like(channels: int = 3, classes: int = 10) -> nn.Module:
    """The stem of InceptionV3 and its first mixed block, pooled to one dense layer; images of 75 × 75 or more."""
    stem = [
        *_conv(channels, 32, 3, 2, 0),
        *_conv(32, 32, 3, 1, 0),
        *_conv(32, 64),
        nn.MaxPool2d(3, 2),
        *_conv(64, 80, 1, 1, 0),
        *_conv(80, 192, 3, 1, 0),
        nn.MaxPool2d(3, 2),
    ]
    return nn.Sequential(*stem, Mixed(192), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, classes))


def volume_cnn(channels: int = 1, classes: int = 2) -> nn.Module:
    """System 000's path for volumes (rows, channels, depth, height, width): three convolutions, one dense layer."""
    layers: list[nn.Module] = []
    for width in (32, 64, 128):
        pool = [nn.MaxPool3d(2)] if layers else []
        layers += [*pool, nn.Conv3d(channels, width, 3, padding=1), nn.ReLU()]
        channels = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(128, classes))
