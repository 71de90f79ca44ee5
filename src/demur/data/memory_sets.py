"""Data sets that Python has: read item by item where they can be, else once into a file without a name."""

import itertools
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from demur.data.array_files import FileHandle, keep_open
from demur.data.decoding import Decoded
from demur.data.memory_items import LABEL_KEYS, Keys, Names, image_of, names_in, whole
from demur.data.source import Row
from demur.errors import DataError, DemurError, legible
from demur.foreign import reason

_MOST = 20_000_000
"""Items that are taken from what comes one after the other and might never end."""


@runtime_checkable
class Items(Protocol):
    """What has a length and an item at each position: a list of pairs, a data set of torch, torchvision, datasets."""

    def __len__(self) -> int:
        """How many items there are."""

    def __getitem__(self, position: int, /) -> Any:
        """The image and the label at a position."""


@dataclass(frozen=True, eq=False)
class DatasetSource:
    """A map-style data set of (image, label), read one item at a time; ids are positions."""

    address: str
    classes: tuple[str, ...]
    input_shape: tuple[int, int, int]
    dataset: Items
    groups: tuple[str, ...] | None
    keys: Keys

    def __len__(self) -> int:
        return len(self.dataset)

    def read(self, positions: Sequence[int]) -> Iterator[Row]:
        """The rows at these positions."""
        names = Names.of(self.classes)
        for position in positions:
            image, label = item_at(self.dataset, position, self.address, self.keys)
            group = None if self.groups is None else self.groups[position]
            tensor, error = image_of(image, self.input_shape[0])
            number = names.number(label, f"item {position} of {self.address!r}")
            yield Row(f"{position:06d}", tensor, number, group, error)


@dataclass(frozen=True)
class _Place:
    """Where an image lies in the file; none where it could not be read."""

    start: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    error: str | None

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) * self.dtype.itemsize


@dataclass(frozen=True, eq=False)
class SpooledSource:
    """Items that came one after the other, kept in a file without a name; ids are their numbers."""

    address: str
    classes: tuple[str, ...]
    input_shape: tuple[int, int, int]
    labels: tuple[Any, ...]
    groups: tuple[str, ...] | None
    file: FileHandle
    places: tuple[_Place, ...]

    def __len__(self) -> int:
        return len(self.places)

    def read(self, positions: Sequence[int]) -> Iterator[Row]:
        """The rows at these positions."""
        names = Names.of(self.classes)
        for position in positions:
            number = names.number(self.labels[position], f"item {position} of {self.address!r}")
            group = None if self.groups is None else self.groups[position]
            place = self.places[position]
            image = None if place.error else self._image(place)
            yield Row(f"{position:06d}", image, number, group, place.error)

    def _image(self, place: _Place) -> Tensor:
        values = np.frombuffer(self.file(place.start, place.size), place.dtype).reshape(place.shape)
        image = torch.from_numpy(values.astype(np.float32))
        return image / 255 if place.dtype == np.uint8 else image


def mapped_source(
    dataset: Items, classes: Iterable[object] | None, groups: Sequence[str] | None, name: str, keys: Keys
) -> DatasetSource:
    """A source over a map-style data set.

    Raises:
        DataError: it is empty, its first image cannot be read, or not one group for each image.
    """
    rows = len(dataset)
    if rows == 0:
        raise _empty(name)
    first, error = image_of(item_at(dataset, 0, name, keys)[0], None)
    if first is None:
        raise _sizeless(name, error)
    channels, height, width = first.shape
    names = Names.of(classes) if classes is not None else names_in(_labels_of(dataset, name, keys), name)
    return DatasetSource(
        legible(name), names.classes, (channels, height, width), dataset, group_names(groups, rows), keys
    )


def spooled_source(
    items: Iterable[tuple[Any, Any]], classes: Iterable[object] | None, groups: Sequence[str] | None, name: str
) -> SpooledSource:
    """A source over (image, label) pairs that come once; one image at a time is in memory.

    Raises:
        DataError: there are none, no image can be read, the disk is full, or not one group for each image.
    """
    places: list[_Place] = []
    labels: list[Any] = []
    try:
        with tempfile.TemporaryFile(prefix="demur-") as file:
            for image, label in items:
                values, place = _written(image_of(image, _channels(places)), file.tell())
                file.write(values)
                places.append(place)
                labels.append(_plain_at(label, len(labels), name))
            file.flush()
            handle = keep_open(file)
    except OSError as error:
        raise DataError(
            f"cannot keep the images of {name!r} in the temporary folder {tempfile.gettempdir()}: {error.strerror}. "
            "Free some space there, or name another folder in TMPDIR."
        ) from None
    if not 0 < len(places) < _MOST:
        raise _empty(name) if not places else _endless(name)
    whole_one = next((place for place in places if place.error is None), None)
    if whole_one is None:
        raise _sizeless(name, places[0].error)
    channels, height, width = whole_one.shape
    names = Names.of(classes) if classes is not None else names_in(labels, name)
    kept = group_names(groups, len(places))
    return SpooledSource(
        legible(name), names.classes, (channels, height, width), tuple(labels), kept, handle, tuple(places)
    )


