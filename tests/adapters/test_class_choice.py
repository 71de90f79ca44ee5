"""An address says which classes a model is asked about: its own, those of the data, coarser ones, one finding."""

import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from demur.adapters import load_model
from demur.class_names.imagenet import imagenet_names
from demur.errors import AddressError, ModelError, UnknownNameError
from demur.zoo import SimpleCNN

SHAPE = (3, 16, 16)
OWN = "tench, Tinca tinca", "goldfish", "cock", "hen", "ostrich"
NET = """
import torch
from torch import nn

class Thousand(nn.Module):
    def __init__(self, outputs=1000):
        super().__init__()
        self.head = nn.Linear(3, outputs, bias=False)
        with torch.no_grad():
            self.head.weight.copy_(torch.arange(3.0 * outputs).sin().view(outputs, 3))

    def forward(self, x):
        return self.head(x.mean(dim=(2, 3)))

def five():
    return Thousand(5)
"""


@pytest.fixture
def address(tmp_path, monkeypatch):
    """Of a network with five outputs and their names in a file."""
    save_file(SimpleCNN(classes=5).state_dict(), tmp_path / "five.safetensors")
    (tmp_path / "names.txt").write_text("\n".join(OWN))
    (tmp_path / "map.csv").write_text("fine,coarse\n0,fish\n1,fish\n2,bird\n4,bird\n")
    (tmp_path / "whole.csv").write_text("fine,coarse\n0,fish\n1,fish\n2,bird\n3,hen\n4,bird\n")
    (tmp_path / "thousands.py").write_text(NET)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield "zoo:simple_cnn@five.safetensors"
    sys.modules.pop("thousands", None)


@pytest.fixture
def images():
    return torch.rand(4, *SHAPE, generator=torch.Generator().manual_seed(0))


def load(text, classes):
    return load_model(text, classes=classes, input_shape=SHAPE)


def test_names_of_a_model_come_from_a_file(address):
    assert load(f"{address}?classes=@names.txt", ("n01440764", "n01514668")).classes == OWN


def test_a_map_asks_about_coarse_classes_and_none_that_it_leaves_out(address, images):
    whole = load("module:thousands:five", OWN)
    coarse = load("module:thousands:five?classes=@map.csv", ("bird", "fish"))
    assert coarse.classes == ("fish", "bird")
    shares = whole(images).softmax(dim=1)
    wanted = torch.stack([shares[:, [0, 1]].sum(dim=1), shares[:, [2, 4]].sum(dim=1)], dim=1)
    torch.testing.assert_close(coarse(images).softmax(dim=1), wanted / wanted.sum(dim=1, keepdim=True))


def test_a_map_finds_fine_classes_by_name(address):
    Path("map.csv").write_text("hen,bird\nn01440764,fish\n")
    found = load("module:thousands:Thousand?classes=@map.csv", ("fish", "bird"))
    assert found.classes == ("bird", "fish")
    with pytest.raises(ModelError, match="5 output"):  # and names of three of them are not known
        load("module:thousands:five?classes=@map.csv", ("fish", "bird"))


def test_a_model_of_1000_outputs_is_one_of_imagenet_where_the_data_are(address):
    found = load("module:thousands:Thousand", ("n01443537", "n01440764"))
    assert found.classes == imagenet_names()
    with pytest.raises(ModelError, match="1000 output"):
        load("module:thousands:Thousand", ("cyst", "tench"))


def test_1000_folders_of_imagenet_name_a_model_in_its_own_order(address):
    backwards = tuple(reversed(imagenet_names()))
    assert load("module:thousands:Thousand", backwards).classes == imagenet_names()


def test_classes_of_the_data_alone_are_asked_about_in_the_order_of_the_outputs(address, images):
    whole = load("module:thousands:Thousand", ("n01440764", "n01443537"))
    some = load("module:thousands:Thousand?classes=data", ("n01518878", "n01440764", "n01514668"))
    assert some.classes == ("tench", "cock", "ostrich")
    assert whole.classes != some.classes
    assert load("module:thousands:Thousand?classes=data", some.classes).classes == some.classes


def test_a_finding_is_one_output_by_its_name(address, images):
    whole, one = load(address, OWN), load(f"{address}?classes=@names.txt&finding=Goldfish", ("0", "1"))
    assert one.classes == ("not goldfish", "goldfish")
    torch.testing.assert_close(one(images).softmax(dim=1)[:, 1], whole(images)[:, 1].sigmoid())


def test_a_finding_of_outputs_without_names_is_a_number(address, images):
    whole = load("module:thousands:five", OWN)
    one = load("module:thousands:five?finding=3", ("0", "1"))
    assert one.classes == ("not 3", "3")
    torch.testing.assert_close(one(images).softmax(dim=1)[:, 1], whole(images)[:, 3].sigmoid())


def test_a_finding_that_is_none_is_refused_with_the_nearest(address):
    with pytest.raises((AddressError, UnknownNameError), match="Did you mean 'goldfish'"):
        load(f"{address}?classes=@names.txt&finding=goldfisch", ("0", "1"))


@pytest.mark.parametrize("choice", ["data", "@map.csv"])
def test_a_finding_stands_beside_the_names_of_all_outputs_alone(address, choice):
    with pytest.raises(AddressError, match=r"beside it must name all of them.*@names\.txt"):
        load(f"{address}?classes={choice}&finding=goldfish", ("0", "1"))


def test_members_of_an_ensemble_choose_for_themselves(address, images):
    coarse = f"{address}?classes=@whole.csv"
    both = load(f"ensemble:{coarse},{coarse}", ("fish", "bird", "hen"))
    one = load(coarse, ("fish", "bird", "hen"))
    torch.testing.assert_close(both(images).softmax(dim=1), one(images).softmax(dim=1))
