import re

import pytest
import torch
from tests.classifier.classifier_nets import hooks_on
from tests.lipschitz.lipschitz_nets import (
    NETS,
    SHAPE,
    STD,
    Joined,
    Linear,
    Residual,
    Steep,
    classifier,
    conv,
    dense_norm,
    images,
)
from torch import nn
from torch.nn import functional

from demur.lipschitz import local_norms, operator_norm, upper_bound

ids = [net.__name__ for net in NETS]


def quotients(model, x, y):
    """How much further apart the logits are than the images."""
    with torch.no_grad():
        change = (model.logits(x) - model.logits(y)).norm(dim=1)
    return change / (x - y).flatten(1).norm(dim=1)


def uphill(model, x, size, steps=30):
    """Points near x at which the logits have moved far, and not the images."""
    x = x.double()
    model, clean = model.double, model.double.logits(x).detach()
    y = x + size * torch.randn(x.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64) / 50
    for _ in range(steps):
        y = y.detach().requires_grad_()
        (model.logits(y) - clean).norm(dim=1).sum().backward()
        y = (y + size * functional.normalize(y.grad.flatten(1), dim=1).view_as(y) / 5).detach()
        y = x + (y - x) / (y - x).flatten(1).norm(dim=1).view(-1, 1, 1, 1).clamp(min=size) * size
    return quotients(model, x, y)


@pytest.mark.parametrize("net", NETS, ids=ids)
def test_no_pair_of_images_is_drawn_apart_further_than_the_bound(net):
    model = classifier(net)
    upper = upper_bound(model).upper
    one, other = images(200), images(200, seed=1)
    assert float(quotients(model, one, other).max()) < upper
    for size in (1e-3, 0.3, 3.0):
        assert float(uphill(model, images(20), size).max()) < upper


@pytest.mark.parametrize("net", NETS, ids=ids)
def test_what_is_seen_locally_is_below_the_bound_and_the_bound_not_absurd(net):
    model = classifier(net)
    seen = float(local_norms(model, images(20)).max())
    upper = upper_bound(model).upper
    assert seen <= upper * (1 + 1e-6)
    assert upper < 60 * seen * (30 if net is Steep else 1)


@pytest.mark.parametrize("std", [STD, None], ids=["normalised", "as they are"])
def test_an_affine_network_is_one_piece_and_bound_and_slope_are_one(std):
    model = classifier(Linear, std=std)
    bound, seen = upper_bound(model), local_norms(model, images(3))
    assert seen.tolist() == pytest.approx([bound.upper] * 3, rel=1e-5)
    assert bound.upper == pytest.approx(dense_norm(model.double.logits, SHAPE), rel=1e-9)
    (whole,) = [row for row in bound.rows if row.kind == "merged"]
    assert {"first", "norm", "second", "head"} < set(whole.piece.layers)
    assert ("normalisation" in whole.piece.layers) == (std is not None)


def norms_of(model):
    found = upper_bound(model)
    return {row.name: found.norms[row.piece].above for row in found.rows}, found.upper


def test_a_residual_network_is_the_sum_of_its_branches_one_after_the_other():
    model = classifier(Residual, std=None)
    norms, upper = norms_of(model)
    whole = norms["stem"] * (1 + norms["one"] * norms["two"])
    double = model.double.as_module()
    shortcut = operator_norm(
        lambda x: double.down(x) + functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 2)),
        torch.zeros(1, 4, 8, 8, dtype=torch.float64),
    )
    head = operator_norm(lambda x: double.head(x.mean(dim=(2, 3))), torch.zeros(1, 8, 4, 4, dtype=torch.float64))
    assert upper == pytest.approx(whole * shortcut.above * 1.1289042 * head.above, rel=1e-6)
    assert shortcut.value < norms["down"] + 1


def test_layers_are_listed_once_with_what_is_folded_into_them():
    rows = [row for row in upper_bound(classifier(Residual)).rows if row.kind != "merged"]
    assert [row.name for row in rows] == ["stem", "one", "two", "down", "head"]
    assert [row.piece.layers for row in rows[:2]] == [("stem", "stem_norm"), ("one", "one_norm")]
    assert [row.kind for row in rows] == ["convolution"] * 4 + ["linear"]


