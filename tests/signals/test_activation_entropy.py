"""Entropy of activations equals NumPy's histogram, and listening changes nothing."""

import math

import numpy as np
import pytest
import torch
from tests.signals.slow_model_signals import entropy_in

from demur.errors import InputError
from demur.evidence import Evidence
from demur.signals.activation_entropy import ActivationEntropy, counts_in, entropy_of, quantile_edges, thinned
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
        ({"fusion": "vote"}, "`fusion` is one of mean, learned; got 'vote'"),
    ],
)
def test_what_cannot_be_is_refused(given, message):
    with pytest.raises(InputError, match=message):
        ActivationEntropy(**given)
