"""Images that Python already has: tensors, or any map-style data set of (image, label)."""

from collections.abc import Iterator, Sequence, Sized
from dataclasses import dataclass
from typing import Any

import torch
from PIL.Image import Image
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    default_collate,
)

from demur.data.decoding import HOSTILE, decode_picture, first_line
from demur.data.source import Row, Source
from demur.data.task_refusals import too_many
from demur.errors import DataError, DemurError, brief, legible
from demur.foreign import reason

_INT64 = 1 << 63


@dataclass(frozen=True, eq=False)
class TensorSource:
    """Images and labels in two tensors; ids are positions."""

    address: str
    classes: tuple[str, ...]
    images: Tensor
    labels: Tensor
    groups: tuple[str, ...] | None

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """The shape of one image."""
        _, channels, height, width = self.images.shape
        return (channels, height, width)

    def __len__(self) -> int:
        return len(self.labels)

    def read(self, positions: Sequence[int]) -> Iterator[Row]:
        """The rows at these positions."""
        for position in positions:
            group = None if self.groups is None else self.groups[position]
            yield Row(f"{position:06d}", self.images[position].float(), int(self.labels[position]), group)


@dataclass(frozen=True, eq=False)
class DatasetSource:
    """A map-style torch data set of (image, label), read one item at a time; ids are positions."""

    address: str
    classes: tuple[str, ...]
    input_shape: tuple[int, int, int]
    dataset: Dataset[Any]
    groups: tuple[str, ...] | None

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]  # torch types only some data sets as sized

    def read(self, positions: Sequence[int]) -> Iterator[Row]:
        """The rows at these positions."""
        for position in positions:
            image, label = _item(self.dataset, position, self.address)
            group = None if self.groups is None else self.groups[position]
            tensor, error = _as_tensor(image, self.input_shape[0])
            yield Row(f"{position:06d}", tensor, _whole(label, position, self.address), group, error)


def from_tensors(
    images: Tensor,
    labels: Tensor,
    *,
    classes: Sequence[str],
    groups: Sequence[str] | None = None,
    name: str = "tensors",
) -> TensorSource:
    """A source of float images (rows, channels, height, width) in [0, 1] and integer labels (rows,).

    Args:
        images: kept in memory, on the CPU.
        labels: positions in `classes`.
        classes: names of the labels, in order.
        groups: the unit of independence of each image (patient, camera, lot); by default each is its own.
        name: what reports call it.

    Raises:
        DataError: another shape or type, or not one label and group for each image.
    """
    if images.ndim != 4:
        raise DataError(f"`images` must be (rows, channels, height, width); got the shape {tuple(images.shape)}.")
    if not images.is_floating_point():
        raise DataError(f"`images` must be floats in [0, 1]; got {images.dtype}. Convert to float and divide by 255.")
    if labels.shape != (len(images),) or labels.is_floating_point() or labels.is_complex():
        raise DataError(
            f"`labels` must be {len(images)} whole numbers, one per image; got {labels.dtype} of the shape "
            f"{tuple(labels.shape)}."
        )
    return TensorSource(
        legible(name), tuple(classes), images.detach().cpu(), labels.cpu(), _group_names(groups, len(images))
    )


def from_dataset(
    dataset: Dataset[Any], *, classes: Sequence[str], groups: Sequence[str] | None = None, name: str = "dataset"
) -> DatasetSource:
    """A source over a map-style data set of (image, label), read one item at a time.

    Args:
        dataset: its images are float tensors (channels, height, width) in [0, 1] or Pillow images.
        classes: names of the labels, in order.
        groups: the unit of independence of each image (patient, camera, lot); by default each is its own.
        name: what reports call it.

    Raises:
        DataError: it is empty, its first image cannot be read, or not one group for each image.
    """
    rows = len(dataset)  # type: ignore[arg-type]  # torch types only some data sets as sized
    if rows == 0:
        raise DataError(f"the data set {name!r} is empty; there must be at least two classes of images.")
    first, error = _as_tensor(_item(dataset, 0, name)[0], None)
    if first is None:
        raise DataError(f"cannot tell the size of the images of {name!r} from the first one: {error}.")
    channels, height, width = first.shape
    return DatasetSource(legible(name), tuple(classes), (channels, height, width), dataset, _group_names(groups, rows))


def from_given(data: object, *, classes: Sequence[str] | None = None, name: str = "data") -> Source:
    """The source that something given in Python stands for.

    Args:
        data: a source; images and labels as tensors or arrays, in a pair; a map-style data set of (image, label); or a
            data loader, read once and kept in memory where its batches are not simply the items of its data set.
        classes: names of the labels; by default those of the data set (`.classes`), else the numbers from 0 to the
            largest label.
        name: what reports call it.

    Raises:
        DataError: anything else, or images and labels that break the rules of `from_tensors` and `from_dataset`.
    """
    names = classes or names_of(data)
    if isinstance(data, DataLoader):
        data = data.dataset if _serves_its_items(data) else _pair_of(data)
    if isinstance(data, (tuple, list)) and len(data) == 2:
        images, labels = (_tensor(part, what) for part, what in zip(data, ("images", "labels"), strict=True))
        return from_tensors(images, labels, classes=names or _numbers(labels), name=name)
    if isinstance(data, Dataset) and isinstance(data, Sized):
        return from_dataset(data, classes=names or _numbers(_labels_of(data, name)), name=name)
    if isinstance(data, Source):
        return data
    raise DataError(
        "data are an address, a source, a pair (images, labels) of tensors or arrays, a data set with a length or a "
        f"data loader; got {type(data).__name__}. Put images and labels into two tensors, or see demur.from_dataset."
    )


