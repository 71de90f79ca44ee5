"""Bounds hold at random points, equal a slow reference, and are sharp where one layer is all there is."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from demur.classifier import BoundClassifier
from demur.proofs import Acceptance, Bounds, NoBoundError, bounds, network_bounds, proven_radii
from demur.proofs.intervals import Interval
from demur.training import fresh
from demur.zoo import CompactResNet, SimpleCNN, resnet20

DICE = torch.Generator().manual_seed(0)


def classifier(module, shape, classes=3, **declared):
    names = tuple("abcdefghij"[:classes])
    return BoundClassifier(module.eval(), classes=names, input_shape=shape, **declared)


def trained_like(module, seed=0):
    """Statistics of batch normalisation as if it had learned."""
    dice = torch.Generator().manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.copy_(0.1 * torch.randn(layer.running_mean.shape, generator=dice))
            layer.running_var.copy_(0.5 + torch.rand(layer.running_var.shape, generator=dice))
            layer.weight.data.copy_(0.5 + torch.rand(layer.weight.shape, generator=dice))
    return module


def pooled():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.LeakyReLU(0.1), nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, padding=1),
        nn.BatchNorm2d(6), nn.ReLU6(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(6, 8), nn.Dropout(0.5),
        nn.ReLU(inplace=True), nn.Linear(8, 3),
    )  # fmt: skip


NETS = {
    "compact_resnet": (lambda: CompactResNet(1, 3, width=8), (1, 12, 12)),
    "resnet20": (lambda: resnet20(3, 3), (3, 8, 8)),
    "simple_cnn": (lambda: SimpleCNN(3, 3), (3, 16, 16)),
    "pooled": (pooled, (1, 8, 8)),
}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("eps", [1e-4, 0.02])
def test_no_point_of_the_box_is_outside_the_bounds(name, eps):
    made, shape = NETS[name]
    model = classifier(trained_like(fresh(made, 0)), shape, mean=(0.4,) * shape[0], std=(0.3,) * shape[0])
    x = torch.rand(4, *shape, generator=DICE)
    y = torch.tensor([0, 1, 2, 0])
    found = bounds(model, x, y, eps)
    with torch.no_grad():
        for draw in range(60):
            way = 2 * torch.rand(x.shape, generator=DICE) - 1
            point = (x + eps * (way.sign() if draw % 2 else way)).clamp(0, 1)
            logits = model(point)
            assert (logits.double() >= found.logits.low).all()
            assert (logits.double() <= found.logits.high).all()
            lead = (logits.gather(1, y[:, None]) - logits).double()
            lead[torch.arange(4), y] = math.inf
            assert (lead >= found.label_leads).all()
            assert (logits.double().softmax(1) <= found.largest_shares).all()


@pytest.mark.slow
def test_a_hundred_thousand_points_stay_inside():
    model = classifier(fresh(pooled, 0), (1, 8, 8))
    x = torch.rand(1, 1, 8, 8, generator=DICE)
    found = bounds(model, x, torch.tensor([0]), 0.05)
    with torch.no_grad():
        for _ in range(100):
            points = (x + 0.05 * (2 * torch.rand(1000, 1, 8, 8, generator=DICE) - 1)).clamp(0, 1)
            logits = model(points).double()
            assert ((logits >= found.logits.low) & (logits <= found.logits.high)).all()


def slow_bounds(layers, low, high):
    """Neuron by neuron, in plain numbers: (weights, bias) and None for ReLU."""
    for layer in layers:
        if layer is None:
            low, high = [max(0.0, v) for v in low], [max(0.0, v) for v in high]
            continue
        weight, bias = layer
        sums = []
        for row, shift in zip(weight, bias, strict=True):
            least = shift + sum(w * (low[i] if w > 0 else high[i]) for i, w in enumerate(row))
            most = shift + sum(w * (high[i] if w > 0 else low[i]) for i, w in enumerate(row))
            sums.append((least, most))
        low, high = [least for least, _ in sums], [most for _, most in sums]
    return low, high


def test_bounds_equal_the_slow_reference():
    net = fresh(
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(9, 7), nn.ReLU(), nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 3)), 1
    )
    model = classifier(net, (1, 3, 3))
    x = torch.rand(1, 1, 3, 3, generator=DICE)
    eps = 0.03
    linear = [
        (layer.weight.double().tolist(), layer.bias.double().tolist()) for layer in net if isinstance(layer, nn.Linear)
    ]
    begin = x.double().flatten()
    low, high = slow_bounds(
        [linear[0], None, linear[1], None],
        (begin - eps).clamp(0, 1).tolist(),
        (begin + eps).clamp(0, 1).tolist(),
    )
    weight, bias = np.array(linear[2][0]), np.array(linear[2][1])
    wanted = [
        sum(d * (low[i] if d > 0 else high[i]) for i, d in enumerate(weight[1] - weight[k])) + bias[1] - bias[k]
        for k in (0, 2)
    ]
    exact = Interval((x.double() - eps).clamp(0, 1), (x.double() + eps).clamp(0, 1), unit=0.0)
    with torch.no_grad():
        assert Bounds(net(exact), torch.tensor([1])).label_leads[0, [0, 2]].tolist() == pytest.approx(wanted, abs=1e-6)
    found = bounds(model, x, torch.tensor([1]), eps).label_leads[0, [0, 2]].tolist()
    assert found == pytest.approx(wanted, abs=2e-4)
    assert all(mine <= slow for mine, slow in zip(found, wanted, strict=True))  # rounding is on the safe side


@pytest.mark.parametrize("name", NETS)
def test_bounds_for_training_are_those_of_the_proof_without_its_margins(name):
    made, shape = NETS[name]
    net = trained_like(fresh(made, 0)).eval()
    x, y, eps = torch.rand(3, *shape, generator=DICE), torch.tensor([0, 1, 2]), 0.01
    found, proven = network_bounds(net, x, y, eps, unit=0.0), network_bounds(net, x, y, eps)
    assert (found.label_leads >= proven.label_leads).all()
    spread = (found.logits.high - found.logits.low).detach()
    wider = (proven.logits.high - proven.logits.low).detach()
    assert (wider >= spread).all()
    torch.testing.assert_close(wider, spread, rtol=0.05, atol=0.05)
    worst = found.worst_logits
    assert worst[torch.arange(3), y].tolist() == [0, 0, 0]
    others = ~torch.eye(3, dtype=torch.bool)
    torch.testing.assert_close(worst[others], -found.label_leads[others])
    worst.mean().backward()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in net.parameters())
    classified = bounds(classifier(net, shape), x, y, eps)
    torch.testing.assert_close(proven.label_leads.detach(), classified.label_leads)


def test_a_convolution_is_the_matrix_it_stands_for():
    conv = fresh(lambda: nn.Conv2d(2, 3, 3, stride=2, padding=1), 0)
    x = torch.rand(1, 2, 5, 5, generator=DICE)
    with torch.no_grad():
        columns = torch.stack([conv(unit.view(1, 2, 5, 5)).flatten() - conv(torch.zeros(1, 2, 5, 5)).flatten()
                               for unit in torch.eye(50)], dim=1).double()  # fmt: skip
        shift = conv(torch.zeros(1, 2, 5, 5)).flatten().double()
        box = Interval((x - 0.1).double(), (x + 0.1).double(), unit=0.0)
        found = conv(box)
    low, high = slow_bounds(
        [(columns.tolist(), shift.tolist())], box.low.flatten().tolist(), box.high.flatten().tolist()
    )
    torch.testing.assert_close(found.low.flatten(), torch.tensor(low, dtype=torch.float64), atol=1e-6, rtol=0)
    torch.testing.assert_close(found.high.flatten(), torch.tensor(high, dtype=torch.float64), atol=1e-6, rtol=0)


def toy():
    """Two pixels, three hidden values, two classes."""
    return fresh(lambda: nn.Sequential(nn.Flatten(), nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)), 4)


def test_a_toy_agrees_with_exhaustive_search():
    """Nothing proven is broken anywhere on a fine grid."""
    model = classifier(toy(), (1, 1, 2), classes=2)
    x = torch.rand(30, 1, 1, 2, generator=DICE)
    y = model(x).argmax(dim=1)
    radii = proven_radii(model, x, y, 0.5, halvings=16)
    steps = torch.linspace(-1, 1, 41)
    for at in range(30):
        grid = torch.tensor(list(itertools.product(steps.tolist(), repeat=2))).view(-1, 1, 1, 2)
        inside = (x[at] + radii[at].float() * grid).clamp(0, 1)
        assert (model(inside).argmax(dim=1) == y[at]).all()
    assert (radii > 0.01).sum() > 20


def test_one_layer_is_bounded_exactly():
    net = fresh(lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), 0)
    model = classifier(net, (1, 4, 4))
    x = 0.3 + 0.4 * torch.rand(20, 1, 4, 4, generator=DICE)
    y = model(x).argmax(dim=1)
    weight, logits = net[1].weight.double(), model(x).double()
    exact = torch.stack([
        torch.stack([(logits[i, y[i]] - logits[i, k]) / (weight[y[i]] - weight[k]).abs().sum()
                     for k in range(3) if k != y[i]]).min() for i in range(20)
    ])  # fmt: skip
    found = proven_radii(model, x, y, 0.25, halvings=20)
    torch.testing.assert_close(found, exact.clamp(max=0.25), atol=1e-4, rtol=1e-3)
    assert (found <= exact).all()


@pytest.mark.parametrize(
    ("signal", "least"), [("msp", 0.9), ("msp", 0.6), ("msp", 0.3), ("margin", 0.5), ("margin", 0.0)]
)
def test_a_guard_lets_nothing_wrong_through_where_that_is_proven(signal, least):
    model = classifier(trained_like(fresh(pooled, 3)), (1, 8, 8))
    x = torch.rand(40, 1, 8, 8, generator=DICE)
    y = model(x).argmax(dim=1)
    y[::3] = (y[::3] + 1) % 3  # wrong already
    acceptance = Acceptance(signal=signal, least=least)
    proven = bounds(model, x, y, 0.01).right_or_declined(acceptance)
    for _ in range(50):
        point = (x + 0.01 * (2 * torch.rand(x.shape, generator=DICE) - 1).sign()).clamp(0, 1)
        p = model(point).double().softmax(1).sort(1, descending=True)
        confidence = p.values[:, 0] if signal == "msp" else p.values[:, 0] - p.values[:, 1]
        broken = (confidence >= least) & (p.indices[:, 0] != y)
        assert not (broken & proven).any()
    assert (proven >= bounds(model, x, y, 0.01).right).all()


def test_confidence_widens_what_is_proven():
    net = trained_like(fresh(pooled, 3))
    with torch.no_grad():
        net[-1].weight *= 8
        net[-1].bias *= 8
    model = classifier(net, (1, 8, 8))
    x = torch.rand(60, 1, 8, 8, generator=DICE)
    y = torch.arange(60) % 3
    found = bounds(model, x, y, 0.02)
    shares = [found.right_or_declined(Acceptance(signal="msp", least=least)).sum().item() for least in (0.3, 0.6, 0.9)]
    assert shares[0] <= shares[1] <= shares[2]
    assert shares[2] > found.right.sum().item()


@pytest.mark.parametrize(
    ("logits", "label", "msp", "margin"),
    [
        ([0.0, math.log(9)], 0, 0.9, 0.8),
        ([0.0, math.log(9)], 1, -1, -1),
        ([0.0, 0.0, math.log(2)], 0, 0.5, 1 / 3),
        ([math.log(2), math.log(3), math.log(5)], 0, 0.5, 3 / 7),
    ],
)
def test_the_confidence_of_a_wrong_answer_is_at_most_what_its_lead_allows(logits, label, msp, margin):
    point = Interval(torch.tensor([logits]), torch.tensor([logits]), unit=0.0)
    found = Bounds(point, torch.tensor([label]))
    assert found.wrong_confidence("msp").item() == pytest.approx(msp, abs=1e-6)
    assert found.wrong_confidence("margin").item() == pytest.approx(margin, abs=1e-6)


def test_certainty_is_no_threshold_that_a_proof_relies_on():
    sure = Bounds(Interval(torch.tensor([[0.0, 40.0]]), torch.tensor([[0.0, 40.0]]), unit=0.0), torch.tensor([0]))
    assert not sure.right_or_declined(Acceptance(signal="msp", least=1.0)).any()
    assert not sure.right_or_declined(Acceptance(signal="margin", least=1.0)).any()


class Odd(nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(16, 3)

    def forward(self, x):
        return self.linear(torch.fft.fft(x.flatten(1)).real)


def test_an_operation_without_a_bound_is_named():
    with pytest.raises(NoBoundError, match="fft"):
        bounds(classifier(Odd(), (1, 4, 4)), torch.rand(1, 1, 4, 4), torch.tensor([0]), 0.1)


def test_each_row_has_its_own_radius():
    model = classifier(fresh(pooled, 0), (1, 8, 8))
    x, y = torch.rand(3, 1, 8, 8, generator=DICE), torch.tensor([0, 1, 2])
    together = bounds(model, x, y, torch.tensor([0.0, 0.01, 0.05])).label_leads
    for at, eps in enumerate((0.0, 0.01, 0.05)):
        torch.testing.assert_close(bounds(model, x[at : at + 1], y[at : at + 1], eps).label_leads[0], together[at])


def refusal(forward, *layers):
    """What is said of a model whose forward is a function of its linear layer and the images."""

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear, self.others = nn.Linear(16, 3), nn.ModuleList(layers)

        def forward(self, x):
            return forward(self, x.flatten(1))

    with pytest.raises(NoBoundError) as error:
        bounds(classifier(Model(), (1, 4, 4)), torch.rand(2, 1, 4, 4), torch.tensor([0, 1]), 0.1)
    return str(error.value)


def changed_by_name(net, x):
    y = x + 0
    torch.relu_(y)  # changes y, and what it returns is dropped
    return net.linear(y)


def rounded(net, x):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        return net.linear(x).float()


@pytest.mark.parametrize(
    ("forward", "reason"),
    [
        (lambda net, x: net.linear(x) * (x[:, :3] != 0.5), "comparison"),
        (lambda net, x: net.linear(x) * (2 if x[0, 0] > 0 else 1), "TypeError"),
        (lambda net, x: net.linear(x) * (x.mean() + 1), "mean over images"),
        (lambda net, x: net.linear(x.to(torch.float16).to(torch.float32)), "precision"),
        (lambda net, x: net.linear(x) / (1 + x[:, :1]), "depends on the image"),
        (lambda net, x: net.linear(nn.functional.gelu(x)), "gelu"),
        (changed_by_name, "relu_"),
        (rounded, "autocast"),
    ],
)
def test_what_has_no_bound_is_refused_rather_than_guessed(forward, reason):
    assert reason in refusal(forward)


def test_answers_that_are_drawn_have_no_bound():
    assert "from call to call" in refusal(lambda net, x: net.linear(x + 0.1 * torch.randn(x.shape)))


class Shortcut(nn.Module):
    """ReLU in place changes what the shortcut carries too, as torch does it."""

    def __init__(self, change):
        super().__init__()
        self.first, self.last, self.change = nn.Linear(16, 8), nn.Linear(8, 3), change

    def forward(self, x):
        kept = out = self.first(x.flatten(1))
        out = self.change(out)
        return self.last(out + kept)


def doubled(value):
    value += value
    return value


@pytest.mark.parametrize(
    "change",
    [
        nn.ReLU(inplace=True),
        nn.ReLU6(inplace=True),
        nn.LeakyReLU(0.2, inplace=True),
        nn.Hardtanh(inplace=True),
        doubled,
        lambda value: nn.functional.relu(value, inplace=True) * value,
    ],
)
def test_a_change_in_place_is_seen_by_all_who_hold_the_value(change):
    model = classifier(fresh(lambda: Shortcut(change), 0), (1, 4, 4))
    x = torch.rand(20, 1, 4, 4, generator=DICE)
    y = torch.zeros(20, dtype=torch.long)
    found = bounds(model, x, y, 1e-6)
    logits = model(x).double()
    assert ((found.logits.low <= logits) & (logits <= found.logits.high)).all()
    assert (found.logits.high - found.logits.low).max() < 1e-3


def test_a_last_layer_changed_in_place_is_bounded_as_it_is():
    """What is known of it as a linear layer holds no more."""
    net = fresh(lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 3), nn.ReLU(inplace=True)), 0)
    model = classifier(net, (1, 4, 4))
    x, y = torch.rand(20, 1, 4, 4, generator=DICE), torch.zeros(20, dtype=torch.long)
    logits = model(x).double()
    lead = logits[:, :1] - logits
    lead[:, 0] = math.inf
    assert (bounds(model, x, y, 0.0).label_leads <= lead).all()
