"""Images that Python already has: tensors, arrays, and data sets of (image, label), whatever library made them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
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

from demur.data.memory_items import Keys, Names, names_in
from demur.data.memory_sets import (
    Items,
    batched_pairs,
    group_names,
    is_iterable_set,
    is_plain_value,
    mapped_source,
    names_of,
    spooled_source,
    streamed_pairs,
)
from demur.data.source import Row, Source
from demur.errors import DataError, brief, legible


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
            image = self.images[position]
            image = image.float() / 255 if image.dtype == torch.uint8 else image.float()
            yield Row(f"{position:06d}", image, int(self.labels[position]), group)


def from_tensors(
    images: Tensor,
    labels: Tensor,
    *,
    classes: Sequence[str],
    groups: Sequence[str] | None = None,
    name: str = "tensors",
) -> TensorSource:
    """A source of images (rows, channels, height, width), floats in [0, 1] or bytes, and integer labels (rows,).

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
    if not (images.is_floating_point() or images.dtype == torch.uint8):
        raise DataError(
            f"`images` must be floats in [0, 1], or bytes; got {images.dtype}. Convert to float and divide by 255."
        )
    if labels.shape != (len(images),) or labels.is_floating_point() or labels.is_complex():
        raise DataError(
            f"`labels` must be {len(images)} whole numbers, one per image; got {labels.dtype} of the shape "
            f"{tuple(labels.shape)}."
        )
    return TensorSource(
        legible(name), tuple(classes), images.detach().cpu(), labels.cpu(), group_names(groups, len(images))
    )


def from_dataset(
    dataset: Any,
    *,
    classes: Sequence[str] | None = None,
    groups: Sequence[str] | None = None,
    name: str = "dataset",
    image: str | None = None,
    label: str | None = None,
) -> Source:
    """A source over any data set of images and labels: of torch, torchvision, datasets, a list of pairs, an iterable.

    What has an item at each position is read one item at a time. Iterables and loaders are read once, into a file in
    the temporary folder, with one image or batch at a time in memory.

    Args:
        dataset: its items are pairs (image, label) or mappings. Images are float tensors (channels, height, width) in
            [0, 1], tensors or arrays of bytes, Pillow images or the bytes of a picture; labels are numbers or names.
        classes: names of the labels, in order; by default those of the data set, else of the labels themselves.
        groups: the unit of independence of each image (patient, camera, lot); by default each is its own.
        name: what reports call it.
        image: the key of the image in items that are mappings.
        label: the key of the label.

    Raises:
        DataError: it is empty, its first image cannot be read, or not one group for each image.
    """
    keys = Keys(image=image, label=label)
    names = classes or names_of(dataset, keys)
    if isinstance(dataset, DataLoader):
        if _serves_its_items(dataset):
            return mapped_source(cast(Items, dataset.dataset), names, groups, name, keys)
        single = dataset.batch_sampler is None  # as with batch_size=None
        pairs = streamed_pairs(dataset, name, keys) if single else batched_pairs(dataset, name, keys)
        return spooled_source(pairs, names, groups, name)
    if is_plain_value(dataset) or not (isinstance(dataset, Items) or is_iterable_set(dataset)):
        raise _no_data(dataset)
    if is_iterable_set(dataset):
        return spooled_source(streamed_pairs(dataset, name, keys), names, groups, name)
    return mapped_source(dataset, names, groups, name, keys)


def from_given(data: object, *, classes: Sequence[str] | None = None, name: str = "data") -> Source:
    """The source that something given in Python stands for.

    Args:
        data: a source; images and labels as tensors or arrays, in a pair; or what `from_dataset` takes.
        classes: names of the labels; by default those of the data set (`.classes`), else the numbers from 0 to the
            largest label, or the names that the labels are, sorted.
        name: what reports call it.

    Raises:
        DataError: anything else, or images and labels that break the rules of `from_tensors` and `from_dataset`.
    """
    if isinstance(data, Source):
        return data
    if isinstance(data, (tuple, list)) and len(data) == 2 and not all(map(_is_item, data)):
        return _from_pair(data[0], data[1], classes, name)
    return from_dataset(data, classes=classes, name=name)


def _from_pair(images: object, labels: object, classes: Sequence[str] | None, name: str) -> TensorSource:
    """A source of images and labels, either in a tensor or array; labels may be a list of names."""
    pictures, numbers = _tensor(_whole_pictures(images), "images"), labels
    if isinstance(labels, (list, tuple, np.ndarray)) and len(labels) and all(isinstance(each, str) for each in labels):
        names = Names.of(classes) if classes else names_in(list(labels), name)
        numbers = [names.number(str(label), f"item {at} of {name!r}") for at, label in enumerate(labels)]
        return from_tensors(pictures, torch.tensor(numbers), classes=names.classes, name=name)
    found = _tensor(numbers, "labels")
    return from_tensors(pictures, found, classes=classes or _numbers(found), name=name)


def _whole_pictures(images: object) -> object:
    """Arrays with their channels second, as tensors have them."""
    if not isinstance(images, np.ndarray) or images.ndim not in (3, 4):
        return images
    if images.ndim == 3:
        return images[:, None]
    last = images.shape[-1] in (1, 3) and images.shape[1] not in (1, 3)
    return images.transpose(0, 3, 1, 2) if last else images


def _is_item(each: Any) -> bool:
    """Whether one of two parts is an image with its label, and no column of images or labels."""
    if isinstance(each, (tuple, list)) and len(each) == 2:
        return isinstance(each[0], Image) or getattr(each[0], "ndim", 0) > 1
    return isinstance(each, dict)


def _no_data(data: object) -> DataError:
    splits = f"; choose one of its splits, as in data[{next(iter(data))!r}]" if isinstance(data, dict) and data else ""
    return DataError(
        "data are an address, a source, a pair (images, labels) of tensors or arrays, a data set with a length, an "
        f"iterable of (image, label) or a data loader; got {type(data).__name__}{splits}. Put images and labels into "
        "two tensors, or see demur.from_dataset."
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
    """Names for labels that have none; labels of another type are refused where the source is made."""
    plain = labels.is_floating_point() or labels.is_complex() or labels.is_quantized
    return names_in([] if plain else list(set(labels.to(torch.int64).flatten().tolist())), "labels").classes
