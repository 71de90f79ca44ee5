"""A net run again with filters replaced answers as a copy with those filters would."""

import copy

import pytest
import torch
from torch import nn

from demur.classifier import BoundClassifier
from demur.classifier.partial_forward import Change, PartialForward, filters_of
from demur.errors import ModelError
from demur.zoo import CompactResNet, SimpleCNN, resnet20


class Overwriting(nn.Module):
    """Everything that writes over what it reads, and a layer that is called twice."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.norm = nn.BatchNorm2d(6)
        self.act = nn.ReLU(inplace=True)
        self.twice = nn.Conv2d(6, 6, 3, padding=1)
        self.head = nn.Linear(6, 4)

    def forward(self, x):
        x = self.act(self.norm(self.first(x)))
        kept = x
        x = self.twice(x)
        x = kept.add_(x) * 0.5
        x = nn.functional.relu(self.twice(x), inplace=True)
        x.add_(0.25)
        return self.head(x.mean(dim=(2, 3)))


class Measuring(Overwriting):
    """A number that travels from the first step to the last."""

    def forward(self, x):
        rows, parts = x.size(0), x.shape
        x = self.act(self.twice(self.act(self.first(x))))
        return self.head(x.mean(dim=3).reshape(rows, 6, parts[2]).mean(dim=2))


class Unreadable(Overwriting):
    """Python that looks at numbers."""

    def forward(self, x):
        return super().forward(x) if float(x.sum()) > -1e9 else super().forward(-x)


class Functional(Overwriting):
    """Weights used past their layer."""

    def forward(self, x):
        x = nn.functional.conv2d(x, self.first.weight, self.first.bias, padding=1)
        return self.head(self.twice(torch.relu(self.norm(x))).mean(dim=(2, 3)))


def steady(net, seed=0):
    """Weights and statistics that matter, without global randomness."""
    dice = torch.Generator().manual_seed(seed)
    for tensor in net.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.randn(tensor.shape, generator=dice) * 0.3 + (0.1 if tensor.ndim == 1 else 0))
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_var.abs_().add_(0.5)
    return net.eval().requires_grad_(False)


NETS = {
    "resnet20": lambda: resnet20(),
    "simple_cnn": lambda: SimpleCNN(),
    "compact_resnet": lambda: CompactResNet(3),
    "overwriting": Overwriting,
    "measuring": Measuring,
    "unreadable": Unreadable,
    "functional": Functional,
}


def pictures(rows, seed=1):
    return torch.rand(rows, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


def changed(name, weight):
    filters = torch.arange(1, len(weight))
    factor = torch.where(filters % 2 == 0, 0.5, -1.0).view(-1, *[1] * (weight.ndim - 1))
    return Change(name, filters, weight[filters] * factor)


def changes_of(net, layers):
    """Of some layers all filters but the first, every other one turned round, the rest halved."""
    weights = filters_of(net)
    return [changed(name, weights[name]) for name in layers]


def spoilt(net, changes):
    net = copy.deepcopy(net)
    for change in changes:
        net.get_submodule(change.layer).weight[change.filters] = change.weights
    return net


@pytest.mark.parametrize("name", NETS)
def test_every_mutant_answers_as_a_copy_would(name):
    net = steady(NETS[name]())
    x = pictures(5)
    layers = list(filters_of(net))
    mutants = [changes_of(net, [layer]) for layer in (layers[-1], layers[0], layers[len(layers) // 2])]
    mutants.append(changes_of(net, layers[-2:]))
    before = {key: value.clone() for key, value in net.state_dict().items()}
    seen = dict(PartialForward(net, x[:2]).run(x, mutants))
    assert sorted(seen) == [0, 1, 2, 3]
    for which, changes in enumerate(mutants):
        expected = spoilt(net, changes)(x)
        assert (expected - net(x)).abs().max() > 1e-4, "the change must show"
        torch.testing.assert_close(seen[which], expected, rtol=1e-4, atol=1e-4)
    assert all(torch.equal(before[key], value) for key, value in net.state_dict().items())


def test_what_can_be_written_down_is_and_what_cannot_is_one_step():
    lengths = {name: PartialForward(steady(make()), pictures(2)).length for name, make in NETS.items()}
    assert lengths["resnet20"] > 60
    assert min(lengths["overwriting"], lengths["measuring"]) > 8
    assert lengths["unreadable"] == lengths["functional"] == 1


def test_work_before_the_first_changed_filter_is_done_once():
    net = steady(resnet20())
    calls = []
    replay = PartialForward(net, pictures(2))
    for name, layer in replay._layers.items():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda *_, name=name: calls.append(name))
    mutants = [
        changes_of(net, ["layer3.2.conv2"]),
        changes_of(net, ["layer3.2.conv2"]),
        changes_of(net, ["layer3.0.conv1"]),
    ]
    list(replay.run(pictures(2), mutants))
    assert calls.count("0.conv1") == calls.count("0.layer2.2.conv2") == 1
    assert calls.count("0.layer3.0.conv1") == 2
    assert calls.count("0.layer3.2.conv2") == 3


def test_a_classifier_prepares_and_interprets_for_it():
    net = steady(SimpleCNN(classes=2))
    made = BoundClassifier(net, classes=("a", "b"), input_shape=(3, 16, 16), mean=(0.5, 0.4, 0.3), std=(0.2, 0.2, 0.3))
    x = pictures(1)
    ((_, raw),) = made.replay.run(made.prepare(x), [changes_of(net, ["early_conv"])])
    assert len(raw) == 2, "a lone image goes in twice"
    assert made.interpret(raw, 1).shape == (1, 2)
    assert made.prepare(made.origin).abs().max() == 0


def test_units_of_linear_layers_stand_in_where_there_are_no_convolutions():
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 3))
    assert list(filters_of(net)) == ["1"]
    with pytest.raises(ModelError, match="this model has neither"):
        filters_of(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)))


def test_batch_normalisation_is_folded():
    layers = PartialForward(steady(resnet20()), pictures(2))._layers
    assert not any(isinstance(layers[f"0.{name}"], nn.BatchNorm2d) for name in ("bn1", "layer1.0.bn1", "layer3.2.bn2"))


@pytest.mark.parametrize("computed", [nn.utils.parametrizations.weight_norm, nn.utils.parametrizations.spectral_norm])
def test_weights_that_are_computed_cannot_be_replaced(computed):
    net = nn.Sequential(computed(nn.Conv2d(3, 4, 3)), nn.Conv2d(4, 4, 3))
    with pytest.raises(ModelError, match=r"those of the layer '0' are computed .*remove_parametrizations"):
        filters_of(net)
    nn.utils.parametrize.remove_parametrizations(net[0], "weight")
    assert list(filters_of(net)) == ["0", "1"]
