"""The model of a guard: by its address, with its weights, or as a program without a pickle."""

import hashlib
import io
import zipfile
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests import guarded, tiny
from torch import nn

from demur.adapters import load_model
from demur.adapters.exported_program import refuse_pickles
from demur.adapters.weights import KEY, manifest_of, manifest_text
from demur.classifier import BoundClassifier
from demur.errors import DemurError, InputError, ModelError
from demur.evidence import Evidence
from demur.guard import Guard
from demur.guard.model_files import (
    PROGRAM,
    WEIGHTS,
    copy_model,
    exported_program,
    read_model,
    write_model,
)
from demur.signals.feature_distances import KNN
from demur.zoo import CompactResNet


def zoo(tmp_path):
    """Weights of a small net of the zoo, its address and its classifier."""
    torch.set_rng_state(torch.Generator().manual_seed(0).get_state())
    net = CompactResNet(channels=1, classes=3).eval()
    save_file(net.state_dict(), tmp_path / "w.safetensors")
    address = f"zoo:compact_resnet@{tmp_path / 'w.safetensors'}?mean=.5&std=.25"
    return address, BoundClassifier(
        net, classes=tiny.CLASSES, input_shape=(1, 28, 28), mean=(0.5,), std=(0.25,), name="compact_resnet"
    )


def test_a_model_is_loaded_from_its_address_and_must_be_the_same(tmp_path):
    address, classifier = zoo(tmp_path)
    place = write_model(tmp_path / "guard", classifier, address)
    assert read_model(tmp_path / "guard", place).sha256 == classifier.sha256
    save_file(CompactResNet(channels=1, classes=3).state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(ModelError, match="not the one this guard was certified for"):
        read_model(tmp_path / "guard", place)


def test_weights_of_a_checkpoint_are_embedded_as_tensors(tmp_path):
    address, classifier = zoo(tmp_path)
    torch.save({"epoch": 3, "state_dict": {f"module.{k}": v for k, v in classifier.as_module().state_dict().items()}},
               tmp_path / "w.pth")  # fmt: skip
    place = write_model(tmp_path / "guard", classifier, address.replace("w.safetensors", "w.pth"), "weights")
    assert len(load_file(tmp_path / "guard" / WEIGHTS.format(0))) == len(classifier.as_module().state_dict())
    assert read_model(tmp_path / "guard", place).sha256 == classifier.sha256


def test_embedded_weights_outlive_the_file_they_came_from(tmp_path):
    address, classifier = zoo(tmp_path)
    place = write_model(tmp_path / "guard", classifier, address, "weights")
    (tmp_path / "w.safetensors").unlink()
    assert (tmp_path / "guard" / WEIGHTS.format(0)).is_file()
    found, x = read_model(tmp_path / "guard", place), torch.rand(3, 1, 28, 28)
    assert found.sha256 == classifier.sha256
    assert torch.equal(found(x), classifier(x))


def test_the_list_of_training_images_comes_along_with_weights_that_name_it(tmp_path):
    address, _ = zoo(tmp_path)
    weights, text = tmp_path / "w.safetensors", manifest_text(frozenset({"ab" * 32}))
    save_file(load_file(weights), weights, {KEY: hashlib.sha256(text).hexdigest()})
    manifest_of(weights).write_bytes(text)
    classifier = load_model(address, classes=tiny.CLASSES, input_shape=(1, 28, 28))
    place = write_model(tmp_path / "guard", classifier, address, "weights")
    assert read_model(tmp_path / "guard", place).learned_from == {"ab" * 32}


def test_the_weights_of_every_member_of_an_ensemble_are_embedded(tmp_path):
    address, _ = zoo(tmp_path)
    other = CompactResNet(channels=1, classes=3).eval()
    save_file(other.state_dict(), tmp_path / "v.safetensors")
    text = f"ensemble:{address},zoo:compact_resnet@{tmp_path / 'v.safetensors'}"
    classifier = load_model(text, classes=tiny.CLASSES, input_shape=(1, 28, 28))
    place = write_model(tmp_path / "guard", classifier, text, "weights")
    for name in ("v", "w"):
        (tmp_path / f"{name}.safetensors").unlink()
    x = torch.rand(3, 1, 28, 28)
    assert torch.equal(read_model(tmp_path / "guard", place)(x), classifier(x))
    copy_model(tmp_path / "guard", tmp_path / "next", place)
    assert read_model(tmp_path / "next", place).sha256 == classifier.sha256


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_a_program_answers_as_the_model_for_any_number_of_images(tmp_path, rows):
    _, classifier = zoo(tmp_path)
    place = write_model(tmp_path / "guard", classifier, None, "program")
    found, x = read_model(tmp_path / "guard", place), torch.rand(rows, 1, 28, 28)
    assert torch.allclose(found(x), classifier(x), atol=1e-5)
    assert (place.sha256, place.stored) == (classifier.sha256, found.sha256)


def test_probabilities_are_logits_in_a_program(tmp_path):
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3), nn.Softmax(dim=1)).eval()
    classifier = BoundClassifier(net, classes=tiny.CLASSES, input_shape=tiny.SHAPE, output="probabilities")
    place = write_model(tmp_path, classifier, None, "program")
    x = guarded.images(9)
    assert torch.allclose(read_model(tmp_path, place)(x), classifier(x), atol=1e-5)


