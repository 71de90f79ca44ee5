"""Every kind of model that people write is audited, or refused before anything is measured, with the way out."""

import json
import sys

import numpy as np
import pytest
import torch
from tests import kinds
from tests.tiny import Quiet

import demur
from demur.classifier import BoundClassifier, Classifier
from demur.cli import main
from demur.data import from_tensors
from demur.errors import InputError, ModelError
from demur.files import read_json
from demur.pipeline.plan.plan_file import read_plan
from demur.pipeline.run.loop import run_plan
from demur.records import read

QUICK = {
    "conditions.use": ["clean", "pgd(eps=0.05, steps=2)", "square(eps=0.05, steps=2)"],
    "conditions.attacked": 8,
    "model.trust_labels": True,
}
WHOLE = QUICK | {
    "epsilon.use": ["ray"],
    "attribution.maps": ["gradient", "grad_cam"],
    "attribution.regions": ["grad_cam", "centred"],
    "attribution.images": 4,
    "lipschitz.images": 2,
}
PLAIN = (
    "view by the number of rows",
    "writes into its input",
    "a dict",
    "traced",
    "memory that is used again",
    "float16",
)
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
HIDDEN = ("scripted", "traced", "a scripted part")


def data():
    images, labels = kinds.images_and_labels()
    return from_tensors(images, labels, classes=kinds.CLASSES, name="kinds")


def measured(module, out, plan=QUICK, **changes):
    """The run folder of an audit without its report."""
    classifier = Classifier(module, classes=kinds.CLASSES, **changes).bind(
        classes=kinds.CLASSES, input_shape=kinds.SHAPE
    )
    if plan is WHOLE and classifier.scripted:
        plan = WHOLE | {"attribution.maps": ["gradient"], "attribution.regions": ["centred"]}
    return run_plan(read_plan(None, (), plan), out, Quiet(), data(), classifier)


@pytest.fixture(scope="module")
def usual(tmp_path_factory):
    """The answers to clean images, and how many each attack fooled, of the net without a wrapping."""
    return _found(measured(kinds.plain(), tmp_path_factory.mktemp("kinds") / "usual"))


def _found(folder):
    rows = read(folder)
    clean = rows.filter(rows["condition"] == "clean").sort("sample_id")
    attacked = rows.filter(rows["condition"] == "pgd(eps=0.05, steps=2)").sort("sample_id")
    return clean["predicted"].to_list(), (attacked["predicted"] != attacked["label"]).to_list()


@pytest.mark.parametrize("kind", kinds.WORK)
def test_a_model_of_this_kind_is_audited_as_the_plain_net_is(kind, usual, tmp_path):
    module = kinds.WORK[kind]()
    module.eval()
    clean, fooled = _found(measured(module, tmp_path / "out"))
    rounded = 3 if "float16" in kind or "1e-4" in kind else 0  # the loss of small logits has other gradients
    assert sum(one != other for one, other in zip(clean, usual[0], strict=True)) <= rounded
    assert sum(one != other for one, other in zip(fooled, usual[1], strict=True)) <= rounded
    failed = [check for check in read_json(tmp_path / "out/facts/preflight.json") if check["state"] == "fail"]
    assert not failed


@pytest.mark.parametrize(
    "kind", [kind if kind in PLAIN else pytest.param(kind, marks=pytest.mark.slow) for kind in kinds.WORK]
)
def test_searches_maps_and_norms_bear_it_too(kind, tmp_path):
    module = kinds.WORK[kind]()
    module.eval()
    folder = measured(module, tmp_path / "out", plan=WHOLE)
    names = set(read(folder)["condition"])
    assert {"clean", "gradient", "pgd(eps=0.05, steps=2)"} <= names
    assert ("grad_cam" in names) == (kind not in HIDDEN)
    assert len(read_json(folder / "facts/lipschitz.json")["lower"]) == 2


def test_hidden_layers_are_said(tmp_path):
    for kind, count in (("scripted", 1), ("a dict", 0)):
        measured(kinds.WORK[kind](), tmp_path / kind)
        said = [c for c in read_json(tmp_path / kind / "facts/preflight.json") if "torch.jit.script" in c["sentence"]]
        assert [check["state"] for check in said] == ["warn"] * count


@pytest.mark.slow
def test_what_is_left_out_is_said_with_the_reason(tmp_path):
    plan = {"conditions.attacked": 2, "epsilon.use": [], "lipschitz.images": 0, "attribution.images": 2}
    results = demur.audit(torch.jit.script(kinds.plain()), data(), out=tmp_path, plan=plan, risk=0.2)
    assert "grad_cam" not in (tmp_path / "plan.toml").read_text()
    assert any("Grad-CAM and norms of layers are left out" in check.sentence for check in results.checks)
    assert "torch.jit.script" in (tmp_path / "report.html").read_text()


