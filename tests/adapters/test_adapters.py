"""Addresses lead to classifiers, or to one clear error."""

import io
import os
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from demur.adapters import load_model
from demur.errors import AddressError, ModelError, UnknownNameError
from demur.registry.addresses import member_addresses
from demur.zoo import SimpleCNN, resnet20

CIFAR = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
SHAPE = (3, 16, 16)
MODULE = """
import torch
from torch import nn

class Tiny(nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.head = nn.Linear(12, classes)

    def forward(self, x):
        return self.head(x.mean(dim=(2, 3)).repeat(1, 12 // x.shape[1]))

made = Tiny()
number = 3

def needy(width):
    return Tiny()

def text():
    return "no net"
"""


def load(text, classes=CIFAR, input_shape=SHAPE):
    return load_model(text, classes=classes, input_shape=input_shape)


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "simple.safetensors"
    save_file(SimpleCNN().state_dict(), path)
    return path


@pytest.fixture
def mynets(tmp_path, monkeypatch):
    (tmp_path / "mynets.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield tmp_path
    sys.modules.pop("mynets", None)


def test_a_zoo_model_takes_its_weights_and_options(weights):
    classifier = load(f"zoo:simple_cnn@{weights}?mean=.5,.4,.3&std=.2,.2,.2")
    for name, tensor in load_file(weights).items():
        assert torch.equal(classifier.as_module().state_dict()[name], tensor)
    assert classifier.contract.mean == (0.5, 0.4, 0.3)
    assert classifier.contract.std == (0.2, 0.2, 0.2)
    assert classifier.name == "simple_cnn"
    assert not classifier.as_module().training


def test_one_mean_is_that_of_all_channels(weights):
    several, one = (
        load(f"zoo:simple_cnn@{weights}?{options}") for options in ("mean=.5,.5,.5&std=.2,.2,.2", "mean=.5&std=.2")
    )
    assert (one.contract.mean, one.contract.std) == ((0.5,) * 3, (0.2,) * 3)
    assert one.sha256 == several.sha256


def test_options_win_over_the_data(tmp_path):
    path = tmp_path / "grey.safetensors"
    save_file(SimpleCNN(channels=1, classes=2).state_dict(), path)
    classifier = load(f"zoo:simple_cnn@{path}?channels=1&size=24x16&classes=no,yes&name=mine&features=separable3")
    assert classifier.input_shape == (1, 24, 16)
    assert classifier.classes == ("no", "yes")
    assert classifier.name == "mine"
    assert classifier.features(torch.rand(2, 1, 24, 16)).shape == (2, 256)


def test_counters_of_batches_may_be_missing_from_a_file(tmp_path):
    state = {name: tensor for name, tensor in resnet20().state_dict().items() if "num_batches" not in name}
    save_file(state, tmp_path / "w.safetensors")
    assert load(f"zoo:resnet20@{tmp_path / 'w.safetensors'}").parameters == 269_722


class TestEnsembles:
    def test_the_answer_is_the_mean_of_its_members(self, weights, tmp_path):
        """Commas of an option belong to their address, and each member has its own options."""
        other = tmp_path / "resnet.safetensors"
        save_file(resnet20().state_dict(), other)
        texts = [f"zoo:simple_cnn@{weights}?mean=.5,.4,.3&std=.2,.2,.2", f"zoo:resnet20@{other}"]
        x = torch.rand(4, *SHAPE)
        found, members = load(f"ensemble:{','.join(texts)}"), [load(text) for text in texts]
        mean = torch.stack([member(x).softmax(dim=1) for member in members]).mean(dim=0)
        torch.testing.assert_close(found(x).softmax(dim=1), mean)
        assert found.name == "ensemble of simple_cnn, resnet20"
        assert load(f"ensemble:{','.join(texts[::-1])}").sha256 != found.sha256
        assert load(f"ensemble:{texts[0]},{texts[1]}?mean=.1,.1,.1").sha256 != found.sha256

    def test_a_comma_before_anything_but_a_scheme_belongs_to_its_address(self):
        first, second = "zoo:resnet20@a.safetensors?classes=no,yes:sure,zoo", "module:nets:made?output=logits:main"
        assert member_addresses(f"{first},fashion,{second}") == [first, "fashion", second]

    def test_a_scheme_that_needs_no_place_is_a_member(self):
        shape, names = (1, 28, 28), [*CIFAR]
        x = torch.rand(3, *shape)
        found, one = (load(text, classes=names, input_shape=shape) for text in ("ensemble:fashion,fashion", "fashion"))
        torch.testing.assert_close(found(x).softmax(dim=1), one(x).softmax(dim=1))

    @pytest.mark.parametrize(
        ("address", "error", "words"),
        [
            ("ensemble:", AddressError, "must name at least two models with commas between, and has 0"),
            ("ensemble:fashion", AddressError, "must name at least two models.*has 1. Write ensemble:zoo:"),
            ("ensemble:zoo:resnet20,zoo:resnet20", AddressError, "untrained architecture"),
            ("ensemble:ensemble:fashion,fashion", AddressError, "'ensemble:fashion' begins another ensemble"),
            ("ensemble:zo:resnet20@a,fashion", AddressError, "unknown scheme 'zo'. Did you mean 'zoo'"),
            ("ensemble:module:mynets:Tiny,module:mynets:Tiny?classes=a,b,c", ModelError, "same classes, in one order"),
            ("ensemble:module:mynets:Tiny,module:mynets:Tiny?size=8", ModelError, "same input shape"),
        ],
    )
    def test_what_cannot_be_one_is_refused(self, address, error, words, mynets):
        with pytest.raises(error, match=words):
            load(address, classes="abcd" if "module" not in address else ["x", "y", "z"])


def test_ones_own_module_is_found_in_the_current_directory(mynets):
    from_class = load("module:mynets:Tiny", classes="abc")
    assert from_class.name == "Tiny"
    assert load("module:mynets:made", classes="abc").name == "made"
    save_file(from_class.as_module().state_dict(), mynets / "w.safetensors")
    again = load("module:mynets:Tiny@w.safetensors?output=logits", classes="abc")
    assert again.sha256 == from_class.sha256


@pytest.mark.parametrize(
    ("address", "error", "words"),
    [
        ("zoo:resnet20", AddressError, "untrained architecture.*zoo:resnet20@FILE"),
        ("zoo:resnet21@w.safetensors", UnknownNameError, "Did you mean 'resnet20'"),
        ("zoo:resnet20@none.safetensors", AddressError, "no weights at 'none.safetensors'"),
        ("zoo:resnet20@w.safetensors?means=.5", AddressError, "Did you mean 'mean'"),
        ("zoo:resnet20@w.safetensors?mean=a,b,c", AddressError, "the option mean takes numbers.*got 'a,b,c'"),
        ("zoo:resnet20@w.safetensors?size=0", AddressError, "the option size takes a whole number from 1 to 4,096"),
        ("module:mynets", AddressError, "Write module:PKG.MOD:FACTORY"),
        ("module:nonets:Tiny", AddressError, "cannot import 'nonets'.*current directory"),
        ("module:mynets:Tinny", AddressError, "unknown factory 'Tinny'. Did you mean 'Tiny'"),
        ("module:mynets:needy", ModelError, "called without arguments.*width.*Write a function without parameters"),
        ("module:mynets:text", ModelError, "it gave a str"),
        ("module:mynets:number", ModelError, "it gave a int"),
        ("module:mynets:Tiny?output=logit", ModelError, "second of two classes"),
    ],
)
def test_an_address_that_leads_nowhere_says_so(mynets, address, error, words):
    with pytest.raises(error, match=words):
        load(address)


def test_weights_of_another_architecture_are_listed_five_at_most(tmp_path):
    state = SimpleCNN().state_dict()
    state["extra"] = torch.zeros(1)
    state["linear.weight"] = torch.zeros(7, 256)
    del state["linear.bias"]
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(ModelError) as refusal:
        load(f"zoo:simple_cnn@{tmp_path / 'w.safetensors'}")
    assert "linear.weight is (7, 256) and should be (10, 256); linear.bias is missing; extra is unknown" in str(
        refusal.value
    )
    with pytest.raises(ModelError, match=r"(; .*){4}; and \d+ more") as refusal:
        load(f"zoo:resnet20@{tmp_path / 'w.safetensors'}")
    assert str(refusal.value).count("is missing") == 5


def test_a_weight_that_is_not_a_number_is_named(tmp_path):
    state = SimpleCNN().state_dict()
    state["separable2.depthwise.weight"][3, 0, 1, 1] = torch.nan
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match=r"'separable2\.depthwise\.weight' has 1 NaN"):
        load(f"zoo:simple_cnn@{tmp_path / 'w.safetensors'}")


