"""Graphs of ONNX become torch where the copy answers alike: logits, gradients and attacks are those of the net."""

import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from demur.adapters import load_model, onnx_conversion
from demur.attacks.pgd import PGD
from demur.classifier import BoundClassifier
from demur.files import read_json
from demur.pipeline.plan.plan_file import Plan
from demur.pipeline.run.loop import run_plan
from demur.zoo import resnet20
from tests import tiny
from tests.adapters.onnx_files import CLASSES, SHAPE, answers, patterns_graph, write

pytest.importorskip("onnx2torch")

TEN = [str(k) for k in range(10)]


def load(address, classes=CLASSES, shape=SHAPE):
    return load_model(address, classes=classes, input_shape=shape)


def images(rows=7, shape=SHAPE):
    return torch.rand(rows, *shape, generator=torch.Generator().manual_seed(1))


FORMS = {
    "any rows": {},
    "one row": {"rows": 1},
    "channels last": {"last": True},
    "channels last, one row": {"last": True, "rows": 1},
    "softmax": {"softmax": True},
    "constants as nodes": {"constants": True},
    "an early set": {"opset": 13},
    "a late set": {"opset": 20},
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_the_copy_answers_and_has_gradients_as_the_net(tmp_path, form):
    classifier = load(write(tmp_path / "my.onnx", **form))
    x = images()
    torch.testing.assert_close(classifier(x).detach(), answers(x), atol=1e-5, rtol=1e-5)
    assert "was converted to torch" in classifier.notes[-1]
    found = classifier.loss_gradient(x, lambda logits: logits[:, 1])[1]
    wanted = images().requires_grad_()
    answers(wanted)[:, 1].sum().backward()
    torch.testing.assert_close(found, wanted.grad, atol=1e-5, rtol=1e-4)
    assert classifier.capabilities.layers


def test_gradients_are_finite_differences(tmp_path):
    classifier = load(write(tmp_path / "my.onnx")).double
    x, step = images(2).double(), 1e-6
    found = classifier.loss_gradient(x, lambda logits: logits[:, 1])[1]
    for place in [(0, 0, 3, 4), (1, 2, 7, 11)]:
        up, down = x.clone(), x.clone()
        up[place] += step
        down[place] -= step
        slope = (classifier(up) - classifier(down)).detach()[place[0], 1] / (2 * step)
        assert float(found[place]) == pytest.approx(float(slope), rel=1e-4, abs=1e-7)


def test_a_copy_that_answers_otherwise_is_not_believed(tmp_path, monkeypatch):
    make = onnx_conversion._torch_module

    def spoilt(graph):
        module = make(graph)
        with torch.no_grad():
            next(module.parameters()).add_(1e-3)
        return module

    monkeypatch.setattr(onnx_conversion, "_torch_module", spoilt)
    classifier = load(write(tmp_path / "my.onnx"))
    assert not classifier.capabilities.gradients
    assert "the conversion gives answers" in classifier.notes[-1]
    torch.testing.assert_close(classifier(images()), answers(images()), atol=1e-5, rtol=1e-5)


def test_an_operation_that_the_converter_does_not_know_is_the_reason(tmp_path):
    path = tmp_path / "my.onnx"
    write(path)
    model = onnx.load(path)
    model.graph.node[1].op_type = "Mish"  # of set 18
    model.opset_import[0].version = 18
    onnx.save(model, path)
    classifier = load(f"onnx:{path}")
    assert not classifier.capabilities.gradients
    assert "the conversion failed" in classifier.notes[-1]
    assert "Mish" in classifier.gradient_fault


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """A residual net, and what torch.onnx writes of it."""
    torch.manual_seed(0)  # noqa: TID251 - its weights
    net = resnet20().eval()
    for buffer in net.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    path = tmp_path_factory.mktemp("onnx") / "net.onnx"
    rows = torch.export.Dim("rows", min=1, max=4096)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (images(2, (3, 32, 32)),), path, dynamic_shapes=({0: rows},), verbose=False)
    return net, f"onnx:{path}"


def test_what_torch_exports_is_converted_with_its_layers_and_head(exported):
    _, address = exported
    classifier, x = load(address, TEN, (3, 32, 32)), images(5, (3, 32, 32))
    session = onnxruntime.InferenceSession(address.removeprefix("onnx:"), providers=["CPUExecutionProvider"])
    (wanted,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    np.testing.assert_allclose(classifier(x).detach().numpy(), wanted, atol=1e-5)
    found = classifier.capabilities
    assert (found.gradients, found.layers, found.linear_head, found.module) == (True, True, True, True)


class Own(nn.Module):
    """The net of the graphs in torch."""

    def __init__(self):
        super().__init__()
        self.net = nn.Identity()

    def forward(self, x):
        return answers(x)


def test_pgd_on_the_copy_finds_what_it_finds_on_the_net(tmp_path):
    """Images are labelled by the net itself, so that it is right on all of them."""
    own, copy = (
        BoundClassifier(Own().eval(), classes=CLASSES, input_shape=SHAPE),
        load(write(tmp_path / "my.onnx")),
    )
    x = 0.7 * torch.rand(200, 3, 1, 1, generator=torch.Generator().manual_seed(0)) + 0.3 * images(200)
    y, shares = own(x).argmax(dim=1), []
    for eps in (2, 8, 16, 32):
        attack = PGD(eps=eps / 255, steps=10)
        pair = [float(attack(each, x, y).success.float().mean()) for each in (own, copy)]
        assert abs(pair[0] - pair[1]) <= 0.005
        shares.append(pair[0])
    assert any(0.2 < share < 0.8 for share in shares), shares


def test_an_audit_of_200_images_attacks_the_copy(tmp_path):
    """The whole usual plan, maps and norms among it."""
    plan = Plan.model_validate(
        {"model": {"address": patterns_graph(tmp_path / "my.onnx")}, "data": {"address": "digits"},
         "conditions": {"attacked": 12}, "policies": {"use": list(tiny.POLICIES)}, "batch": 64}
    )  # fmt: skip
    out = run_plan(plan, tmp_path / "run", tiny.Quiet(), tiny.source(200))
    attacks = {each["family"] for each in read_json(out / "run.json")["conditions"] if each["kind"] == "attack"}
    assert {"fgsm", "pgd", "ensemble"} <= attacks
    checks = {each["name"]: each for each in read_json(out / "facts" / "preflight.json")}
    assert "was converted to torch" in checks["origin of the model"]["sentence"]
    assert "gradients" not in checks


class Tokens(nn.Module):
    """A class token before patches, whose number of rows an exporter writes down."""

    def __init__(self):
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.token = nn.Parameter(torch.rand(1, 1, 8))
        self.mix = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        found = self.patches(x).flatten(2).transpose(1, 2)
        return self.head(self.mix(torch.cat([self.token.expand(len(x), -1, -1), found], dim=1))[:, 0])


def test_a_small_transformer_fixed_at_one_image_is_converted_or_says_why(tmp_path):
    torch.manual_seed(0)  # noqa: TID251 - its weights
    net = Tokens().eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (images(1),), tmp_path / "my.onnx", verbose=False)
    classifier = load(f"onnx:{tmp_path / 'my.onnx'}")
    torch.testing.assert_close(classifier(images()).detach(), net(images()).detach(), atol=1e-5, rtol=1e-5)
    assert classifier.capabilities.gradients, classifier.notes
