"""A classifier as it is described: what is not said comes from the data, and errors say the way out."""

import pytest
import torch
from torch import nn

import demur
from demur.classifier.description import Classifier, bound
from demur.errors import ModelError

X = torch.rand(5, 3, 8, 8, generator=torch.Generator().manual_seed(0))
MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)


def net(outputs=4):
    torch.random.default_generator.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, outputs)).eval()


def test_shape_and_classes_come_from_the_first_batch():
    module = net()
    model = demur.Classifier(module, mean=MEAN, std=STD)
    assert repr(model) == "Classifier('Sequential', classes from the data, shape from the data)"
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (MEAN, STD))
    torch.testing.assert_close(model(X), module((X - mean) / std))
    found = model.bind_to(X)
    assert (found.classes, found.input_shape) == (("0", "1", "2", "3"), (3, 8, 8))


def test_what_the_description_says_wins_over_the_data():
    model = Classifier(net(), classes="abcd", name="mine")
    found = model.bind(classes=("x", "y", "z", "w"), input_shape=(3, 8, 8))
    assert (found.classes, found.name) == (tuple("abcd"), "mine")
    assert model.title == "mine"
    assert Classifier(net(1), output="logit").bind_to(X).classes == ("0", "1")


def test_a_whole_description_is_checked_at_once_and_bound_once():
    with pytest.raises(ModelError, match=r"4 outputs|2 classes|classes"):
        Classifier(net(), classes="ab", input_shape=(3, 8, 8))
    model = Classifier(net(), classes="abcd", input_shape=(3, 8, 8))
    assert model.bind_to(X) is model.bind(classes="wxyz", input_shape=(3, 9, 9))


def test_gradients_flow_through_a_description():
    x = X.clone().requires_grad_()
    demur.Classifier(net())(x).sum().backward()
    assert x.grad.abs().sum() > 0


def test_a_module_is_bound_where_a_classifier_is_asked_for():
    module = net()
    assert torch.equal(bound(module, X)(X), bound(Classifier(module), X)(X))
    already = Classifier(module).bind_to(X)
    assert bound(already, X) is already


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (lambda: demur.Classifier(torch.relu), "wraps a torch.nn.Module; got builtin"),
        (lambda: demur.Classifier(net())(X[0]), r"images come in batches .* images\[None\]"),
        (lambda: demur.Classifier(net())(X[:, :1]), "must read images of shape"),
        (lambda: demur.Classifier(net().train())(X), r"Call model.eval\(\) first"),
        (lambda: bound("fashion", X), r"got str. Write demur.Classifier\(module"),
        (lambda: demur.Classifier(nn.Conv2d(3, 2, 3).eval())(X), "reduces the other axes"),
    ],
)
def test_what_cannot_be_is_refused_with_the_way_out(made, message):
    with pytest.raises(ModelError, match=message):
        made()
