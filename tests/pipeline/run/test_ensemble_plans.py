"""An ensemble is audited like any other model: attacked through the mean, with the disagreement of its members."""

import json

import pytest
import torch
from tests import tiny

from demur.analysis import analyse
from demur.classifier import BoundClassifier, ensemble
from demur.files import read_json
from demur.pipeline.plan.plan_tables import Signals
from demur.pipeline.run.loop import run_plan
from demur.records import read
from demur.report.first_screen import FirstScreen

NET = """
import torch
from tests.tiny import Net, patterns

def sharp():
    return Net()

def blurred():
    net = Net(sharpness=9.0)
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        net.compare.weight += 0.03 * torch.randn(net.compare.weight.shape, generator=draw)
    return net
"""


def members():
    other = tiny.Net(sharpness=9.0)
    with torch.no_grad():
        draw = torch.Generator().manual_seed(0)
        other.compare.weight += 0.03 * torch.randn(other.compare.weight.shape, generator=draw)
    given = {"classes": tiny.CLASSES, "input_shape": tiny.SHAPE}
    return [BoundClassifier(tiny.Net().eval(), **given), BoundClassifier(other.eval(), mean=[0.02], **given)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    plan = tiny.plan(
        conditions=("clean", "pgd(eps=0.2, steps=5)", "gaussian_noise(severity=4)"),
        policies=("certified(risk=0.1, second=ensemble_disagreement)",),
        attacked=60,
    ).model_copy(update={"signals": Signals(use=("msp", "ensemble_disagreement"))})
    out = tmp_path_factory.mktemp("ensemble") / "run"
    return run_plan(plan, out, tiny.Quiet(), tiny.source(), ensemble(members()))


def test_records_hold_the_mean_probability_and_the_disagreement(folder):
    rows = read(folder).filter(condition="clean")
    images = tiny.images_and_labels()[0]
    x = torch.stack([images[int(name)] for name in rows["sample_id"]])
    with torch.no_grad():
        p = torch.stack([member(x).double().softmax(dim=1) for member in members()])
    found = torch.from_numpy(rows.select("logit.0", "logit.1", "logit.2").to_numpy()).double()
    torch.testing.assert_close(found.softmax(dim=1), p.mean(dim=0), rtol=1e-4, atol=1e-6)

    def entropy(q):
        return -(q * q.log()).sum(dim=-1)

    expected = entropy(p.mean(dim=0)) - entropy(p).mean(dim=0)
    disagreement = torch.from_numpy(rows["signal.ensemble_disagreement"].to_numpy().copy())
    torch.testing.assert_close(disagreement, expected, rtol=1e-3, atol=1e-6)
    assert disagreement.max() > 0.005


def test_attacks_go_through_the_mean(folder):
    """Wrong far oftener than under noise, which follows no gradient."""
    errors = {name: (rows["predicted"] != rows["label"]).mean() for (name,), rows in read(folder).group_by("condition")}
    assert errors["pgd(eps=0.2, steps=5)"] > 0.8 > 2 * errors["gaussian_noise(severity=4)"]
    assert analyse(folder).state == "issued"


def test_the_second_threshold_may_be_on_the_disagreement(folder):
    results = analyse(folder)
    assert results.guarantee.second.signal == "ensemble_disagreement"
    measured = read_json(folder / "facts" / "tolerances.json")
    assert [entry["name"] for entry in measured] == ["msp", "ensemble_disagreement"]
    assert "in float64" in measured[1]["ways"]
    assert "(ensemble_disagreement at most" in FirstScreen.of(results).two_thresholds


def test_an_address_of_several_models_is_audited(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "two_nets.py").write_text(NET)
    address = "ensemble:module:two_nets:sharp,module:two_nets:blurred?mean=.02"
    plan = tiny.plan(conditions=("clean",))
    plan = plan.model_copy(update={"model": plan.model.model_copy(update={"address": address})})
    out = run_plan(plan, tmp_path / "run", tiny.Quiet(), tiny.source())
    assert read_json(out / "run.json")["model"] == address
    assert FirstScreen.of(analyse(out)).subject.startswith("ensemble of 2 models on ")
    assert json.loads((out / "run.json").read_text())["model_sha256"] == ensemble(members()).sha256
