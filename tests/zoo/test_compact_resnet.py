import pytest
import torch

from demur.training import fresh
from demur.zoo import CompactResNet


def test_size_and_cost_are_as_stated():
    net = CompactResNet()
    cost = []

    def count(layer, _, maps):
        cost.append(maps[0, 0].numel() * layer.weight.numel())

    for layer in net.modules():
        if isinstance(layer, torch.nn.Conv2d):
            layer.register_forward_hook(count)
    net(torch.zeros(1, 1, 28, 28).expand(2, 1, 28, 28))
    assert sum(value.numel() for value in net.parameters()) == 85_810
    assert sum(cost) / 1e6 == pytest.approx(5.8, abs=0.05)


@pytest.mark.parametrize(("channels", "side", "classes"), [(1, 28, 10), (3, 32, 7)])
def test_other_images_and_classes(channels, side, classes):
    net = CompactResNet(channels=channels, classes=classes, width=4).eval()
    assert net(torch.rand(3, channels, side, side)).shape == (3, classes)


def test_logits_are_affine_in_the_pooled_features():
    net = fresh(CompactResNet, 0).eval()
    pooled = []
    net.head.register_forward_pre_hook(lambda _, inputs: pooled.append(inputs[0]))
    logits = net(torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(logits, pooled[0] @ net.head.weight.T + net.head.bias)
