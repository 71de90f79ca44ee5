"""Entropy of activations equals NumPy's histogram, and listening changes nothing."""

import math

import numpy as np
import pytest
import torch
from tests.signals.slow_model_signals import entropy_in

from demur.errors import InputError
from demur.evidence import Evidence
from demur.metrics import auroc
from demur.signals import activation_histograms
from demur.signals.activation_entropy import ActivationEntropy
from demur.signals.activation_histograms import counts_in, entropy_of, quantile_edges, thinned, uniform_edges
from demur.testing.world import World

EDGES = (0.0, 0.1, 0.35, 0.8, 1.5, 4.0)


@pytest.fixture(scope="module")
def world():
    return World(layers=("conv", "wide"))


def fitted(world, **given):
    with torch.no_grad():
        return ActivationEntropy(layers=world.layers, **given).fit(world.reference(), world.labels)


def layer_values(world, layer, images):
    """Rectified activations of a layer, (rows, values)."""
    with torch.no_grad():
        return world.classifier.activations(images, [layer])[layer].flatten(1).clamp(min=0).double().numpy()


@pytest.mark.parametrize("edges", [EDGES, (-1.0, 0.0, 1.0, 2.0), tuple(np.linspace(0, 1, 9))])
def test_counts_are_those_of_numpy(edges):
    values = torch.linspace(-2, 5, 1 + 70 * 4).view(1, -1).repeat(2, 1)
    values[1] = torch.tensor(edges).float().repeat(100)[: values.shape[1]]
    cuts = torch.tensor(edges, dtype=torch.float64)
    for row, counts in zip(values.double(), counts_in(values.double(), cuts), strict=True):
        assert counts.tolist() == np.histogram(row.numpy(), edges)[0].tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("traced", [False, True])
def test_counts_are_those_of_numpy_in_any_precision_and_in_a_graph(dtype, traced, monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: traced)
    draw = torch.Generator().manual_seed(3)
    edges = torch.rand(9, generator=draw, dtype=torch.float64).sort().values
    values = torch.rand(40, 300, generator=draw, dtype=dtype) * 1.2 - 0.1
    values[:, :9] = edges.to(dtype)
    for row, counts in zip(values, counts_in(values, edges), strict=True):
        assert counts.tolist() == np.histogram(row.double().numpy(), edges.numpy())[0].tolist()


def test_the_values_of_a_graph_are_looked_up(monkeypatch):
    monkeypatch.setattr(torch.compiler, "is_exporting", lambda: True)
    monkeypatch.setattr(activation_histograms.np, "sort", None)
    assert counts_in(torch.tensor([[0.5]]), torch.tensor([0.0, 1.0, 2.0]).double()).tolist() == [[1.0, 0.0]]


def test_bins_of_one_width_reach_to_the_largest_value_and_the_last_holds_what_is_larger():
    batches = [torch.tensor([[0.0, 0.5, 1.0]]), torch.tensor([[4.0, 2.0, 0.0]])]
    edges = uniform_edges(batches, 4)
    assert edges[:-1].tolist() == [0, 1, 2, 3]
    assert counts_in(torch.tensor([[0.0, 0.9, 1.0, 4.0, 1e30]]), edges).tolist() == [[2, 1, 0, 2]]
    assert (uniform_edges([torch.zeros(2, 3)], 5).diff() > 0).all()


def test_the_last_edge_is_not_rounded_to_the_type_of_the_values():
    values, edges = torch.tensor([[0.1, 0.3]]), torch.tensor([0, 0.2, 0.3], dtype=torch.float64)
    assert counts_in(values, edges)[0].tolist() == np.histogram(values.numpy(), edges.numpy())[0].tolist() == [1, 0]


def test_fitted_edges_rise_among_the_smallest_of_numbers():
    edges = quantile_edges([torch.tensor([[0, 1e-40, 1e-39, 2e-38, 1.0]])], 5)
    assert (edges.diff() > 0).all()


def test_an_even_spread_has_the_logarithm_of_the_bins():
    assert float(entropy_of(torch.full((7,), 5.0))) == pytest.approx(math.log(7))
    assert float(entropy_of(torch.tensor([0.0, 9, 0]))) == 0
    assert float(entropy_of(torch.zeros(4))) == 0


@pytest.mark.parametrize("bins", [3, 12])
def test_fitted_bins_hold_equally_many_positive_values_and_one_the_zeros(bins):
    values = torch.rand(50, 400, generator=torch.Generator().manual_seed(0)) - 0.25
    values = values.clamp(min=0)
    counts = counts_in(values, quantile_edges([values[:20], values[20:]], bins)).sum(dim=0)
    assert len(counts) == bins
    assert counts[0] == (values == 0).sum()
    assert (counts[1:] - (values > 0).sum() / (bins - 1)).abs().max() <= 2
    assert counts_in(torch.tensor([[1e30]]), quantile_edges([values], bins)).sum() == 1, "above all that was seen"


def test_dead_layers_and_wide_layers():
    assert entropy_of(counts_in(torch.zeros(2, 9), quantile_edges([torch.zeros(3, 9)], 30))).tolist() == [0, 0]
    assert thinned(torch.zeros(3, 5000)).shape == (3, 1000)
    assert thinned(torch.zeros(3, 1024)).shape == (3, 1024)


