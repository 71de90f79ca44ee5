"""Weights as training loops save them: what lies round them is undone and said, and nothing in a pickle runs."""

import io
import os
import pickle
import stat
import struct
import sys
import zipfile
from argparse import Namespace
from pathlib import Path

import pytest
import torch

from demur.adapters import archive_members, load_model
from demur.adapters.weights import manifest_text
from demur.errors import ModelError
from demur.zoo import SimpleCNN

CLASSES = [f"class {k}" for k in range(10)]
SHAPE = (3, 16, 16)


def load(path):
    return load_model(f"zoo:simple_cnn@{path}", classes=CLASSES, input_shape=SHAPE)


def state():
    torch.set_rng_state(torch.Generator().manual_seed(0).get_state())
    return SimpleCNN().state_dict()


def prefixed(prefix, **others):
    return {**{f"{prefix}{name}": tensor for name, tensor in state().items()}, **others}


CHECKPOINTS = {
    "bare": (state(), ""),
    "state_dict": ({"state_dict": state(), "epoch": 3}, "under 'state_dict'"),
    "model_state_dict": (
        {"model_state_dict": state(), "optimizer_state_dict": {"lr": 0.1}},
        "under 'model_state_dict'",
    ),
    "model": ({"model": state()}, "under 'model'"),
    "net and accuracy": ({"net": state(), "acc": 93.1, "epoch": 4}, "under 'net'"),
    "averaged": ({"model_ema": state()}, "under 'model_ema'"),
    "averaged too": ({"ema": prefixed("other."), "model": state()}, "under 'model'; those under 'ema' were left"),
    "DataParallel": (prefixed("module."), "with 'module.' before every name"),
    "compiled": (prefixed("_orig_mod."), "with '_orig_mod.' before every name"),
    "compiled and parallel": (prefixed("module._orig_mod."), "with 'module._orig_mod.' before every name"),
    "Lightning": (
        {"state_dict": prefixed("model."), "hyper_parameters": {"lr": 0.1}},
        "under 'state_dict', with 'model.'",
    ),
    "AveragedModel": (prefixed("module.", n_averaged=torch.tensor(3)), "with 'module.'"),
    "twice": ({"model": {"state_dict": state()}}, "under 'model' and 'state_dict'"),
}


@pytest.mark.parametrize(("checkpoint", "words"), CHECKPOINTS.values(), ids=CHECKPOINTS)
def test_a_checkpoint_is_unpacked_and_it_is_said(tmp_path, checkpoint, words):
    torch.save(checkpoint, tmp_path / "w.pt")
    classifier = load(tmp_path / "w.pt")
    for key, tensor in state().items():
        assert torch.equal(classifier.as_module().state_dict()[key], tensor)
    assert words in "".join(classifier.notes)
    assert bool(classifier.notes) == bool(words)


@pytest.mark.parametrize("name", ["w.pth", "w.bin", "w.ckpt", "w.weights", "w"])
def test_the_name_of_a_file_decides_nothing(tmp_path, name):
    torch.save(state(), tmp_path / name)
    assert torch.equal(load(tmp_path / name).as_module().linear.bias, state()["linear.bias"])


def test_a_checkpoint_of_an_old_torch_is_read(tmp_path):
    torch.save({"net": state()}, tmp_path / "w.pt", _use_new_zipfile_serialization=False)
    assert torch.equal(load(tmp_path / "w.pt").as_module().linear.bias, state()["linear.bias"])


