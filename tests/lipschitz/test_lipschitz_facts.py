import json
import math
import os
from pathlib import Path

import pytest
import torch
from tests.lipschitz.lipschitz_nets import NETS, Residual, classifier, images
from torch import nn

from demur.adapters import load_model
from demur.analysis.robustness.lipschitz_tables import LayerNorm
from demur.data import open_data
from demur.lipschitz import lipschitz_facts, local_norms, upper_bound


def facts(model, rows=7, **options):
    x = images(rows)
    labels = torch.arange(rows) % 4
    return lipschitz_facts(model, x, labels, [f"i{k}" for k in range(rows)], **options)


@pytest.mark.parametrize("net", NETS)
def test_facts_are_what_was_measured_and_survive_json(net):
    model = classifier(net)
    found = json.loads(json.dumps(facts(model, batch=3), allow_nan=False))
    assert list(found) == ["layers", "upper", "reason", "sample_ids", "lower", "margins"]
    assert found["upper"] == upper_bound(model).upper
    assert found["reason"] is None
    assert found["lower"] == pytest.approx(local_norms(model, images(7)).tolist(), rel=1e-5)
    assert [LayerNorm(**row).model_dump(mode="json") for row in found["layers"]] == found["layers"]
    logits = model.logits(images(7)).detach().double()
    for k, margin in enumerate(found["margins"]):
        first, second = logits[k].topk(2).values.tolist()
        right = int(logits[k].argmax()) == k % 4
        assert margin == (pytest.approx(first - second, abs=1e-4) if right else None)


def test_the_certified_radius_holds_on_every_point_tried():
    model = classifier(Residual)
    found = facts(model, rows=12)
    generator = torch.Generator().manual_seed(0)
    tried = 0
    for k, margin in enumerate(found["margins"]):
        if margin is None:
            continue
        x = images(12)[k : k + 1]
        ways = torch.randn(300, *x.shape[1:], generator=generator)
        radius = margin / (math.sqrt(2) * found["upper"])
        moved = x + radius * ways / ways.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
        assert (model.logits(moved).argmax(dim=1) == k % 4).all()
        tried += 1
    assert tried > 1


def test_a_model_without_a_bound_still_has_layers_slopes_and_margins():
    model = classifier(nn.Sequential(nn.Conv2d(3, 4, 3), nn.InstanceNorm2d(4), nn.Flatten(), nn.Linear(144, 4)))
    found = facts(model)
    assert found["upper"] is None
    assert "InstanceNorm2d" in found["reason"]
    assert [row["name"] for row in found["layers"]] == ["0", "3"]
    assert len(found["lower"]) == len(found["margins"]) == 7


def test_what_is_not_a_number_is_null():
    class Empty(nn.Module):
        """Logits so far apart that their slope overflows."""

        def forward(self, x):
            return torch.exp(x.flatten(1)[:, :4] * 88 + 8)

    found = facts(classifier(Empty(), std=None, mean=None))
    json.dumps(found, allow_nan=False)
    assert found["upper"] is None


def of(address, data, rows=64):
    source = open_data(data)
    model = load_model(address, classes=source.classes, input_shape=source.input_shape)
    read = list(source.read(range(rows)))
    x, y = torch.stack([row.image for row in read]), torch.tensor([row.label for row in read])
    return lipschitz_facts(model, x, y, [row.sample_id for row in read])


def test_the_net_that_comes_along_is_bounded():
    found = of("fashion", "fashion")
    assert found["upper"] == pytest.approx(133_758, rel=1e-2)
    assert max(found["lower"]) == pytest.approx(46.7, rel=1e-2)
    assert [row["name"] for row in found["layers"] if row["kind"] == "merged"] == ["mean … head"]
    assert all(row["converged"] for row in found["layers"])


@pytest.mark.shared
@pytest.mark.skipif("DEMUR_SHARED" not in os.environ, reason="DEMUR_SHARED is not set")
def test_figures_of_resnet20_on_cifar10():
    shared = Path(os.environ["DEMUR_SHARED"])
    weights = f"{shared}/models/cifar10_resnet20.safetensors?mean=.485,.456,.406&std=.229,.224,.225"
    found = of(f"zoo:resnet20@{weights}", f"parquet:{shared}/data/cifar10/test.parquet")
    assert found["upper"] == pytest.approx(8.945e10, rel=1e-2)
    assert max(found["lower"]) == pytest.approx(347.4, rel=1e-2)
    norms = {row["name"]: row["norm"] for row in found["layers"]}
    assert norms["normalisation … bn1"] < norms["conv1"] / 0.224
    assert norms["mean … linear"] < norms["linear"]
