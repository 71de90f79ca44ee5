"""Each thing is computed once, counted, and autograd is left as it was."""

import torch
from torch import nn

from demur.classifier import Classifier
from demur.evidence import Evidence
from demur.randomness import Keys

SHAPE = (1, 6, 6)


class Net(nn.Module):
    """Counts its own passes."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten())
        self.head = nn.Linear(48, 4)
        self.passes = 0

    def forward(self, x):
        self.passes += 1
        return self.head(self.body(x))


def net_and_evidence(layers=(), **given):
    net = Net().eval()
    classifier = Classifier(net, classes=tuple("abcd"), input_shape=SHAPE)
    images = Keys.of(0, ["0", "1", "2"], "c").uniform(torch.empty(3, *SHAPE), "images")
    net.passes = 0
    return net, images, Evidence(classifier, images, layers, **given)


def test_nothing_is_computed_before_it_is_asked_for():
    net, _, seen = net_and_evidence()
    assert seen.forwards == net.passes == 0


def test_logits_are_computed_once():
    net, images, seen = net_and_evidence()
    with torch.no_grad():
        assert seen.logits is seen.logits
        assert seen.forwards == net.passes == 1
        torch.testing.assert_close(seen.logits, net(images))


def test_given_logits_cost_nothing():
    logits = torch.zeros(3, 4)
    net, _, seen = net_and_evidence(logits=logits)
    assert seen.logits is logits
    assert seen.forwards == net.passes == 0


def test_features_and_activations_come_from_one_look():
    net, images, seen = net_and_evidence(layers=("body.0",))
    with torch.no_grad():
        features, activations, logits = seen.features, seen.activations("body.0"), seen.logits
        assert seen.features is features
        assert seen.forwards == net.passes == 1
        torch.testing.assert_close(features, net.body(images))
        torch.testing.assert_close(activations, net.body[0](images))
        torch.testing.assert_close(logits, net(images))


def test_logits_before_features_are_counted_as_the_two_passes_they_are():
    net, _, seen = net_and_evidence()
    with torch.no_grad():
        assert seen.logits.shape == (3, 4)
        assert seen.features.shape == (3, 48)
    assert seen.forwards == net.passes == 2


def test_autograd_is_the_callers_business():
    _, _, seen = net_and_evidence()
    assert seen.logits.requires_grad
    _, _, seen = net_and_evidence()
    with torch.no_grad():
        assert not seen.logits.requires_grad
        assert not torch.is_grad_enabled()
    assert torch.is_grad_enabled()
