"""The official binary files of CIFAR-10: `cifar10:FOLDER?split=test|train|all`.

Krizhevsky (2009), "Learning multiple layers of features from tiny images". A record is a label and 3×32×32 bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from demur.data.array_files import ArraySource, FileHandle, array_source, keep_open
from demur.data.source import UNREAD, Row, path_of
from demur.errors import AddressError, DataError
from demur.pictures.decode_rules import DECODE_OPTIONS, Rules
from demur.registry import Address

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

_TEST = "test_batch.bin"
_TRAIN = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
_FILES = {"train": _TRAIN, "test": (_TEST,), "all": (*_TRAIN, _TEST)}
_RECORD = 1 + 3 * 32 * 32


@dataclass(frozen=True, eq=False)
class Records:
    """The images of several files, one after the other."""

    files: tuple[FileHandle, ...]
    places: NDArray[np.int64]

    def __call__(self, position: int) -> NDArray[np.uint8]:
        """The image (32, 32, 3) at a position."""
        file, record = self.places[position]
        content = self.files[file](int(record) * _RECORD + 1, _RECORD - 1)
        return np.frombuffer(content, np.uint8).reshape(3, 32, 32).transpose(1, 2, 0)


def open_source(address: Address) -> ArraySource:
    """Open a folder; ids are `file/position`, and the images of the training files are training images."""
    address.only(("split", *DECODE_OPTIONS))
    folder, split = path_of(address), address.options.get("split", "test")
    if split not in _FILES:
        raise AddressError(f"`split` of CIFAR-10 is test, train or all; got {split!r}.")
    files: list[FileHandle] = []
    rows: list[Row] = []
    places: list[tuple[int, int]] = []
    for number, name in enumerate(_FILES[split]):
        with _check_file(folder, name).open("rb") as file:
            files.append(keep_open(file))
        rows += list(_rows(folder / name))
        places += [(number, record) for record in range(len(rows) - len(places))]
    fetch = Records(tuple(files), np.array(places, dtype=np.int64))
    return array_source(address.text, CLASSES, (32, 32, 3), rows, fetch, Rules.of(address.options))


def _rows(path: Path) -> Iterator[Row]:
    labels = np.memmap(path, np.uint8, mode="r")[::_RECORD].tolist()
    for at, label in enumerate(labels):
        yield Row(f"{path.stem}/{at:05d}", None, label, split="test" if path.name == _TEST else "train", error=UNREAD)


def _check_file(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise _missing(folder, name)
    size = path.stat().st_size
    if size == 0 or size % _RECORD:
        raise DataError(
            f"{path} has {size} bytes; it must be a whole number of records of {_RECORD} bytes. It is cut short: fetch "
            "it again."
        )
    return path


def _missing(folder: Path, name: str) -> DataError:
    if (folder / name.removesuffix(".bin")).exists() or (folder / "batches.meta").exists():
        return DataError(
            f"{folder} holds CIFAR-10 as Python pickles, and opening a pickle can run any code. Fetch the binary "
            "version of the same set, cifar-10-binary.tar.gz, and give the folder that holds its data_batch_1.bin."
        )
    inner = folder / "cifar-10-batches-bin"
    way_out = f"Write cifar10:{inner}." if inner.is_dir() else "Check the path, or the split."
    return DataError(f"{folder} has no file {name}, one of the binary files of CIFAR-10. {way_out}")
