"""The official binary files of CIFAR-10: `cifar10:FOLDER?split=test|train|all`.

Krizhevsky (2009), "Learning multiple layers of features from tiny images". A record is a label and 3×32×32 bytes.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from demur.data import rules
from demur.data.npz import ArraySource, array_source
from demur.data.roles import OwnRole
from demur.data.rules import Rules
from demur.data.source import UNREAD, Row, path_of, spelled
from demur.errors import AddressError, DataError
from demur.registry import Address

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

_TRAIN = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
_FILES = {"train": _TRAIN, "test": ("test_batch.bin",), "all": (*_TRAIN, "test_batch.bin")}
_RECORD = 1 + 3 * 32 * 32


def open_source(address: Address) -> ArraySource:
    """Open a folder; ids are `file/position`, and the training files are training images."""
    address.only(("split", *rules.OPTIONS))
    folder, split = path_of(address), address.options.get("split", "test")
    if split not in _FILES:
        raise AddressError(f"`split` of CIFAR-10 is test, train or all; got {split!r}.")
    records = [_records(folder, name) for name in _FILES[split]]
    rows = [
        Row(f"{name[:-4]}/{at:05d}", None, int(label), role=_role(name), error=UNREAD)
        for name, part in zip(_FILES[split], records, strict=True)
        for at, label in enumerate(part[:, 0])
    ]
    images = np.concatenate(records) if len(records) > 1 else records[0]
    planes = images[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return array_source(spelled(address), CLASSES, planes, rows, range(len(rows)), Rules.of(address.options))


def _role(name: str) -> OwnRole:
    return "test" if name == "test_batch.bin" else "train"


def _records(folder: Path, name: str) -> NDArray[np.uint8]:
    path = folder / name
    if not path.is_file():
        raise _missing(folder, name)
    size = path.stat().st_size
    if size == 0 or size % _RECORD:
        raise DataError(
            f"{path} has {size} bytes; it must be a whole number of records of {_RECORD} bytes. It is cut short: fetch it "
            "again."
        )
    return np.memmap(path, np.uint8, mode="r", shape=(size // _RECORD, _RECORD))


def _missing(folder: Path, name: str) -> DataError:
    if (folder / name.removesuffix(".bin")).exists() or (folder / "batches.meta").exists():
        return DataError(
            f"{folder} holds CIFAR-10 as Python pickles, and opening a pickle can run any code. Fetch the binary version of the "
            "same set, cifar-10-binary.tar.gz, and give the folder of its data_batch_1.bin to test_batch.bin."
        )
    inner = folder / "cifar-10-batches-bin"
    way_out = f"Write cifar10:{inner}." if inner.is_dir() else "Check the path, or the split."
    return DataError(f"{folder} has no file {name}, one of the binary files of CIFAR-10. {way_out}")
