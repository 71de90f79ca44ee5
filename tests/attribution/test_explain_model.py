"""A model opened without data: what can be found out is, and the rest must be written."""

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from demur.attribution.explain_model import open_model
from demur.attribution.explain_run import PictureFile, find_pictures, picture_slug
from demur.errors import AddressError, ModelError
from demur.registry import names, resolve


@pytest.fixture
def colour(tmp_path):
    Image.new("RGB", (32, 32), "red").save(tmp_path / "red.png")
    return find_pictures([tmp_path / "red.png"], tmp_path / "out")


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A function that writes a module whose `net` is built by a body, and returns its address."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)

    def write(body, parameters=""):
        name = f"alone_{tmp_path.name}"
        (tmp_path / f"{name}.py").write_text(f"from torch import nn\n\ndef net({parameters}):\n    return {body}\n")
        return f"module:{name}:net"

    return write


@pytest.mark.parametrize("classes", [2, 7])
@pytest.mark.parametrize("name", names("architecture"))
def test_classes_are_counted_from_the_weights(name, classes, colour, tmp_path):
    save_file(resolve("architecture", name)(channels=3, classes=classes).state_dict(), tmp_path / "w.safetensors")
    model = open_model(f"zoo:{name}@{tmp_path}/w.safetensors", colour)
    assert model.classes == tuple(map(str, range(classes)))
    assert model.input_shape == (3, 32, 32)


def test_what_the_address_says_wins(colour, tmp_path):
    save_file(resolve("architecture", "resnet20")(channels=1, classes=2).state_dict(), tmp_path / "w.safetensors")
    address = f"zoo:resnet20@{tmp_path}/w.safetensors"
    assert open_model(f"{address}?classes=cat,dog&channels=1&size=16x20", colour).input_shape == (1, 16, 20)
    assert open_model(f"{address}?classes=cat,dog&mean=.5&channels=1&size=16", ()).classes == ("cat", "dog")
    assert open_model(f"{address}?channels=1&size=16", ()).classes == ("0", "1")


@pytest.mark.parametrize(("outputs", "options", "classes"), [(5, "", 5), (1, "&output=logit", 2)])
def test_a_module_is_asked_how_much_it_answers(outputs, options, classes, module):
    address = module(f"nn.Sequential(nn.Flatten(), nn.Linear(12, {outputs}))")
    model = open_model(f"{address}?size=2&channels=3{options}", ())
    assert model.classes == tuple(map(str, range(classes)))


def test_a_factory_that_takes_the_number_is_given_that_of_its_weights(module, tmp_path):
    shapes = {"1.weight": (5, 12), "1.bias": (5,), "2.weight": (4, 5), "2.bias": (4,)}
    save_file({name: torch.ones(shape) for name, shape in shapes.items()}, tmp_path / "w.safetensors")
    address = module("nn.Sequential(nn.Flatten(), nn.Linear(12, 5), nn.Linear(5, classes))", "classes")
    assert len(open_model(f"{address}@w.safetensors?size=2&channels=3", ()).classes) == 4


def test_a_module_that_cannot_be_asked_is_told_what_to_write(module):
    address = module("nn.Sequential(nn.Flatten(), nn.Linear(99, 5))")
    with pytest.raises(ModelError, match=r"does not say its classes.*Write \?classes="):
        open_model(f"{address}?size=2&channels=3", ())


def test_options_nobody_knows_are_refused(colour):
    with pytest.raises(AddressError, match="Did you mean 'size'"):
        open_model("zoo:resnet20@w?sise=3", colour)


def test_files_are_found_once_and_called_apart(tmp_path):
    for name in ("x/A b.png", "x/a-b.PNG", "y/a b.jpg", "x/.hidden.png", "x/.git/c.png", "x/c.txt", "out/z.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = find_pictures([tmp_path, tmp_path / "x" / "c.txt", tmp_path / "x"], tmp_path / "out")
    assert [(picture.path.name, picture.stem) for picture in found] == [
        ("A b.png", "A-b"), ("a-b.PNG", "a-b-2"), ("a b.jpg", "a-b-3"), ("c.txt", "c")
    ]  # fmt: skip


def test_a_pipe_is_not_waited_for(tmp_path):
    import os

    os.mkfifo(tmp_path / "pipe.png")
    from demur.pictures.decode_rules import Rules

    (image, error), _ = PictureFile(tmp_path / "pipe.png", "pipe").read(Rules())
    assert image is None
    assert "not a regular file" in error


@pytest.mark.parametrize(("text", "name"), [("../x", "x"), ("…", "image"), ("a(b='c/d')", "a-b-c-d"), ("é1", "é1")])
def test_a_name_cannot_leave_its_folder(text, name):
    assert picture_slug(text) == name
