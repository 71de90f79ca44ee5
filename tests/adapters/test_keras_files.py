"""What a file of Keras says of itself is read before Keras is: nothing in it runs, and each refusal has its way out."""

import json
import sys
import types
import zipfile

import pytest

from demur.adapters import load_model
from demur.adapters.keras_files import KerasFile, unreadable
from demur.errors import AddressError, MissingExtraError, ModelError

DENSE = {"module": "keras.layers", "class_name": "Dense", "config": {"units": 3}, "registered_name": None}


def written(path, *layers, version="3.15.1", others=()):
    config = {"module": "keras", "class_name": "Sequential", "config": {"layers": list(layers)}}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps(config))
        archive.writestr("metadata.json", json.dumps({"keras_version": version}))
        archive.writestr("model.weights.h5", b"")
        for name in others:
            archive.writestr(name, b"here")
    return path


def load(path):
    return load_model(f"keras:{path}?scale=255", classes=("a", "b", "c"), input_shape=(3, 8, 8))


def test_a_file_of_layers_of_keras_is_read(tmp_path):
    found = KerasFile.read(written(tmp_path / "m.keras", DENSE))
    assert (found.version, json.loads(found.config)["config"]["layers"]) == ("3.15.1", [DENSE])


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        ({**DENSE, "class_name": "Lambda"}, r"Lambda layer, whose code lies in the file.*such as Rescaling"),
        (
            {**DENSE, "config": {"activation": {"class_name": "__lambda__", "config": {"value": "x"}}}},
            "Lambda layer, whose code",
        ),
        ({**DENSE, "module": "shutil", "class_name": "rmtree"}, r"has 'rmtree' of 'shutil'.*runs no code of yours"),
        ({**DENSE, "module": "keras_evil.layers"}, r"'keras_evil\.layers'.*module:PKG\.MOD:FACTORY"),
    ],
)
def test_code_in_a_file_is_refused_before_keras_is_asked(layer, words, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", types.SimpleNamespace())
    with pytest.raises(ModelError, match=words):
        load(written(tmp_path / "m.keras", DENSE, layer))


@pytest.mark.parametrize(
    ("name", "words"),
    [("../out.txt", "would leave the folder"), ("/out.txt", "would leave the folder"), ("config.json", "twice")],
)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_members_that_leave_or_hide_are_refused(name, words, tmp_path):
    with pytest.raises(ModelError, match=words):
        load(written(tmp_path / "m.keras", DENSE, others=[name]))


def test_other_files_are_refused_with_the_way_out(tmp_path):
    (tmp_path / "saved").mkdir()
    (tmp_path / "m.keras").write_bytes(b"nothing")
    (tmp_path / "m.pb").write_bytes(b"")
    with zipfile.ZipFile(tmp_path / "bare.keras", "w") as archive:
        archive.writestr("a", b"")
    for name, error, words in (
        ("saved", ModelError, r"SavedModel.*model_from_json"),
        ("m.keras", ModelError, "Save it again"),
        ("bare.keras", ModelError, "has no config.json"),
        ("m.pb", AddressError, r"ends in \.keras or \.h5"),
        ("gone.keras", AddressError, "there is no model of Keras"),
    ):
        with pytest.raises(error, match=words):
            load(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "torn.keras", "w") as archive:
        archive.writestr("config.json", b"{")
        archive.writestr("metadata.json", b"{}")
    with pytest.raises(ModelError, match="does not say in JSON"):
        load(tmp_path / "torn.keras")


def test_only_of_an_old_file_it_is_said_how_to_convert_it(tmp_path):
    for version, words in (("2.15.0", "saved by Keras 2.15.0, and Keras 3 cannot read it"), ("3.1", "Save the model")):
        file = KerasFile.read(written(tmp_path / "m.keras", DENSE, version=version))
        said = str(unreadable(file, TypeError("unknown argument")))
        assert words in said
        assert "unknown argument" in said
        assert ("model_from_json" in said) == version.startswith("2")


def test_without_keras_the_install_line_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "keras", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'demur\[keras\]'"):
        load(written(tmp_path / "m.keras", DENSE))


@pytest.mark.parametrize(("version", "backend"), [("3.15.1", "tensorflow"), ("2.15.0", "torch")])
def test_keras_that_runs_on_something_else_already_is_refused(version, backend, tmp_path, monkeypatch):
    module = types.SimpleNamespace(__version__=version, backend=types.SimpleNamespace(backend=lambda: backend))
    monkeypatch.setitem(sys.modules, "keras", module)
    with pytest.raises(ModelError, match=rf"has Keras {version} on {backend} already. Set KERAS_BACKEND=torch"):
        load(written(tmp_path / "m.keras", DENSE))
