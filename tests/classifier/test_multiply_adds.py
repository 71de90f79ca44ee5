"""Multiply-adds are counted as they are worked out on paper."""

import pytest
import torch
from torch import nn

from demur.classifier import BoundClassifier
from demur.classifier.multiply_adds import multiply_adds
from demur.zoo import resnet20


class Attending(nn.Module):
    """A token for each pixel, which looks at all others."""

    def __init__(self):
        super().__init__()
        self.enter = nn.Linear(6, 6, bias=False)
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        tokens = self.enter(x.flatten(2).transpose(1, 2).repeat(1, 1, 2))
        return self.head(self.attention(tokens, tokens, tokens, need_weights=False)[0].mean(dim=1))


CONV, GROUPED = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 8, 3, stride=2, groups=4, padding=1)
NETS = {
    "convolutions": (nn.Sequential(CONV, GROUPED, nn.Flatten(), nn.Linear(72, 3)), 36 * 4 * 27 + 9 * 8 * 9 + 72 * 3),
    "transposed": (
        nn.Sequential(nn.ConvTranspose2d(3, 6, 2, 2), nn.Flatten(), nn.Linear(1536, 3)),
        64 * 3 * 6 * 4 + 1536 * 3,
    ),
    "attention": (Attending(), 64 * 36 + 64 * 6 * 18 + 2 * 64 * 64 * 6 + 64 * 36 + 18),
}


@pytest.mark.parametrize("kind", NETS)
def test_every_product_is_counted_once(kind):
    module, wanted = NETS[kind]
    classifier = BoundClassifier(module.eval(), classes=("a", "b", "c"), input_shape=(3, 8, 8))
    assert multiply_adds(classifier) == wanted


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_scripted_network_is_counted_as_well():
    module = torch.jit.script(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(144, 3)).eval())
    classifier = BoundClassifier(module, classes=("a", "b", "c"), input_shape=(3, 8, 8))
    assert multiply_adds(classifier) == 36 * 4 * 27 + 144 * 3


def test_a_residual_network_takes_what_its_paper_says():
    """He et al. (2016): a few more than 40 million for 32 pixels and 20 layers."""
    net = BoundClassifier(resnet20(channels=3, classes=10).eval(), classes=tuple("0123456789"), input_shape=(3, 32, 32))
    assert multiply_adds(net) == 40_551_040


def test_counting_leaves_the_process_as_it_was():
    fused = torch.backends.mha.get_fastpath_enabled()
    multiply_adds(BoundClassifier(Attending().eval(), classes=("a", "b", "c"), input_shape=(3, 8, 8)))
    assert torch.backends.mha.get_fastpath_enabled() == fused
