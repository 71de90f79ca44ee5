"""The residual networks for CIFAR: 6·blocks + 2 layers, three stages of 16, 32 and 64 channels.

He et al. (2016), arXiv:1512.03385, §4.2.
"""

import torch
from torch import Tensor, nn


class ShortcutBlock(nn.Module):
    """Two 3×3 convolutions around a parameter-free shortcut (option A: subsampling and zero-padded channels).

    He et al. (2016), arXiv:1512.03385, §4.2.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.extra = outputs - inputs
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Maps (rows, inputs, height, width) to (rows, outputs, height/stride, width/stride)."""
        inner = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(inner + self.shortcut(x))

    def shortcut(self, x: Tensor) -> Tensor:
        """The input itself where shapes agree, else every `stride`-th pixel between channels of zeros."""
        if self.stride == 1 and self.extra == 0:
            return x
        before = self.extra // 2
        return nn.functional.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, before, self.extra - before))


class CifarResNet(nn.Module):
    """A residual network for small images, with parameter-free shortcuts and a linear head called `linear`.

    Images are (rows, channels, height, width), 32×32 in the paper; any side that is a multiple of four works.
    """

    def __init__(self, blocks: int, channels: int = 3, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, blocks, stride=1)
        self.layer2 = _stage(16, 32, blocks, stride=2)
        self.layer3 = _stage(32, 64, blocks, stride=2)
        self.linear = nn.Linear(64, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Maps images to logits (rows, classes)."""
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.linear(x.mean(dim=(2, 3)))


def resnet20(channels: int = 3, classes: int = 10) -> CifarResNet:
    """ResNet-20: 269,722 parameters, 41 million multiply-adds at 3×32×32."""
    return CifarResNet(3, channels, classes)


def resnet56(channels: int = 3, classes: int = 10) -> CifarResNet:
    """ResNet-56: 853,018 parameters, 126 million multiply-adds at 3×32×32."""
    return CifarResNet(9, channels, classes)


def _stage(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    first = ShortcutBlock(inputs, outputs, stride)
    return nn.Sequential(first, *(ShortcutBlock(outputs, outputs) for _ in range(blocks - 1)))
