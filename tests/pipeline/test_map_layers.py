"""The layer of Grad-CAM in an audit: chosen once by its first images, recorded, the same for maps and regions."""

from collections import Counter

import pytest
import torch
from tests import every_section, tiny
from torch import nn

from demur.analysis import analyse
from demur.attribution import target_layers
from demur.classifier import BoundClassifier
from demur.errors import RunError
from demur.files import read_json, write_json
from demur.pipeline.plan.plan_tables import AttributionPlan
from demur.pipeline.run.loop import run_plan
from demur.records import read
from demur.report import render

OBJECT = "occlude(by='mean', part='object', region='grad_cam')"
PARTS = AttributionPlan(maps=("grad_cam", "gradient"), regions=("grad_cam", "centred"), occlude=("mean",), images=80)


class Shaded(nn.Module):
    """The patterns of `tests.tiny`, told from how dark it is: darkness speaks against every class."""

    def __init__(self):
        super().__init__()
        self.light, self.shade = nn.Conv2d(1, 1, 1), nn.Conv2d(1, 1, 1)
        self.compare = tiny.Net().compare
        with torch.no_grad():
            for layer, (weight, bias) in ((self.light, (1, 0)), (self.shade, (-1, 1))):
                layer.weight.fill_(weight)
                layer.bias.fill_(bias)
            self.compare.weight += 1

    def forward(self, x):
        return self.compare(1 - self.shade(self.light(x))).flatten(1)


def shaded():
    return BoundClassifier(Shaded().eval(), classes=tiny.CLASSES, input_shape=tiny.SHAPE)


def audit(folder, parts=PARTS):
    plan = tiny.plan(conditions=("clean",), **{**every_section.NONE, "attribution": parts})
    return run_plan(plan, folder, tiny.Quiet(), tiny.source(), shaded())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Not to be written into."""
    return audit(tmp_path_factory.mktemp("shaded") / "run")


def layers_of(folder):
    return {each["name"]: each["layer"] for each in read_json(folder / "run.json")["conditions"] if "layer" in each}


def test_maps_that_are_not_empty_are_measured(run):
    rows = read(run, "grad_cam")
    assert len(rows) == 80
    assert rows["explain.empty"].sum() == 0
    assert (rows["explain.height"] == 8).all()
    named = audit(run.parent / "shade", PARTS.model_copy(update={"maps": ("grad_cam(layer='shade')",)}))
    assert read(named, "grad_cam(layer='shade')")["explain.empty"].sum() == 80


def test_the_layer_and_why_it_is_that_one_are_recorded(run):
    layers = layers_of(run)
    assert set(layers.values()) == {"light"}
    assert {"grad_cam", OBJECT} <= set(layers)
    assert "gradient" not in layers
    assert not any("centred" in name for name in layers)
    (entry,) = (each for each in read_json(run / "run.json")["conditions"] if each["name"] == "grad_cam")
    why = "; those of the last one, shade, are empty on 32 of 32 images"
    assert entry["sentence"] == "where the maps of the layer light speak for the class" + why


def test_the_report_says_it(run):
    results = analyse(run)
    found = {row.name: row.layer for row in results.attribution.maps}
    assert found == {"grad_cam": "light", "gradient": None}
    page = render(results)
    assert page.count("<small>layer light</small>") == 1
    assert "those of the last one, shade, are empty on 32 of 32 images" in page


def test_a_region_of_its_own_looks_at_the_same_layer(run, tmp_path):
    alone = audit(tmp_path / "run", PARTS.model_copy(update={"maps": ()}))
    assert set(layers_of(alone).values()) == {"light"}
    assert read(alone, OBJECT).equals(read(run, OBJECT))


def test_it_is_looked_for_once_in_a_run_and_not_for_every_batch(tmp_path, monkeypatch):
    looks, own = Counter(), target_layers._grids

    def counted(classifier, x):
        looks["grids"] += 1
        return own(classifier, x)

    monkeypatch.setattr(target_layers, "_grids", counted)
    audit(tmp_path / "run")
    assert looks["grids"] <= 4, (
        "whether there is one, whether its maps can be taken, and the choice; 80 images have more"
    )


def test_a_run_begun_with_another_layer_is_not_gone_on_with(run, tmp_path):
    folder = audit(tmp_path / "run")
    facts = read_json(folder / "run.json")
    for each in facts["conditions"]:
        if "layer" in each:
            each["layer"] = "shade"
    write_json(folder / "run.json", facts)
    tiny.reseal(folder)
    with pytest.raises(RunError, match="by the maps of the layer 'shade', and here those of 'light'"):
        audit(folder)
