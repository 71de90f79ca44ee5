"""ResNet-18 with the stem for photographs or one for small images.

He et al. (2016), arXiv:1512.03385, table 1. Names of tensors are those of torchvision, so that its weights fit.
"""

import torch
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3×3 convolutions beside a shortcut, which is a 1×1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Maps (rows, inputs, height, width) to (rows, outputs, height/stride, width/stride)."""
        inner = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return torch.relu(inner + (x if self.downsample is None else self.downsample(x)))


class ResNet18(nn.Module):
    """Four stages of two residual blocks, global average pooling and a linear layer called `fc`.

    `stem` is `imagenet`, a 7×7 convolution and a pooling that leave a quarter of each side, or `cifar`, one 3×3
    convolution that leaves it whole. 11,689,512 parameters at three channels and 1,000 classes behind the first,
    11,173,962 at ten classes behind the second.
    """

    def __init__(self, channels: int = 3, classes: int = 1000, stem: str = "imagenet") -> None:
        super().__init__()
        if stem not in {"imagenet", "cifar"}:
            raise ValueError(f"`stem` is imagenet or cifar; got {stem!r}")
        whole = stem == "cifar"
        self.conv1 = nn.Conv2d(channels, 64, 3 if whole else 7, 1 if whole else 2, 1 if whole else 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU()
        self.maxpool = nn.Identity() if whole else nn.MaxPool2d(3, 2, padding=1)
        self.layer1 = _stage(64, 64, stride=1)
        self.layer2 = _stage(64, 128, stride=2)
        self.layer3 = _stage(128, 256, stride=2)
        self.layer4 = _stage(256, 512, stride=2)
        self.fc = nn.Linear(512, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Maps images to logits (rows, classes)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        return self.fc(self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean(dim=(2, 3)))


def resnet18_cifar(channels: int = 3, classes: int = 10) -> ResNet18:
    """ResNet-18 with the stem for small images: 11,173,962 parameters at three channels and ten classes."""
    return ResNet18(channels, classes, stem="cifar")


def _stage(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(BasicBlock(inputs, outputs, stride), BasicBlock(outputs, outputs))
