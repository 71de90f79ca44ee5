"""A network on top of another that has learned from photographs: transfer learning for small images."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from demur.shapes import Images, Logits
from demur.zoo.blocks import GroupedConv, SeparableConv, SqueezeExcite
from demur.zoo.efficientnet_lite import EfficientNetLite

_SIDE = 96
_MAPS, _NARROW, _WIDE = 1280, 64, 128
_MEAN, _STD = 127 / 255, 128 / 255
"""What the published weights of the backbone want, on the scale of [0, 1]."""
_MIDDLES = {"grouped": GroupedConv, "separable": SeparableConv}


class Hybrid(nn.Module):
    """EfficientNet-Lite0 without its head, then a 1×1 and a strided convolution, each with gates, and a linear layer.

    Images in [0, 1] of any size become 96×96 and are normalised inside, as the backbone wants them; grey ones are shown
    in three equal channels. Its maps (1280, 3, 3) are narrowed to 64 channels and widened to 128. `middle` is `grouped`
    (four groups) or `separable`. 3,475,798 parameters at ten classes, of which 3,371,008 are the backbone's;
    3,466,262 with `separable`.
    """

    def __init__(self, channels: int = 3, classes: int = 10, middle: str = "grouped") -> None:
        super().__init__()
        if channels not in {1, 3}:
            raise ValueError(f"its backbone reads colour, or grey as colour, and these images have {channels} channels")
        if middle not in _MIDDLES:
            raise ValueError(f"`middle` is {' or '.join(_MIDDLES)}; got {middle!r}")
        self.backbone = EfficientNetLite(classes=1)
        for part in ("dropout", "fc"):
            self.backbone.add_module(part, nn.Identity())
        self.early_conv = nn.Conv2d(_MAPS, _NARROW, 1, bias=False)
        self.early_bn = nn.BatchNorm2d(_NARROW)
        self.gate1 = SqueezeExcite(_NARROW)
        self.middle = _MIDDLES[middle](_NARROW, _WIDE, stride=2)
        self.gate2 = SqueezeExcite(_WIDE)
        self.linear = nn.Linear(_WIDE, classes)

    def forward(self, images: Images) -> Logits:
        """Logits (rows, classes)."""
        return self.answer(self.features(images))

    def features(self, images: Images) -> Tensor:
        """The maps (rows, 1280, 3, 3) of the backbone."""
        return self.backbone.maps(_backbone_input(images))

    def answer(self, maps: Tensor) -> Logits:
        """Logits (rows, classes) from the maps (rows, 1280, 3, 3) of the backbone."""
        x = self.gate1(torch.relu(self.early_bn(self.early_conv(maps))))
        logits: Logits = self.linear(self.gate2(self.middle(x)).mean(dim=(2, 3)))
        return logits


def _backbone_input(images: Images) -> Images:
    """Images as the backbone wants them; larger ones are averaged where they become smaller."""
    large = max(images.shape[-2:]) > _SIDE
    x = functional.interpolate(images, (_SIDE, _SIDE), mode="bilinear", align_corners=False, antialias=large)
    return ((x - _MEAN) / _STD).expand(-1, 3, -1, -1)
