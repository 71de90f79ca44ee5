"""Data sets of torchvision, laid out as it keeps them, are the images and labels that it gives."""

import os
import pickle
import struct

import numpy as np
import pytest
import torch
from PIL import Image

from demur.data import from_given, open_data
from demur.data.torchvision_datasets import SETS, labels_in, names_in
from demur.errors import AddressError, DataError, UnknownNameError
from demur.testing import check_data

datasets = pytest.importorskip("torchvision.datasets")

PIXELS = np.random.default_rng(0).integers(0, 256, (12, 28, 28), dtype=np.uint8)
NUMBERS = np.arange(12) % 10


def mnist(root, name="FashionMNIST"):
    folder = root / name / "raw"
    folder.mkdir(parents=True)
    for stem in ("train", "t10k"):
        for what, values in (("images-idx3", PIXELS), ("labels-idx1", NUMBERS)):
            head = struct.pack(f">{1 + values.ndim}I", 0x800 + values.ndim, *values.shape)
            (folder / f"{stem}-{what}-ubyte").write_bytes(head + values.astype(np.uint8).tobytes())


def pictures(folder, names):
    for kind in names:
        for number in range(3):
            path = folder / kind / f"{number}.jpg"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.random.default_rng(number).integers(0, 256, (20, 24, 3), dtype=np.uint8)).save(path)


def test_every_set_is_one_of_torchvision():
    assert all(hasattr(datasets, name) for name in SETS)


def test_a_set_is_what_torchvision_gives(tmp_path):
    mnist(tmp_path)
    source = open_data(f"torchvision:FashionMNIST?root={tmp_path}")
    check_data(source)
    rows = list(source.read(range(12)))
    assert torch.equal(torch.stack([row.image[0] for row in rows]), torch.from_numpy(PIXELS).float() / 255)
    assert [row.label for row in rows] == NUMBERS.tolist()
    assert source.classes == tuple(datasets.FashionMNIST.classes)
    assert {row.split for row in rows} == {"test"}
    train = open_data(f"torchvision:FashionMNIST?root={tmp_path}&split=train&size=14&colour=rgb")
    assert (next(train.read([0])).split, train.input_shape) == ("train", (3, 14, 14))
    check_data(from_given(datasets.FashionMNIST(tmp_path, train=False)))


def test_a_set_of_files_with_and_without_splits(tmp_path):
    pictures(tmp_path / "eurosat" / "2750", ["Forest", "River"])
    source = open_data(f"torchvision:EuroSAT?root={tmp_path}")
    check_data(source)
    theirs = datasets.EuroSAT(tmp_path)
    assert source.classes == tuple(theirs.classes)
    for at, row in enumerate(source.read(range(6))):
        picture, label = theirs[at]
        assert row.label == label
        np.testing.assert_array_equal((row.image * 255).round().permute(1, 2, 0), np.asarray(picture))
    with pytest.raises(AddressError, match="EuroSAT has no splits"):
        open_data(f"torchvision:EuroSAT?root={tmp_path}&split=test")
    pictures(tmp_path / "country211" / "test", ["AD", "AE"])
    assert open_data(f"torchvision:Country211?root={tmp_path}").classes == ("AD", "AE")


def test_nothing_is_fetched_and_no_foreign_pickle_is_opened(tmp_path, monkeypatch):
    import socket

    class Planted:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    def refused(*_args, **_named):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", refused)
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch", "batches.meta"]:
        (folder / name).write_bytes(pickle.dumps(Planted()))
    with pytest.raises(DataError, match=r"cannot open CIFAR10 below .*\?download=yes fetches it"):
        open_data(f"torchvision:CIFAR10?root={tmp_path}")
    with pytest.raises(DataError, match="cannot open SVHN"):
        open_data(f"torchvision:SVHN?root={tmp_path}")
    with pytest.raises(DataError, match=r"cannot open SEMEION"):
        open_data(f"torchvision:SEMEION?root={tmp_path}")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("address", "error", "says"),
    [
        ("torchvision:CIFAR10", AddressError, "needs the folder .*root=FOLDER"),
        ("torchvision:CIFAR11?root=.", UnknownNameError, "Did you mean 'CIFAR10'"),
        ("torchvision:VOCDetection?root=.", UnknownNameError, "for classification"),
        ("torchvision:MNIST?root=.&split=val", AddressError, "is train or test; got 'val'"),
        ("torchvision:MNIST?root=.&download=1", AddressError, "`download` must be yes or no"),
        ("torchvision:ImageNet?root=.&download=yes", AddressError, "and no for FER2013, ImageNet"),
        ("torchvision:MNIST?root=.&variant=letters", AddressError, "has no variants"),
        ("torchvision:Food101?root=.&split=dev", DataError, "cannot open Food101"),
    ],
)
def test_what_cannot_be_read_is_refused(address, error, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=says):
        open_data(address)


class Items:
    """A data set whose list of labels is in another order than its items."""

    targets = (1, 0, 1)
    classes = (("crane", "bird"), "fox", ("crane",))

    def __len__(self):
        return 3

    def __getitem__(self, at):
        return None, at


def test_a_list_of_labels_that_is_not_that_of_the_items_is_not_believed():
    assert labels_in(Items()) == [0, 1, 2]
    assert list(names_in(Items(), [0, 1, 2])) == ["crane (1)", "fox", "crane (2)"]
    assert names_in(Items(), [0, 3]) == ["0", "1", "2", "3"]
