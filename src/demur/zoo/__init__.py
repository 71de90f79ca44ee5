"""Architectures and their blocks; weights come from files."""

from demur.zoo.blocks import (
    ConvAttention,
    GroupedConv,
    Residual,
    SeparableConv,
    SqueezeExcite,
)
from demur.zoo.cifar_resnets import CifarResNet, ShortcutBlock, resnet20, resnet56
from demur.zoo.compact_resnet import CompactResNet
from demur.zoo.grouped_resnet import GroupedResNet
from demur.zoo.mobilenet_v2 import MobileNetV2
from demur.zoo.resnet18 import ResNet18, resnet18_cifar
from demur.zoo.separable_networks import MobileCNN, SimpleCNN
from demur.zoo.verifiable_cnn import VerifiableCNN

__all__ = [
    "CifarResNet",
    "CompactResNet",
    "ConvAttention",
    "GroupedConv",
    "GroupedResNet",
    "MobileCNN",
    "MobileNetV2",
    "ResNet18",
    "Residual",
    "SeparableConv",
    "ShortcutBlock",
    "SimpleCNN",
    "SqueezeExcite",
    "VerifiableCNN",
    "resnet18_cifar",
    "resnet20",
    "resnet56",
]
