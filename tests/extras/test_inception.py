"""InceptionV3 as system 004 had it: learned on from weights, its filters, what the maps of its last block add."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from demur.adapters import load_model
from demur.data import from_tensors
from demur.evidence import Evidence
from demur.signals.mutants import Mutation
from demur.training import train

models = pytest.importorskip("torchvision", reason="torchvision is not installed: make test-extras").models

pytestmark = pytest.mark.filterwarnings("ignore")  # of the library's own making
NAMES = tuple(f"n{number:08}" for number in range(5))
SIDE = 75


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """Its address with drawn weights, for tests have no network."""
    path = tmp_path_factory.mktemp("inception") / "published.safetensors"
    save_file(models.inception_v3(weights=None, aux_logits=False, init_weights=False).state_dict(), path)
    return f"torchvision:inception_v3@{path}?transform_input=yes"


@pytest.fixture(scope="module")
def trained(address, tmp_path_factory):
    labels = torch.arange(100) % 5
    images = torch.rand(100, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    source = from_tensors(images, labels, classes=NAMES, name="noise")
    return train(address, source, recipe="standard(epochs=1, batch=10)", out=tmp_path_factory.mktemp("net"))


def test_it_is_learned_on_under_a_new_head_of_five_classes(address, trained):
    found = load_file(trained.weights)
    assert found["fc.weight"].shape == (5, 2048)
    assert not any(name.startswith("Aux") for name in found)
    before = load_file(address.partition("@")[2].partition("?")[0])["Conv2d_1a_3x3.conv.weight"]
    assert found["Conv2d_1a_3x3.conv.weight"].shape == before.shape
    assert not torch.equal(found["Conv2d_1a_3x3.conv.weight"], before)
    assert trained.address == f"torchvision:inception_v3@{trained.weights}?transform_input=yes"


def test_a_mutant_strikes_34_of_17216_filters_and_its_maps_are_2048_with_a_closed_form(trained):
    model = load_model(trained.address, classes=NAMES, input_shape=(3, SIDE, SIDE))
    images = torch.rand(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    evidence, origin = (Evidence(model, x, layers=["Mixed_7c"]) for x in (images, model.origin))
    assert sum(map(len, evidence.filters.values())) == 17_216
    for operator in ("nai", "gf"):
        changes = Mutation(operator=operator, gamma=0.002, seed=0).mutant(evidence.filters, 0)
        assert sum(len(change.filters) for change in changes) == 34
    with torch.no_grad():
        grew = [part.activations("Mixed_7c").double().mean(dim=(2, 3)) for part in (evidence, origin)]
        added, answers = evidence.contributions()[""], evidence.logits.argmax(dim=1)
    weight = load_file(trained.weights)["fc.weight"].double()[answers]
    assert added.maps.shape == (2, 2048)
    torch.testing.assert_close(added.maps, weight * (grew[0] - grew[1]), rtol=1e-4, atol=1e-6)
    gained = (evidence.logits - origin.logits).gather(1, answers[:, None])[:, 0].double()
    torch.testing.assert_close(added.maps.sum(dim=1), gained, rtol=1e-4, atol=1e-5)
