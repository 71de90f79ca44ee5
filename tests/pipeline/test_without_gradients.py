"""A model without gradients is attacked by its answers alone, and the report says what is therefore not known."""

import pytest
import torch
from tests import tiny

from demur.analysis import analyse
from demur.classifier import BoundClassifier
from demur.errors import ModelError
from demur.files import read_json
from demur.report import render

UNKNOWN = "an attacker with gradients"


class Detached(tiny.Net):
    """The net's answers, and no way back from them to the image."""

    @torch.no_grad()
    def forward(self, x):
        return super().forward(x)


def classifier():
    return BoundClassifier(Detached().eval(), classes=tiny.CLASSES, input_shape=tiny.SHAPE)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An audit that names no conditions."""
    out = tmp_path_factory.mktemp("detached") / "run"
    return tiny.run(out, of=tiny.source(700), model=classifier(), conditions=(), attacked=4)


def test_what_follows_gradients_is_left_out_of_the_usual_plan(folder):
    found = read_json(folder / "run.json")
    attacks = [each for each in found["conditions"] if each["attack"] is not None]
    assert [each["family"] for each in attacks] == ["square", "square", "hopskipjump"]
    assert all(each["attack"]["gradient_free"] for each in attacks)
    assert not {each["kind"] for each in found["conditions"]} & {"epsilon", "map", "intervention"}
    assert found["gradient_fault"].startswith("no gradient")


def test_its_report_says_what_is_not_known(folder):
    results = analyse(folder)
    assert results.manipulation is not None
    assert UNKNOWN in results.manipulation.sentence
    assert sum(UNKNOWN in item for item in results.out_of_scope) == 1
    page = render(results)
    first = page[: page.index("Next step")]
    assert first.count(UNKNOWN) == 2
    assert results.manipulation.median_distance.value > 0
    assert not [check for check in results.checks if check.state == "fail" and "gradient" in check.name]


def test_of_a_model_with_gradients_nothing_is_said_of_them(tmp_path):
    out = tiny.run(tmp_path / "run", of=tiny.source(200), conditions=("clean", "noise(eps=0.1, steps=2)"), attacked=4)
    assert "gradient_fault" not in read_json(out / "run.json")
    results = analyse(out)
    assert UNKNOWN not in results.manipulation.sentence
    assert not [item for item in results.out_of_scope if UNKNOWN in item]


def test_an_attack_along_gradients_is_refused_by_name(tmp_path):
    with pytest.raises(ModelError, match=r"PGD follows gradients.*no gradient.*square or hopskipjump"):
        tiny.run(tmp_path / "run", model=classifier(), conditions=("clean", "pgd(eps=0.1)"))