def test_an_architecture_whose_own_names_begin_so_keeps_them(tmp_path, monkeypatch):
    (tmp_path / "nets18.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.model = nn.Sequential(nn.Flatten(), nn.Linear(768, 10))\n"
        "    def forward(self, x):\n"
        "        return self.model(x)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    weights = {"model.1.weight": torch.ones(10, 768), "model.1.bias": torch.zeros(10)}
    torch.save(weights, tmp_path / "w.pt")
    classifier = load_model("module:nets18:Net@w.pt", classes=CLASSES, input_shape=SHAPE)
    assert torch.equal(classifier.as_module().model[1].weight, weights["model.1.weight"])
    assert classifier.notes == ("the Python code of nets18:Net was run in this process",)
    sys.modules.pop("nets18")


def test_the_images_it_was_trained_on_are_known(tmp_path):
    torch.save(state(), tmp_path / "w.pt")
    (tmp_path / "w.manifest").write_bytes(manifest_text(frozenset({"a" * 64})))
    assert load(tmp_path / "w.pt").learned_from == {"a" * 64}


class Malicious:
    """What a pickle runs when it is read."""

    def __init__(self, proof):
        self.proof = proof

    def __reduce__(self):
        return os.system, (f"touch {self.proof}",)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_malicious_pickle_is_refused_and_nothing_ran(tmp_path, zipped):
    proof = tmp_path / "ran"
    torch.save(
        {"state_dict": state(), "extra": Malicious(proof)}, tmp_path / "w.pt", _use_new_zipfile_serialization=zipped
    )
    with pytest.raises(ModelError, match=r"holds more than tensors.*\(posix\.system\).*Nothing of it was run"):
        load(tmp_path / "w.pt")
    assert not proof.exists()
    torch.load(tmp_path / "w.pt", weights_only=False)  # noqa: TID251 - the pickle would indeed have run
    assert proof.exists()


def test_a_bare_pickle_is_refused_and_nothing_ran(tmp_path):
    (tmp_path / "w.pt").write_bytes(pickle.dumps({"state_dict": Malicious(tmp_path / "ran")}))
    with pytest.raises(ModelError, match="Nothing of it was run"):
        load(tmp_path / "w.pt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "found", [SimpleCNN(), {"model": SimpleCNN()}, {"state_dict": state(), "args": Namespace(lr=1)}]
)
def test_a_pickle_with_objects_is_refused_and_the_advice_converts_it(tmp_path, found):
    torch.save(found, tmp_path / "w.pt")
    with pytest.raises(ModelError, match="Where you trust it, convert it once") as refusal:
        load(tmp_path / "w.pt")
    lines = [line.strip() for line in str(refusal.value).splitlines()[1:]]
    exec("\n".join(lines), {})
    assert load(tmp_path / "w.safetensors").parameters == SimpleCNN().linear.weight.numel() + 52_630 - 2_560


def rewritten(path, change):
    """The archive of `torch.save` with members of one's own."""
    content = io.BytesIO()
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as target:
        for entry in source.infolist():
            target.writestr(entry, source.read(entry))
        change(target)
    path.write_bytes(content.getvalue())


def link(archive):
    entry = zipfile.ZipInfo("archive/data/0x")
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    archive.writestr(entry, "/etc/passwd")


FAULTS = {
    "a parent": (lambda archive: archive.writestr("archive/../../evil", b"x"), "would leave the folder"),
    "a root": (lambda archive: archive.writestr("/evil", b"x"), "would leave the folder"),
    "a drive": (lambda archive: archive.writestr("C:/evil", b"x"), "would leave the folder"),
    "a backslash": (lambda archive: archive.writestr("archive\\..\\evil", b"x"), "would leave the folder"),
    "a link": (link, "is a link or a device"),
    "a bomb": (
        lambda archive: archive.writestr("archive/big", bytes(20 << 20), zipfile.ZIP_DEFLATED, 9),
        "bytes would unpack to",
    ),
}


@pytest.mark.parametrize(("change", "words"), FAULTS.values(), ids=FAULTS)
def test_an_archive_that_does_more_than_hold_weights_is_refused(tmp_path, monkeypatch, change, words):
    monkeypatch.setattr(archive_members, "_INFLATED", 16 << 20)
    torch.save(state(), tmp_path / "w.pt")
    rewritten(tmp_path / "w.pt", change)
    with pytest.raises(ModelError, match=f"{words}.*Nothing of it was read"):
        load(tmp_path / "w.pt")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_with_two_members_of_one_name_is_refused(tmp_path):
    torch.save(state(), tmp_path / "w.pt")
    rewritten(tmp_path / "w.pt", lambda archive: archive.writestr(archive.namelist()[0], b"another"))
    with pytest.raises(ModelError, match="twice"):
        load(tmp_path / "w.pt")


def test_a_tensor_larger_than_its_file_is_refused(tmp_path):
    torch.save({"linear.weight": torch.zeros(1).expand(100_000, 1_000_000)}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"'linear\.weight' of shape \(100000, 1000000\) is more than it can hold"):
        load(tmp_path / "w.pt")


def test_a_tensor_that_claims_more_values_than_are_stored_is_refused(tmp_path):
    """The number of values stands in the pickle, beside the record that has fewer."""
    path = tmp_path / "w.pt"
    torch.save({"linear.weight": torch.zeros(70_000)}, path)
    content = io.BytesIO()
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(content, "w", zipfile.ZIP_STORED) as target:
        for entry in source.infolist():
            data = source.read(entry)
            if entry.filename.endswith("data.pkl"):
                assert data.count(struct.pack("<I", 70_000)) == 2
                data = data.replace(struct.pack("<I", 70_000), struct.pack("<I", 2_000_000_000))
            target.writestr(entry, data)
    path.write_bytes(content.getvalue())
    with pytest.raises(ModelError, match=r"does not match expected size|more than it can hold"):
        load(path)


def test_a_shortened_file_is_damaged(tmp_path):
    torch.save(state(), tmp_path / "w.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "w.pt").write_bytes((tmp_path / "w.pt").read_bytes()[:-5_000])
    with pytest.raises(ModelError, match="is damaged and cannot be read"):
        load(tmp_path / "w.pt")


def test_a_file_that_holds_no_weights_says_what_it_holds(tmp_path):
    torch.save({"epoch": 3, "history": [0.1]}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"a dictionary with the keys 'epoch', 'history'.*Save model\.state_dict"):
        load(tmp_path / "w.pt")
    torch.save(torch.zeros(3), tmp_path / "w.pt")
    with pytest.raises(ModelError, match="holds a Tensor"):
        load(tmp_path / "w.pt")


def test_a_program_in_the_place_of_weights_says_its_scheme(tmp_path):
    path = tmp_path / "w.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w/code/__torch__.py", "")
    with pytest.raises(ModelError, match=r"is a TorchScript program.*torchscript:.*w\.pt"):
        load(path)


def test_weights_that_fit_nothing_are_named(tmp_path):
    torch.save({"state_dict": {"a.weight": torch.zeros(2)}}, Path(tmp_path / "w.pt"))
    with pytest.raises(ModelError, match=r"does not fit SimpleCNN.*is missing"):
        load(tmp_path / "w.pt")
