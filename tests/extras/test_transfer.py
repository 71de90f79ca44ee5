"""Networks of other libraries are trained on from their weights, beneath a new head, and load by their own address."""

import pytest
import torch
from safetensors.torch import load_file

from demur.adapters import load_model, timm_models, torchvision_models
from demur.data import from_tensors
from demur.training import train
from tests.extras.library_models import timm_model, torchvision_model

pytestmark = pytest.mark.filterwarnings("ignore")  # of the libraries' own making
for library in ("timm", "torchvision"):
    pytest.importorskip(library, reason=f"{library} is not installed: make test-extras")

NAMES = ("blue", "green", "red")
MAKERS = {
    "timm": (lambda folder: timm_model("test_resnet.r160_in1k", folder), "fc"),
    "timm-vit": (lambda folder: timm_model("test_vit.r160_in1k", folder), "head"),
    "torchvision": (lambda folder: torchvision_model("mobilenet_v3_small", folder), "classifier.3"),
}
RECIPE = "standard(epochs=1, frozen=1, batch=8, learning_rate=0.01, mirror=False, shift=0)"


def colours(side):
    labels = torch.arange(60) % 3
    images = torch.rand(60, 3, side, side, generator=torch.Generator().manual_seed(0)) * 0.5
    images[torch.arange(60), labels] += 0.5
    return from_tensors(images, labels, classes=NAMES, name="colours")


@pytest.mark.parametrize("kind", MAKERS)
def test_a_head_for_other_classes_learns_on_a_frozen_network(kind, tmp_path):
    make, head = MAKERS[kind]
    module, address = make(tmp_path)
    source = colours(160 if kind == "timm-vit" else 64)
    done = train(address, source, recipe=RECIPE, out=tmp_path / "out")
    found = load_file(done.weights)
    assert done.words == (f"a new head: {head} has 3 outputs here and 2 in {address.partition('@')[2]}",)
    for name, before in module.state_dict().items():
        assert (name.rpartition(".")[0] == head) != torch.equal(found[name], before), name
    model = load_model(done.address, classes=NAMES, input_shape=source.input_shape)
    library = timm_models if kind.startswith("timm") else torchvision_models
    assert model.contract.mean == (0.485, 0.456, 0.406) or library is timm_models
    assert model.contract.mean is not None
    assert torch.equal(model.as_module().state_dict()[f"{head}.weight"], found[f"{head}.weight"])
    assert done.address == f"{address.partition('@')[0]}@{done.weights}"


@pytest.mark.parametrize(
    ("library", "address"), [(timm_models, "timm:test_resnet.r160_in1k"), (torchvision_models, "torchvision:resnet18")]
)
def test_a_name_alone_starts_from_what_it_was_published_with(library, address, tmp_path, monkeypatch):
    """Here drawn, for tests have no network."""
    maker = timm_model if library is timm_models else torchvision_model
    module, _ = maker(address.partition(":")[2], tmp_path)
    monkeypatch.setattr(library, "_with_its_weights" if library is timm_models else "_published", lambda *_: module)
    done = train(address, colours(64), recipe=RECIPE, out=tmp_path / "out")
    assert done.words == (f"a new head: fc has 3 outputs here and 2 in the weights of {address}",)
    assert torch.equal(load_file(done.weights)["layer1.0.conv1.weight"], module.state_dict()["layer1.0.conv1.weight"])
    assert load_model(done.address, classes=NAMES, input_shape=(3, 64, 64)).classes == NAMES
