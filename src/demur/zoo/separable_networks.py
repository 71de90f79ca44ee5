"""Small networks of separable convolutions with squeeze-and-excitation."""

import torch
from torch import Tensor, nn

from demur.zoo.blocks import SeparableConv, SqueezeExcite


class SimpleCNN(nn.Module):
    """One plain and three strided separable convolutions, global average pooling and a linear head called `linear`.

    Images are (rows, channels, height, width), 3×32×32 by default; the last map is an eighth of each side.
    52,630 parameters at three channels and ten classes, 54,038 with the statistics of batch normalisation.
    """

    def __init__(self, channels: int = 3, classes: int = 10) -> None:
        super().__init__()
        self.early_conv = nn.Conv2d(channels, 32, 3, padding=1, bias=False)
        self.early_bn = nn.BatchNorm2d(32)
        self.separable1 = SeparableConv(32, 64, stride=2)
        self.gate1 = SqueezeExcite(64)
        self.separable2 = SeparableConv(64, 128, stride=2)
        self.gate2 = SqueezeExcite(128)
        self.separable3 = SeparableConv(128, 256, stride=2)
        self.linear = nn.Linear(256, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Maps images to logits (rows, classes)."""
        x = torch.relu(self.early_bn(self.early_conv(x)))
        x = self.gate1(self.separable1(x))
        x = self.gate2(self.separable2(x))
        return self.linear(self.separable3(x).mean(dim=(2, 3)))


class MobileCNN(nn.Module):
    """The same in the manner of MobileNet: it halves the resolution once later and has one more separable convolution.

    The last map is a quarter of each side. 121,494 parameters at three channels and ten classes, 123,926 with the
    statistics of batch normalisation.
    """

    def __init__(self, channels: int = 3, classes: int = 10) -> None:
        super().__init__()
        self.early_conv = nn.Conv2d(channels, 32, 3, padding=1, bias=False)
        self.early_bn = nn.BatchNorm2d(32)
        self.separable1 = SeparableConv(32, 64)
        self.gate1 = SqueezeExcite(64)
        self.separable2 = SeparableConv(64, 128, stride=2)
        self.gate2 = SqueezeExcite(128)
        self.separable3 = SeparableConv(128, 256, stride=2)
        self.separable4 = SeparableConv(256, 256)
        self.linear = nn.Linear(256, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Maps images to logits (rows, classes)."""
        x = torch.relu(self.early_bn(self.early_conv(x)))
        x = self.gate1(self.separable1(x))
        x = self.gate2(self.separable2(x))
        return self.linear(self.separable4(self.separable3(x)).mean(dim=(2, 3)))