def test_without_float64_it_is_said_who_confirms(tmp_path):
    measured(kinds.WORK["float32 on its way"](), tmp_path / "out")
    (said,) = [c for c in read_json(tmp_path / "out/facts/preflight.json") if c["name"] == "confirmed in float64"]
    assert said["state"] == "warn"
    assert "mat2 must have the same dtype, but got Float and Double" in said["sentence"]


def test_rounding_between_two_passes_is_said_and_no_fault(tmp_path):
    measured(kinds.Rounding().eval(), tmp_path / "out")
    (said,) = [c for c in read_json(tmp_path / "out/facts/preflight.json") if c["name"] == "deterministic"]
    assert said["state"] == "pass"
    assert "repeatable to 4e-07 of the largest" in said["sentence"]


@pytest.mark.parametrize(("size", "state"), [(2e-7, "pass"), (1e-4, "fail")])
def test_more_than_rounding_is_a_fault(size, state, tmp_path):
    measured(kinds.Rounding(size).eval(), tmp_path / "out")
    assert read_json(tmp_path / "out/facts/preflight.json")[0]["state"] == state


def test_a_decision_that_rounding_changes_is_a_fault(tmp_path):
    """Two classes that are equal but for a last bit which comes and goes."""
    measured(kinds.Rounding(tie=True).eval(), tmp_path / "out")
    assert read_json(tmp_path / "out/facts/preflight.json")[0]["state"] == "fail"


@pytest.mark.parametrize("kind", kinds.REFUSED)
def test_a_model_of_this_kind_is_refused_with_the_way_out(kind, tmp_path):
    make, words = kinds.REFUSED[kind]
    with pytest.raises(InputError, match=words):
        demur.audit(Classifier(make(), classes=kinds.CLASSES), data(), out=tmp_path / "out", plan=WHOLE)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", ["several parts", "two outputs of a tuple"])
def test_a_named_part_settles_what_counts(kind, usual, tmp_path):
    make, _ = kinds.REFUSED[kind]
    part = "main" if kind == "several parts" else "0"
    clean, _ = _found(measured(make(), tmp_path / "out", output=f"logits:{part}"))
    assert clean == usual[0]


@pytest.mark.parametrize(
    ("output", "words"),
    [
        ("logits:mian", "unknown part of the model's answer 'mian'. Did you mean 'main'"),
        ("main", "unknown output 'main'.*behind one of these, such as logits:main"),
    ],
)
def test_a_part_that_is_not_there_is_named(output, words):
    make, _ = kinds.REFUSED["several parts"]
    with pytest.raises(ModelError, match=words):
        BoundClassifier(make(), classes=kinds.CLASSES, input_shape=kinds.SHAPE, output=output)


def test_a_part_of_one_tensor_is_refused():
    with pytest.raises(ModelError, match=r"answers with one tensor.*Leave ':main' out"):
        BoundClassifier(kinds.plain(), classes=kinds.CLASSES, input_shape=kinds.SHAPE, output="logits:main")


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """A function that audits a kind of model by the command line: exit status, stdout, stderr."""
    images, labels = kinds.images_and_labels()
    np.savez(tmp_path / "test.npz", images=images.permute(0, 2, 3, 1).numpy(), labels=labels.numpy())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))

    def call(table, kind, *options, query="", sets=WHOLE):
        pick = f"kinds.{table}[{kind!r}]" + ("[0]" if table == "REFUSED" else "")
        (tmp_path / "kind_of_model.py").write_text(f"from tests import kinds\n\n\ndef net():\n    return {pick}()\n")
        plan = [part for key, value in sets.items() for part in ("--set", f"{key}={json.dumps(value)}")]
        model, where = f"module:kind_of_model:net{query}", f"npz:test.npz?classes={','.join(kinds.CLASSES)}"
        monkeypatch.setattr(sys, "argv", ["demur", "audit", model, where, *plan, *options, "--out", "out"])
        with pytest.raises(SystemExit) as left:
            main()
        return left.value.code or 0, *capsys.readouterr()

    yield call
    sys.modules.pop("kind_of_model", None)


@pytest.mark.parametrize("kind", ["a dataclass", "eval returns nothing"])
def test_the_command_line_audits_it(kind, command, tmp_path):
    status, _, said = command("WORK", kind, "--risk", "0.3", sets=QUICK)
    assert status in {0, 1, 3}, said
    assert "Traceback" not in said
    assert (tmp_path / "out/report.html").exists()


@pytest.mark.parametrize("kind", ["a fixed batch", "lazy", "numpy", "on the meta device", "cannot be copied"])
def test_the_command_line_refuses_it_with_status_2(kind, command, tmp_path):
    status, out, said = command("REFUSED", kind)
    assert (status, out) == (2, "")
    assert "Traceback" not in said
    assert said.count("demur: ") == 1
    assert not (tmp_path / "out").exists()


def test_an_address_names_the_part(command):
    status, _, said = command("REFUSED", "several parts")
    assert status == 2
    assert "?output=logits:main" in said
    status, _, said = command("REFUSED", "several parts", query="?output=logits:main", sets=QUICK)
    assert status in {0, 1, 3}, said