def _written(answer: Decoded, start: int) -> tuple[bytes, _Place]:
    """An image as the bytes it is made of where they give it back to the last bit, else as floats."""
    image, error = answer
    if image is None:
        return b"", _Place(start, np.dtype(np.uint8), (0,), error)
    as_bytes = (image * 255).round().clamp(0, 255).to(torch.uint8)
    values = as_bytes.numpy() if torch.equal(as_bytes.float() / 255, image) else image.contiguous().numpy()
    return values.tobytes(), _Place(start, values.dtype, values.shape, None)


def _channels(places: Sequence[_Place]) -> int | None:
    return next((place.shape[0] for place in places if place.error is None), None)


def streamed_pairs(stream: Iterable[Any], name: str, keys: Keys) -> Iterator[tuple[Any, Any]]:
    """The (image, label) pairs of an iterable, one after the other."""
    for at, item in enumerate(_passed(stream, name)):
        yield keys.pair(item, f"item {at} of {name!r}")


def batched_pairs(loader: DataLoader[Any], name: str, keys: Keys) -> Iterator[tuple[Any, Any]]:
    """The (image, label) pairs in the batches of a loader, one after the other."""
    for batch in _passed(loader, name):
        if not (isinstance(batch, Mapping) or (isinstance(batch, (tuple, list)) and len(batch) == 2)):
            raise DataError(
                "a data loader must give batches of (images, labels), or mappings of both; this one gives "
                f"{type(batch).__name__}. Map its batches to pairs, or give a data set."
            )
        images, labels = keys.pair(batch, f"a batch of {name!r}")
        if len(images) != len(labels):
            raise DataError(
                f"a batch of {name!r} has {len(images)} images and {len(labels)} labels. Give one for each."
            )
        yield from zip(images, labels, strict=True)


def _passed(stream: Iterable[Any], name: str) -> Iterator[Any]:
    """What comes out of code of others, which may raise anything."""
    count = 0
    try:
        for each in itertools.islice(stream, _MOST):
            yield each
            count += 1
    except (DemurError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        raise DataError(
            f"{name!r} stopped at item {count}: {reason(error)}. Correct it, or leave that item out."
        ) from error


def item_at(dataset: Items, position: int, name: str, keys: Keys) -> tuple[Any, Any]:
    """The image and the label of an item.

    Raises:
        DataError: the data set has none there.
    """
    try:
        return keys.pair(dataset[position], f"item {position} of {name!r}")
    except (DemurError, KeyboardInterrupt):
        raise
    except BaseException as error:  # a data set is code of others, which may raise anything
        raise DataError(
            f"item {position} of {name!r} is not a readable (image, label): {reason(error)}. Leave it out, for "
            "instance with torch.utils.data.Subset."
        ) from error


def names_of(data: Any, keys: Keys | None = None) -> tuple[str, ...] | None:
    """The class names that data bring along: `.classes` as in torchvision, or the features of datasets; else None."""
    data = data.dataset if isinstance(data, DataLoader) else data
    named = getattr(data, "classes", None)
    features = getattr(data, "features", None)
    if named is None and isinstance(features, Mapping):
        label = (keys and keys.label) or next((name for name in LABEL_KEYS if name in features), "")
        named = getattr(features.get(label), "names", None)
    return tuple(map(str, named)) if isinstance(named, (list, tuple)) and named else None


def _labels_of(dataset: Any, name: str, keys: Keys) -> list[Any]:
    """The label of every item; where the data set has columns, without its images."""
    features = getattr(dataset, "features", None)
    column = keys.label or next((key for key in LABEL_KEYS if key in features), None) if features else None
    rows = range(len(dataset))
    found = dataset[column] if column else (item_at(dataset, position, name, keys)[1] for position in rows)
    return [_plain_at(label, position, name) for position, label in zip(rows, found, strict=True)]


def _plain_at(label: Any, position: int, name: str) -> Any:
    """A label that holds on to nothing else: a name, or a number where it is one."""
    return label if isinstance(label, str) else whole(label, f"item {position} of {name!r}")


def group_names(groups: Sequence[str] | None, rows: int) -> tuple[str, ...] | None:
    """One group for each image.

    Raises:
        DataError: more or fewer.
    """
    if groups is not None and len(groups) != rows:
        raise DataError(f"`groups` must name one group per image; got {len(groups)} for {rows} images.")
    return None if groups is None else tuple(legible(str(group)) for group in groups)


def is_iterable_set(data: Any) -> bool:
    """Whether data come one after the other, without an item at each position."""
    return isinstance(data, IterableDataset) or (isinstance(data, Iterable) and not isinstance(data, Items))


def is_plain_value(data: Any) -> bool:
    """Whether data are one text, mapping, tensor or array, none of which is a data set."""
    return isinstance(data, (str, bytes, Mapping, Tensor, np.ndarray))


def _empty(name: str) -> DataError:
    return DataError(f"the data set {name!r} is empty; there must be at least two classes of images.")


def _endless(name: str) -> DataError:
    return DataError(f"{name!r} gives {_MOST:,} items or more, as if it never ended. Limit it, or give files.")


def _sizeless(name: str, error: str | None) -> DataError:
    return DataError(f"cannot tell the size of the images of {name!r} from the first one: {error}.")
