"""Networks of the reference systems: their sizes as published, and a step of the path for volumes."""

import importlib.util
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from demur.training import fresh

FILE = Path(__file__).parents[2] / "examples/reference-systems/reference_networks.py"


@pytest.fixture(scope="module")
def networks():
    spec = importlib.util.spec_from_file_location("reference_networks", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_vgg10_light_has_the_published_number_of_parameters(networks):
    with torch.device("meta"):
        network = networks.vgg10_light()
        assert network(torch.empty(2, 3, 224, 224)).shape == (2, 10)
    assert sum(value.numel() for value in network.parameters()) == 43_395_754


def test_the_inception_like_network_has_maps_as_its_model_does(networks):
    with torch.device("meta"):
        network = networks.inception_like(classes=50)
        assert network[:-4](torch.empty(2, 3, 299, 299)).shape == (2, 192, 35, 35)
        assert network[:-3](torch.empty(2, 3, 299, 299)).shape == (2, 256, 35, 35)
        assert network(torch.empty(2, 3, 75, 75)).shape == (2, 50)


def test_steps_on_volumes_lower_the_loss(networks):
    network = fresh(networks.volume_cnn, 0)
    assert [layer.out_channels for layer in network if isinstance(layer, nn.Conv3d)] == [32, 64, 128]
    labels = torch.arange(8) % 2
    volumes = torch.rand(8, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.3
    volumes[labels == 1, :, :4] += 0.7
    optimizer, losses = torch.optim.SGD(network.parameters(), 0.1), []
    for _ in range(4):
        loss = cross_entropy(network(volumes), labels)
        losses.append(loss.item())
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] - 1e-4