def unlabelled(data: object, *, name: str = "unknown") -> Source:
    """The source that images without labels stand for: a tensor or array of them, or anything `from_given` takes.

    Raises:
        DataError: anything else.
    """
    if isinstance(data, Tensor) or hasattr(data, "__array__"):
        images = _tensor(data, "images")
        return from_tensors(images, torch.zeros(len(images), dtype=torch.int64), classes=(name,), name=name)
    return from_given(data, name=name)


def names_of(data: object) -> tuple[str, ...] | None:
    """The class names that data bring along, as data sets of torchvision do in `.classes`; None without any."""
    data = data.dataset if isinstance(data, DataLoader) else data
    named = getattr(data, "classes", None)
    return tuple(map(str, named)) if isinstance(named, (list, tuple)) and named else None


def _serves_its_items(loader: DataLoader[Any]) -> bool:
    """Whether its batches are all items of a map-style data set as they are, in whatever order."""
    items = isinstance(loader.dataset, Dataset) and not isinstance(loader.dataset, IterableDataset)
    if not items or loader.collate_fn is not default_collate or type(loader.batch_sampler) is not BatchSampler:
        return False
    match loader.batch_sampler.sampler:
        case SequentialSampler():
            return True
        case RandomSampler(replacement=False, num_samples=count, data_source=rows):
            return count == len(rows)
        case _:
            return False


def _pair_of(loader: DataLoader[Any]) -> tuple[Tensor, Tensor]:
    """All batches of a loader, one after the other."""
    batches = list(loader)
    if not batches or not all(isinstance(batch, (tuple, list)) and len(batch) == 2 for batch in batches):
        raise DataError(
            "a data loader must give batches of (images, labels), at least one; this one gives others. Map its batches "
            "to pairs, or give a data set."
        )
    images, labels = zip(*batches, strict=True)
    return _joined(images, "images"), _joined(labels, "labels")


def _joined(parts: Sequence[object], what: str) -> Tensor:
    try:
        return torch.cat([_tensor(part, what) for part in parts])
    except RuntimeError as error:
        raise DataError(
            f"the {what} of a data loader do not fit together from batch to batch: {brief(str(error))}. Give all of "
            "them the same size."
        ) from None


def _labels_of(dataset: Dataset[Any], name: str) -> Tensor:
    rows = range(len(dataset))  # type: ignore[arg-type]  # torch types only some data sets as sized
    return torch.tensor([_whole(_item(dataset, position, name)[1], position, name) for position in rows])


def _whole(label: object, position: int, name: str) -> int:
    """The label of an item as a number."""
    try:
        number = int(label)  # type: ignore[call-overload]  # whatever is no number says so
        if number == label and abs(number) < _INT64:
            return int(number)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        pass
    raise DataError(
        f"item {position} of {name!r} has the label {brief(repr(label))}; labels must be whole numbers from 0 on. Map "
        "each to the position of its class."
    )


def _tensor(part: object, what: str) -> Tensor:
    """Images or labels as a tensor."""
    try:
        return torch.as_tensor(part)
    except (TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise DataError(
            f"the {what} must be numbers in a tensor or an array; got {type(part).__name__} ({brief(str(error))}). "
            "Write labels as positions among the classes."
        ) from None


def _numbers(labels: Tensor) -> tuple[str, ...]:
    """Names for labels that have none; at least two, since a classifier chooses."""
    found = set(_numbers_in(labels).reshape(-1).tolist())
    if found and min(found) < 0:
        raise DataError(f"labels must be whole numbers from 0 on; got {min(found)}.")
    count = max(2, max(found, default=0) + 1)
    too_many(count, found, "these labels")
    return tuple(map(str, range(count)))


def _numbers_in(labels: Tensor) -> Tensor:
    """Labels as int64; of another type they are refused where the source is made."""
    plain = labels.is_floating_point() or labels.is_complex() or labels.is_quantized
    return torch.empty(0, dtype=torch.int64) if plain else labels.to(torch.int64)


def _group_names(groups: Sequence[str] | None, rows: int) -> tuple[str, ...] | None:
    if groups is not None and len(groups) != rows:
        raise DataError(f"`groups` must name one group per image; got {len(groups)} for {rows} images.")
    return None if groups is None else tuple(legible(str(group)) for group in groups)


def _item(dataset: Dataset[Any], position: int, name: str) -> tuple[Any, Any]:
    try:
        image, label = dataset[position]
    except (DemurError, KeyboardInterrupt):
        raise
    except BaseException as error:  # a data set is code of others, which may raise anything
        raise DataError(
            f"item {position} of {name!r} is not a readable (image, label): {reason(error)}. Leave it out, for "
            "instance with torch.utils.data.Subset."
        ) from error
    return image, label


def _as_tensor(image: object, channels: int | None) -> tuple[Tensor | None, str | None]:
    if isinstance(image, Image):
        try:
            return decode_picture(image, channels)
        except HOSTILE as error:
            return None, f"cannot decode the image: {first_line(error)}"
    if not isinstance(image, Tensor):
        raise DataError(
            f"images must be float tensors in [0, 1] or Pillow images; got {type(image).__name__}. Convert them in the "
            "data set's transform."
        )
    if image.ndim != 3 or not image.is_floating_point():
        shape = tuple(image.shape)
        raise DataError(
            f"images must be floats (channels, height, width) in [0, 1]; got {image.dtype} of the shape {shape}. "
            "Convert to float and divide by 255."
        )
    return image.detach().to("cpu", torch.float32), None