def test_nothing_in_a_program_is_a_pickle(tmp_path):
    (tmp_path / "p.pt2").write_bytes(exported_program(tiny.classifier()))
    refuse_pickles(tmp_path / "p.pt2", "Fit the guard again.")
    with zipfile.ZipFile(tmp_path / "p.pt2") as archive:
        heads = [archive.open(entry).read(4) for entry in archive.infolist()]
    assert not any(head.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x04")) for head in heads)


def with_record(program: bytes, name: str, content: bytes) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(program)) as source, zipfile.ZipFile(target, "w") as changed:
        for entry in source.infolist():
            if entry.filename != name:
                changed.writestr(entry.filename, source.read(entry))
        changed.writestr(name, content)
    return target.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("archive/data/sample_inputs/model.pt", b"PK\x03\x04anything"),
        ("archive/data/constants/opaque_obj_0", b"\x80\x04"),
        ("archive/data/constants/custom_obj_0", b"PK\x03\x04"),
        ("archive/data/weights/model_weights_config.json", b'{"config": {"w": {"use_pickle": true}}}'),
        ("archive/extra/run.py", b"import os"),
    ],
)
def test_a_record_that_would_be_unpickled_is_refused(tmp_path, name, content):
    (tmp_path / "p.pt2").write_bytes(with_record(exported_program(tiny.classifier()), name, content))
    with pytest.raises(ModelError, match="would be unpickled"):
        refuse_pickles(tmp_path / "p.pt2", "Fit the guard again.")


def test_a_file_that_is_no_archive_is_refused(tmp_path):
    (tmp_path / "p.pt2").write_bytes(b"\x80\x04.")
    with pytest.raises(ModelError, match="is no archive"):
        refuse_pickles(tmp_path / "p.pt2", "Fit the guard again.")


def test_what_cannot_be_embedded_is_said(tmp_path):
    classifier = tiny.classifier()
    with pytest.raises(InputError, match='embed="program"'):
        write_model(tmp_path, classifier, None)
    with pytest.raises(InputError, match="names no file of weights"):
        write_model(tmp_path, classifier, "fashion", "weights")

    class Branching(tiny.Net):
        def forward(self, x):
            return super().forward(x) if float(x.mean()) > 0 else super().forward(-x)

    odd = BoundClassifier(Branching().eval(), classes=tiny.CLASSES, input_shape=tiny.SHAPE)
    with pytest.raises(ModelError, match="cannot be embedded as a program"):
        write_model(tmp_path, odd, None, "program")


def test_a_guard_of_an_object_without_its_model_is_refused(tmp_path):
    with pytest.raises(DemurError, match="cannot be loaded again"):
        guarded.written(tmp_path / "guard", embedding="none")
    assert not (tmp_path / "guard").exists()


def test_a_guard_with_a_program_needs_nothing_else(tmp_path):
    guarded.written(tmp_path / "guard")
    assert (tmp_path / "guard" / PROGRAM).is_file()
    loaded, images = Guard.load(tmp_path / "guard"), guarded.images(50)
    assert (loaded(images).accepted == guarded.guard()(images).accepted).all()
    assert replace(loaded, temperature=1.0)(images).labels == guarded.guard()(images).labels


def test_a_signal_of_features_does_not_go_with_a_program(tmp_path):
    classifier = BoundClassifier(tiny.Net().eval(), classes=tiny.CLASSES, input_shape=tiny.SHAPE, features="compare")
    bank = KNN(k=3).fit(Evidence(classifier, guarded.images(30)), torch.zeros(30, dtype=torch.int64))
    guard = guarded.guard(classifier=classifier)
    watched = replace(guard, signals={**guard.signals, "knn(k=3)": bank})
    with pytest.raises(InputError, match=r"'knn\(k=3\)' cannot be read off the model as it is kept"):
        guarded.written(tmp_path / "guard", made=watched)
    assert not (tmp_path / "guard").exists()