def test_branches_of_one_beginning_are_joined_as_one_map_and_others_at_a_right_angle():
    model = classifier(Joined, std=None)
    m = model.double.as_module()
    both = operator_norm(lambda x: torch.cat([m.left(x), m.right(x)], 1), torch.zeros(1, *SHAPE, dtype=torch.float64))
    norms, upper = norms_of(model)
    pool = 2.0  # 3×3 windows two apart: a pixel lies in up to four
    joined = (pool**2 * (both.above * 1.4) ** 2 + pool**2 * norms["left"] ** 2) ** 0.5
    last = operator_norm(lambda x: m.head[1](m.after(x).flatten(1)), torch.zeros(1, 12, 4, 4, dtype=torch.float64))
    assert upper == pytest.approx(joined * last.above * 1.0998394 * norms["head.3"], rel=1e-6)
    assert both.value < norms["left"] + norms["right"]


def test_the_bound_of_a_chain_is_never_above_the_product_layer_by_layer():
    chain = nn.Sequential(
        conv(3, 6), nn.BatchNorm2d(6), nn.ReLU(), conv(6, 6), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(96, 4)
    )
    model = classifier(chain, std=None)
    norms, upper = norms_of(model)
    merged = [name for name in norms if "…" in name]
    assert merged == ["3 … 6"]
    assert upper == pytest.approx(norms["0"] * norms["3 … 6"], rel=1e-9)
    assert upper < norms["0"] * norms["3"] * 0.5 * norms["6"]


class Gate(nn.Module):
    def forward(self, x):
        return x * torch.sigmoid(x.mean(dim=(2, 3), keepdim=True))


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.heads = nn.MultiheadAttention(3, 1, batch_first=True)

    def forward(self, x):
        tokens = x.flatten(2).transpose(1, 2)
        return self.heads(tokens, tokens, tokens)[0].mean(dim=1)


class Scores(nn.Module):
    def forward(self, x):
        tokens = x.flatten(2)
        return (tokens @ tokens.transpose(1, 2)).flatten(1)


class Branches(nn.Module):
    def forward(self, x):
        return x.flatten(1) if x.sum() > 0 else -x.flatten(1)


class Rounded(nn.Module):
    """Eight bits a pixel: flat nearly everywhere, and no constant where it jumps."""

    def forward(self, x):
        return (x * 255).to(torch.uint8).to(x.dtype).flatten(1)


class Noisy(nn.Module):
    def forward(self, x):
        return functional.dropout(x, 0.5).flatten(1)


class Chosen(nn.Module):
    def forward(self, x):
        return torch.where(x > 0, x, -x).flatten(1)


class Again(nn.Module):
    """Reads a tensor after it was changed in place."""

    def forward(self, x):
        x = x * 2
        return (torch.relu_(x) + x).flatten(1)


def between(layer, width):
    return nn.Sequential(conv(3, 3), layer, nn.Flatten(), nn.Linear(width, 4))