def test_a_header_whose_length_looks_like_a_pickle_is_read(tmp_path):
    path, state = tmp_path / "w.safetensors", SimpleCNN().state_dict()
    for padding in range(0, 256, 8):
        save_file(state, path, metadata={"padding": "x" * padding})
        if path.read_bytes()[0] == 0x80:
            break
    assert path.read_bytes()[0] == 0x80
    assert torch.equal(load(f"zoo:simple_cnn@{path}").as_module().linear.weight, state["linear.weight"])


def test_a_damaged_file_is_refused(tmp_path):
    (tmp_path / "w.safetensors").write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00not json")
    with pytest.raises(ModelError, match="is none or is damaged"):
        load(f"zoo:simple_cnn@{tmp_path / 'w.safetensors'}")


def test_the_shipped_model_refuses_other_images():
    with pytest.raises(ModelError, match=r"reads images of shape \(1, 28, 28\) in 10 classes.*\(3, 16, 16\)"):
        load("fashion")
    with pytest.raises(AddressError, match="unknown option 'mean'"):
        load("fashion?mean=.5", input_shape=(1, 28, 28))


def test_the_shipped_model_brings_its_own_class_names():
    classifier = load("fashion", classes=[str(k) for k in range(10)], input_shape=(1, 28, 28))
    assert classifier.name == "fashion"
    assert "Sandal" in " ".join(classifier.classes).title()
    assert classifier.head is not None


@pytest.mark.shared
@pytest.mark.skipif("DEMUR_SHARED" not in os.environ, reason="DEMUR_SHARED is unset")
def test_real_resnet20_is_right_on_81_of_100_real_images():
    import numpy as np
    import polars as pl
    from PIL import Image

    shared = Path(os.environ["DEMUR_SHARED"])
    table = pl.read_parquet(shared / "data/cifar10/test.parquet").head(1000)
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(cell["bytes"]))) for cell in table["image"]])
    x, y = torch.tensor(pixels).permute(0, 3, 1, 2) / 255, torch.tensor(table["label"].to_list())
    file = shared / "models/cifar10_resnet20.safetensors"
    classifier = load(f"zoo:resnet20@{file}?mean=.485,.456,.406&std=.229,.224,.225", input_shape=(3, 32, 32))
    with torch.no_grad():
        right = torch.cat([classifier.logits(batch).argmax(dim=1) for batch in x.split(250)]) == y
    assert abs(right.double().mean() - 0.810) < 0.03
