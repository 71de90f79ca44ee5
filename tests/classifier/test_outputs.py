"""Every declared output becomes logits that say the same, and its linear head is found."""

import pytest
import torch
from torch import nn

from demur.classifier import BoundClassifier
from demur.errors import ModelError
from tests.classifier.classifier_nets import CLASSES, SHAPE, Net, images, net, seeded

SOFTMAX, SIGMOID = nn.Softmax(dim=1), nn.Sigmoid()


def classifier(module, classes=CLASSES, **options):
    return BoundClassifier(module, classes=classes, input_shape=SHAPE, **options)


def test_logits_stay():
    module, x = net(), images()
    torch.testing.assert_close(classifier(module).logits(x), module(x), atol=1e-6, rtol=1e-6)


def test_probabilities_become_their_logarithms():
    module, x = net(end=SOFTMAX), images()
    logits = classifier(module, output="probabilities").logits(x)
    torch.testing.assert_close(logits.softmax(dim=1), module(x))
    torch.testing.assert_close(logits.logsumexp(dim=1), torch.zeros(5), atol=1e-6, rtol=0)


def test_a_probability_of_zero_stays_finite():
    class Sure(Net):
        def forward(self, x):
            return torch.tensor([[1.0, 0, 0, 0]]).expand(len(x), 4)

    assert classifier(seeded(Sure()), output="probabilities").logits(images()).isfinite().all()


@pytest.mark.parametrize("end", [SIGMOID, nn.Sequential(SIGMOID, nn.Flatten(0))], ids=["column", "flat"])
def test_one_sigmoid_becomes_two_classes(end):
    module, x = net(classes=1, end=end), images()
    logits = classifier(module, ("no", "yes"), output="sigmoid").logits(x)
    torch.testing.assert_close(logits.softmax(dim=1)[:, 1], module(x).flatten(), atol=1e-6, rtol=1e-5)
    assert (logits[:, 0] == 0).all()


def test_many_sigmoids_become_their_own_logits():
    module, x = net(end=SIGMOID), images()
    torch.testing.assert_close(
        classifier(module, output="sigmoid").logits(x).sigmoid(), module(x), atol=1e-6, rtol=1e-5
    )


def test_one_logit_becomes_two_classes():
    module, x = net(classes=1), images()
    logits = classifier(module, ("no", "yes"), output="logit").logits(x)
    torch.testing.assert_close(logits, torch.cat([torch.zeros(5, 1), module(x)], dim=1), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(
    ("end", "classes", "output"),
    [
        (None, 4, "logits"),
        (nn.LogSoftmax(dim=1), 4, "logits"),
        (SOFTMAX, 4, "probabilities"),
        (SIGMOID, 4, "sigmoid"),
        (SIGMOID, 1, "sigmoid"),
        (None, 1, "logit"),
    ],
)
def test_the_head_reproduces_the_logits_from_the_features(end, classes, output):
    found = classifier(net(classes=classes, end=end), CLASSES[: max(classes, 2)], output=output)
    look = found.forward_output(images())
    weight, bias = found.head
    shift = look.logits - (look.features @ weight.T + bias)
    torch.testing.assert_close(shift, shift[:, :1].expand_as(shift), atol=1e-4, rtol=0)
    assert weight.shape == (max(classes, 2), 6)


def test_a_head_without_bias_has_a_bias_of_zero():
    module = net()
    module.head.bias = None
    assert classifier(module).head[1].tolist() == [0, 0, 0, 0]


def test_a_head_that_is_not_last_is_not_taken_for_one():
    class Curved(Net):
        def forward(self, x):
            return super().forward(x).relu() ** 2

    found = classifier(seeded(Curved()))
    assert found.head is None
    with pytest.raises(ModelError, match="features='LAYER'"):
        found.features(images())


def test_of_two_layers_that_give_the_answer_the_last_is_the_head():
    module = net(end=nn.Linear(4, 4))
    module.end.weight = nn.Parameter(torch.eye(4))
    module.end.bias = nn.Parameter(torch.zeros(4))
    assert torch.equal(classifier(module).head[0], torch.eye(4))


def test_features_may_be_named():
    module, x = net(), images()
    found = classifier(module, features="norm")
    torch.testing.assert_close(found.features(x), classifier(module).features(x))
    assert found.head is not None
    early = classifier(module, features="conv")
    torch.testing.assert_close(early.features(x), module.conv(x).mean(dim=(2, 3)), atol=1e-5, rtol=1e-5)
    assert early.head is None
