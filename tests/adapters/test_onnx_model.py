"""A graph of ONNX without its converter: it answers as ONNX Runtime, says why it has no gradients, and is audited."""

import sys

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper

from demur.adapters import load_model
from demur.adapters.declarations import declared
from demur.adapters.onnx_conversion import relabelled
from demur.analysis.assemble import analyse
from demur.errors import AddressError, MissingExtraError, ModelError
from demur.files import read_json
from demur.pipeline.plan.plan_file import Plan
from demur.pipeline.run.loop import run_plan
from tests import tiny
from tests.adapters.onnx_files import CLASSES, SHAPE, answers, patterns_graph, write


@pytest.fixture(autouse=True)
def no_converter(monkeypatch):
    """As where it is not installed, wherever the tests run."""
    monkeypatch.setitem(sys.modules, "onnx2torch", None)


def load(address, shape=SHAPE):
    return load_model(address, classes=CLASSES, input_shape=shape)


def images(rows=7):
    return torch.rand(rows, *SHAPE, generator=torch.Generator().manual_seed(1))


def test_it_answers_as_onnx_runtime(tmp_path):
    address = write(tmp_path / "my.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "my.onnx", providers=["CPUExecutionProvider"])
    for rows in (1, 2, 7):
        (wanted,) = session.run(None, {"images": images(rows).numpy()})
        np.testing.assert_allclose(load(address)(images(rows)).numpy(), wanted, atol=1e-6)
        torch.testing.assert_close(load(address)(images(rows)), answers(images(rows)), atol=1e-5, rtol=1e-5)


def test_it_has_no_gradients_and_says_why_and_what_would_help(tmp_path):
    classifier = load(write(tmp_path / "my.onnx"))
    found = classifier.capabilities
    assert (found.gradients, found.layers, found.linear_head, found.module) == (False, False, False, False)
    assert "pip install 'demur[onnx-gradients]'" in classifier.gradient_fault
    assert "without gradients: onnx2torch is not installed" in classifier.notes[0]
    with pytest.raises(ModelError, match=r"ONNX Runtime computes none.*onnx-gradients"):
        classifier.loss_gradient(images(), lambda logits: logits[:, 0])
    assert "in the precision of the graph" in classifier.double_fault
    assert classifier.folded is classifier


def test_mean_and_std_are_applied_before_it(tmp_path):
    classifier = load(f"{write(tmp_path / 'my.onnx')}?mean=0,0,0&std=.1,.1,.1")
    torch.testing.assert_close(classifier(images()), answers(images(), 10), atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize("rows", [1, 4])
def test_a_fixed_number_of_rows_is_asked_as_often_as_needed(tmp_path, rows):
    classifier = load(write(tmp_path / "my.onnx", rows=rows))
    torch.testing.assert_close(classifier(images()), answers(images()), atol=1e-5, rtol=1e-5)
    assert "at a time" in classifier.notes[-1]


@pytest.mark.parametrize("rows", [1, "rows"])
def test_channels_last_are_found(tmp_path, rows):
    classifier = load(write(tmp_path / "my.onnx", rows=rows, last=True))
    torch.testing.assert_close(classifier(images()), answers(images()), atol=1e-5, rtol=1e-5)
    assert classifier.notes[0] == "the graph takes images with their channels last"


def test_a_softmax_at_the_end_is_taken_off(tmp_path):
    address = write(tmp_path / "my.onnx", softmax=True)
    classifier, whole = load(address), load(f"{address}?output=probabilities")
    torch.testing.assert_close(classifier(images()), answers(images()), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(classifier(images()).softmax(1), whole(images()).softmax(1), atol=1e-6, rtol=1e-5)
    assert "softmax at the end of the graph was taken off" in classifier.notes[0]
    assert "softmax" not in whole.notes[0]


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_images_are_given_in_the_type_of_the_input(tmp_path, dtype):
    classifier = load(write(tmp_path / "my.onnx", dtype=dtype))
    torch.testing.assert_close(classifier(images()), answers(images()), atol=3e-3, rtol=3e-3)


def test_weights_beside_the_graph_are_read_and_those_elsewhere_refused(tmp_path):
    write(tmp_path / "whole.onnx")
    (tmp_path / "in").mkdir()
    model = onnx.load(tmp_path / "whole.onnx")
    onnx.save(model, tmp_path / "in" / "my.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    torch.testing.assert_close(load(f"onnx:{tmp_path / 'in' / 'my.onnx'}")(images()), answers(images()))
    (tmp_path / "in" / "w.bin").rename(tmp_path / "w.bin")
    for place in ("../w.bin", str(tmp_path / "w.bin")):
        changed = onnx.load(tmp_path / "in" / "my.onnx", load_external_data=False)
        for tensor in changed.graph.initializer:
            tensor.external_data[0].value = place
        (tmp_path / "in" / "my.onnx").write_bytes(changed.SerializeToString())
        with pytest.raises(ModelError, match=r"outside its own folder. Nothing was read"):
            load(f"onnx:{tmp_path / 'in' / 'my.onnx'}")


def test_weights_behind_a_link_out_of_the_folder_are_refused(tmp_path):
    write(tmp_path / "whole.onnx")
    (tmp_path / "in").mkdir()
    model = onnx.load(tmp_path / "whole.onnx")
    onnx.save(model, tmp_path / "in" / "my.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    (tmp_path / "in" / "w.bin").rename(tmp_path / "w.bin")
    (tmp_path / "in" / "w.bin").symlink_to(tmp_path / "w.bin")
    with pytest.raises(ModelError, match="outside its own folder"):
        load(f"onnx:{tmp_path / 'in' / 'my.onnx'}")


def test_its_hash_follows_the_file(tmp_path):
    first, other = write(tmp_path / "a.onnx"), write(tmp_path / "b.onnx", softmax=True)
    assert load(first).sha256 == load(first).sha256
    assert load(first).sha256 != load(other).sha256


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda path: None, AddressError, "there is no ONNX graph at"),
        (lambda path: path.write_bytes(b"nothing of the kind"), ModelError, "is no ONNX graph"),
        (lambda path: write(path, dtype=TensorProto.UINT8), ModelError, "floating-point numbers with four axes"),
        (
            lambda path: write(path, extra=[helper.make_tensor_value_info("size", TensorProto.INT64, [1])]),
            ModelError,
            r"takes 2 inputs \('images', 'size'\)",
        ),
    ],
)
def test_what_is_no_classifier_says_so(tmp_path, make, error, words):
    make(tmp_path / "my.onnx")
    with pytest.raises(error, match=words):
        load(f"onnx:{tmp_path / 'my.onnx'}")


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_without_the_extra_the_install_line_is_said(tmp_path, monkeypatch, package):
    address = write(tmp_path / "my.onnx")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'demur\[onnx\]'"):
        load(address)


def test_a_graph_that_blows_a_constant_up_is_refused_before_it_runs(tmp_path):
    path = tmp_path / "my.onnx"
    write(path)
    model = onnx.load(path)
    model.graph.initializer.append(helper.make_tensor("sides", TensorProto.INT64, [2], [1 << 20, 1 << 20]))
    model.graph.node.append(helper.make_node("ConstantOfShape", ["sides"], ["zeros"]))
    onnx.save(model, path)
    with pytest.raises(ModelError, match=r"makes a constant of 1,099,511,627,776 values by ConstantOfShape"):
        load(f"onnx:{path}")


def test_axes_of_reductions_become_attributes_in_an_older_set(tmp_path):
    """What the version converter cannot do is done by hand, and answers the same."""
    graph = helper.make_graph(
        [helper.make_node("ReduceMean", ["images", "axes"], ["logits"], keepdims=0)],
        "mean",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["rows", 3, 4, 4])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", 3])],
        [helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    x = np.random.default_rng(0).random((2, 3, 4, 4), np.float32)
    (before,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"images": x})
    (after,) = onnxruntime.InferenceSession(relabelled(model).SerializeToString()).run(None, {"images": x})
    np.testing.assert_array_equal(before, after)
    assert model.opset_import[0].version == 17


class TestAudits:
    def test_the_usual_plan_leaves_out_what_follows_gradients_and_says_what_is_not_known(self, tmp_path):
        plan = Plan.model_validate(
            {"model": {"address": patterns_graph(tmp_path / "my.onnx")}, "data": {"address": "digits"},
             "conditions": {"attacked": 24}, "policies": {"use": list(tiny.POLICIES)}, "batch": 64}
        )  # fmt: skip
        out = run_plan(plan, tmp_path / "run", tiny.Quiet(), tiny.source(200))
        facts = read_json(out / "run.json")
        attacks = [each["name"] for each in facts["conditions"] if each["kind"] == "attack"]
        assert {name.partition("(")[0] for name in attacks} == {"square", "hopskipjump"}
        assert {each["kind"] for each in facts["conditions"]} == {"clean", "attack", "corruption"}
        checks = {each["name"]: each for each in read_json(out / "facts" / "preflight.json")}
        assert checks["gradients"]["state"] == "warn"
        assert checks["gradients"]["sentence"].startswith(
            "Not known: how the model stands against an attacker who has it"
        )
        assert "onnx-gradients" in checks["gradients"]["sentence"]
        assert "without gradients" in checks["origin of the model"]["sentence"]
        trials = read_json(out / "facts" / "trials.json")
        assert not any("gradient" in each["name"] for each in trials["findings"])
        assert "what one who has the model would find is not known" in analyse(out).manipulation.sentence

    @pytest.mark.parametrize("condition", ["fgsm(eps=0.1)", "pgd(eps=0.1, steps=3)", "ensemble(eps=0.1)"])
    def test_an_attack_that_follows_gradients_is_refused_by_name(self, tmp_path, condition):
        address = patterns_graph(tmp_path / "my.onnx")
        plan = tiny.plan(conditions=("clean", condition))
        plan = Plan.model_validate({**plan.model_dump(), "model": {"address": address}})
        with pytest.raises(ModelError, match=r"follows gradients.*onnx-gradients.*without gradients: square"):
            run_plan(plan, tmp_path / "run", tiny.Quiet(), tiny.source(200))
        assert not (tmp_path / "run" / "records").exists()


@pytest.mark.parametrize("last", [False, True])
def test_its_shape_is_declared_so_that_pictures_are_made_to_fit(tmp_path, last):
    found = declared(write(tmp_path / "my.onnx", last=last))
    assert (found.input_shape, found.outputs) == (SHAPE, 3)
    assert found.rules.options == {"size": "12", "colour": "rgb"}
    assert "says nothing of how pictures are cut" in found.words[0]