@pytest.mark.parametrize(
    ("layer", "width", "reason"),
    [
        (Gate(), 192, r"the layer 1 puts together values .* by `mul`"),
        (Attention(), 3, r"the layer 1\.heads \(MultiheadAttention\)"),
        (Scores(), 9, r"`matmul`"),
        (nn.InstanceNorm2d(3), 192, r"the layer 1 \(InstanceNorm2d\) is none whose constant is known"),
        (nn.LocalResponseNorm(2), 192, "."),
        (Branches(), 192, "cannot be written down"),
        (Rounded(), 192, r"the layer 1 calls `to`"),
        (Noisy(), 192, "do not answer as it does|`dropout`"),
        (Chosen(), 192, r"`gt`"),
        (Again(), 192, "changed in place and read again"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_without_a_constant_there_is_no_bound_but_a_reason_and_the_layers(layer, width, reason):
    model = classifier(between(layer, width))
    bound = upper_bound(model)
    assert bound.upper is None
    assert re.search(reason, bound.reason), bound.reason
    rows = {row.name: bound.norms[row.piece].value for row in bound.rows}
    double = model.double.as_module()
    assert rows["0"] == pytest.approx(dense_norm(double[0], SHAPE), rel=1e-9)
    assert rows["3"] == pytest.approx(float(torch.linalg.matrix_norm(double[3].weight.detach(), ord=2)), rel=1e-9)


def test_a_step_that_fails_on_zeros_is_the_reason(monkeypatch):
    def refuse(_piece, _like):
        raise RuntimeError("no zeros here.\nNot one.")

    model = classifier(Residual)
    monkeypatch.setattr("demur.lipschitz.call_graph.SlopeProduct._norm", refuse)
    assert upper_bound(model).reason == "a step of Residual failed on zeros: no zeros here"


def test_probabilities_and_sigmoids_have_no_bound_and_one_logit_has():
    end = nn.Sequential(nn.Flatten(), nn.Linear(192, 4), nn.Softmax(dim=1))
    found = upper_bound(classifier(end, output="probabilities"))
    assert found.upper is None
    assert "probabilities" in found.reason
    one = classifier(nn.Sequential(nn.Flatten(), nn.Linear(192, 1)), classes=("no", "yes"), output="logit", std=None)
    assert upper_bound(one).upper == pytest.approx(float(one.as_module()[1].weight.detach().norm()), rel=1e-6)


def test_a_model_that_ignores_the_image_has_no_bound():
    class Deaf(nn.Module):
        def __init__(self):
            super().__init__()
            self.answer = nn.Parameter(torch.zeros(1, 4))

        def forward(self, x):
            return self.answer.expand(x.shape[0], 4) * 1

    assert "does not depend" in upper_bound(classifier(Deaf())).reason


@pytest.mark.parametrize("net", NETS, ids=ids)
def test_the_module_is_left_as_it_was_and_the_bound_is_the_same_again(net):
    model = classifier(net)
    before = {name: tensor.clone() for name, tensor in model.as_module().state_dict().items()}
    asks = [parameter.requires_grad for parameter in model.as_module().parameters()]
    one, again = upper_bound(model), upper_bound(classifier(net))
    assert one.upper == again.upper
    local_norms(model, images(2))
    assert hooks_on(model.as_module()) == hooks_on(model.double.as_module()) == 0
    assert [parameter.requires_grad for parameter in model.as_module().parameters()] == asks
    assert all(parameter.grad is None for parameter in model.as_module().parameters())
    assert not any(layer.training for layer in model.as_module().modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in model.as_module().state_dict().items())


def test_normalisation_counts_by_the_smallest_deviation():
    flat = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Linear(192, 4))
    sized = [upper_bound(classifier(flat, std=std)).upper for std in (None, (0.5, 0.5, 0.5), (0.5, 0.1, 0.5))]
    assert sized[1] == pytest.approx(2 * sized[0])
    assert sized[2] == pytest.approx(10 * sized[0])


def test_a_shared_layer_is_listed_once_and_counts_as_often_as_it_is_called():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.head = conv(3, 3), nn.Linear(192, 4)

        def forward(self, x):
            return self.head(torch.relu(self.conv(torch.relu(self.conv(x)))).flatten(1))

    norms, upper = norms_of(classifier(Twice(), std=None))
    assert upper == pytest.approx(norms["conv"] ** 2 * norms["head"], rel=1e-6)


def test_batch_normalisation_before_a_convolution_is_a_row_of_its_own():
    model = classifier(nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), conv(3, 4), nn.Flatten(), nn.Linear(256, 4)))
    kinds = [(row.name, row.kind) for row in upper_bound(model).rows]
    assert kinds[:3] == [("0", "batch norm"), ("2", "convolution"), ("4", "linear")]
    scale = model.as_module()[0].weight * (model.as_module()[0].running_var + model.as_module()[0].eps).rsqrt()
    assert norms_of(model)[0]["0"] == pytest.approx(float(scale.detach().abs().max()), rel=1e-6)