@pytest.mark.parametrize("side", ["two", "upper", "lower"])
def test_several_layers_are_averaged_in_standard_deviations(world, side):
    found = fitted(world, edges=EDGES, side=side)
    turn = {"two": abs, "upper": lambda away: away, "lower": lambda away: -away}[side]
    expected = np.zeros(world.rows)
    for layer in world.layers:
        known = [entropy_in(row, EDGES) for row in layer_values(world, layer, world.reference_images)]
        new = [entropy_in(row, EDGES) for row in layer_values(world, layer, world.images)]
        expected += [turn((h - np.mean(known)) / np.std(known)) / 2 for h in new]
    with torch.no_grad():
        np.testing.assert_allclose(found(world.evidence()), expected, rtol=1e-3, atol=1e-3)


def test_the_entropy_of_each_layer_is_kept(world):
    found = fitted(world, edges=EDGES)
    with torch.no_grad():
        parts = found.parts(world.evidence())
    assert list(parts) == ["conv", "wide"]
    expected = [entropy_in(row, EDGES) for row in layer_values(world, "conv", world.images)]
    np.testing.assert_allclose(parts["conv"], expected, rtol=1e-5)


def test_a_batch_is_one_histogram(world):
    found = fitted(world, edges=EDGES)
    with torch.no_grad():
        together = found.of_batch(world.evidence())
    for layer, entropy in zip(world.layers, together.tolist(), strict=True):
        assert entropy == pytest.approx(entropy_in(layer_values(world, layer, world.images).ravel(), EDGES), rel=1e-5)


def test_logits_are_the_same_to_the_last_bit_with_and_without(world):
    with torch.no_grad():
        bare = Evidence(world.classifier, world.images).logits
        seen = Evidence(world.classifier, world.images, world.layers)
        fitted(world)(seen)
        assert torch.equal(seen.logits, bare)
    assert (seen.forwards, seen.backwards) == (1, 0)


def test_parts_may_be_in_bits_and_scores_do_not_change(world):
    nats, bits = fitted(world, binning="uniform"), fitted(world, binning="uniform", in_bits=True)
    with torch.no_grad():
        torch.testing.assert_close(bits(world.evidence()), nats(world.evidence()), rtol=1e-12, atol=1e-12)
        natural, binary = nats.parts(world.evidence()), bits.parts(world.evidence())
    for layer in world.layers:
        torch.testing.assert_close(binary[layer] * math.log(2), natural[layer])


class Told:
    """Evidence of given activations and answers; every second layer says nothing."""

    groups = None

    def __init__(self, values, wrong):
        self.values, self.logits = values, torch.stack([-wrong.float(), wrong.float()], dim=1)

    def __len__(self):
        return len(self.values)

    def activations(self, layer):
        return self.values if layer == "telling" else self.values.flip(0)


def told(rows=400, low=True):
    """Images whose entropy is low, or else far from the middle, when the answer is wrong."""
    number = torch.arange(rows)
    wrong = number % 4 == 0
    far = torch.where(number % 8 == 0, 4, 55)
    filled = torch.where(wrong, 4 if low else far, torch.where(number % 4 == 1, 55 if low else 20, 20)) + number % 3
    values = torch.linspace(0.01, 1, 64).repeat(rows, 1)
    return Told(torch.where(torch.arange(64) < filled[:, None], values, 0.0), wrong)


@pytest.mark.parametrize("low", [True, False])
def test_a_learned_fusion_sees_on_which_side_errors_lie_and_how_far(low):
    evidence = told(low=low)
    labels = torch.zeros(len(evidence), dtype=torch.int64)
    found = ActivationEntropy(layers=("telling", "silent"), bins=9, fusion="learned").fit([evidence], labels)
    assert found.facts["held_out_auroc"] > 0.95
    assert found.facts["layer_auroc"][0] == pytest.approx(
        auroc(found.deviations(found.entropies(evidence))[:, 0].numpy(), evidence.logits.argmax(dim=1).numpy() > 0)
    )
    assert found.facts["beats_its_layers"] == (found.facts["held_out_auroc"] > max(found.facts["layer_auroc"]))


def test_what_two_layers_have_in_common_is_a_fact():
    evidence = told()
    labels = torch.zeros(len(evidence), dtype=torch.int64)
    facts = ActivationEntropy(layers=("telling", "telling"), bins=9).fit([evidence], labels).facts
    assert facts["mutual_information"][0][1] == pytest.approx(facts["mutual_information"][0][0])
    assert facts["mutual_information"][0][0] > 0.5


def test_layers_may_be_weighed_by_what_they_teach_of_errors(world):
    found = fitted(world, fusion="learned")
    assert found.facts["rows"] == 160
    assert found.facts["wrong"] == world.wrong.sum()
    with torch.no_grad():
        uncertainty = found(world.evidence())
    assert ((uncertainty > 0) & (uncertainty < 1)).all()
    assert "held_out_auroc" not in fitted(world).facts
    assert (found.unit, ActivationEntropy(fusion="learned").unit) == ("probability of an error",) * 2
    assert (fitted(world).unit, ActivationEntropy().unit) == ("standard deviations",) * 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"bins": 1}, "`bins` must be at least 2; got 1"),
        ({"edges": (0.0, 2.0, 1.0)}, "`edges` must rise"),
        ({"edges": (0.0, 2.0)}, "`edges` must rise, three at least"),
        ({"side": "left"}, "`side` is one of two, upper, lower; got 'left'"),
        ({"binning": "wide"}, "`binning` is one of quantile, uniform; got 'wide'"),
        ({"fusion": "vote"}, "`fusion` is one of mean, learned; got 'vote'"),
    ],
)
def test_what_cannot_be_is_refused(given, message):
    with pytest.raises(InputError, match=message):
        ActivationEntropy(**given)
