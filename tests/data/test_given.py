"""Images as Python has them: pairs, arrays, data sets, loaders."""

import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    RandomSampler,
    SubsetRandomSampler,
    TensorDataset,
)

from demur.data import from_given, from_tensors
from demur.errors import DataError

X, Y = torch.rand(10, 3, 8, 8, generator=torch.Generator().manual_seed(0)), torch.arange(10) % 3


class Named(TensorDataset):
    classes = ("cat", "dog", "frog")


def stacked(rows):
    images, labels = zip(*rows, strict=True)
    return torch.stack(images), torch.stack(labels)


class Stream(IterableDataset):
    def __iter__(self):
        return iter(zip(X, Y, strict=True))


def contents(source):
    rows = list(source.read(range(len(source))))
    return torch.stack([row.image for row in rows]), [row.label for row in rows]


@pytest.mark.parametrize(
    "data",
    [
        (X, Y),
        [X, Y],
        (X.numpy(), Y.numpy()),
        TensorDataset(X, Y),
        DataLoader(TensorDataset(X, Y), batch_size=4),
        DataLoader(TensorDataset(X, Y), batch_size=4, collate_fn=stacked),
        DataLoader(Stream(), batch_size=3),
        from_tensors(X, Y, classes=("0", "1", "2")),
    ],
    ids=["pair", "list", "arrays", "data set", "loader", "own collate", "stream", "source"],
)
def test_every_shape_of_data_is_the_same_images(data):
    source = from_given(data)
    images, labels = contents(source)
    assert torch.equal(images, X)
    assert labels == Y.tolist()
    assert source.classes == ("0", "1", "2")
    assert source.input_shape == (3, 8, 8)


@pytest.mark.parametrize(
    "rows",
    [
        {"sampler": SubsetRandomSampler([1, 4, 7])},
        {"batch_sampler": BatchSampler(SubsetRandomSampler([1, 4, 7]), 2, drop_last=False)},
        {"sampler": RandomSampler(X, num_samples=3)},
    ],
    ids=["subset", "batches of a subset", "some at random"],
)
def test_a_loader_of_some_items_gives_these_and_their_names(rows):
    source = from_given(DataLoader(Named(X, Y), **rows))
    assert len(source) == 3
    assert source.classes == ("cat", "dog", "frog")


def test_what_a_loader_does_to_its_batches_is_kept():
    loader = DataLoader(TensorDataset(X, Y), batch_size=4, collate_fn=lambda rows: (
        torch.stack([image / 2 for image, _ in rows]), torch.stack([label for _, label in rows])))  # fmt: skip
    assert torch.equal(contents(from_given(loader))[0], X / 2)


def test_names_come_from_the_data_set_or_the_caller():
    assert from_given(Named(X, Y)).classes == ("cat", "dog", "frog")
    assert from_given((X, Y), classes=("a", "b", "c")).classes == ("a", "b", "c")
    assert from_given((X, torch.zeros(10, dtype=torch.long))).classes == ("0", "1")
    assert from_given((np.zeros((2, 1, 4, 4), np.float32), np.array([0, 4]))).classes == ("0", "1", "2", "3", "4")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (X, "a pair .* got Tensor"),
        (None, "got NoneType"),
        (([0, 1], [0, 1], [0, 1]), "got tuple"),
        ((X, Y - 1), "whole numbers from 0 on; got -1"),
        (((X * 255).byte(), Y), "divide by 255"),
        ((X, Y[:5]), "one per image"),
        (DataLoader(X, batch_size=4), "batches of .images, labels."),
        (TensorDataset(X), "not a readable .image, label."),
    ],
)
def test_anything_else_is_refused_with_the_way_out(data, message):
    with pytest.raises(DataError, match=message):
        from_given(data)
