"""Images as Python has them: pairs, arrays, data sets, loaders."""

import io

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SubsetRandomSampler,
    TensorDataset,
)

from demur.data import build_index, from_given, from_tensors
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
        (([0, 1], [0, 1], [0, 1]), "images must be .*; got int"),
        ({"train": [], "test": []}, r"got dict; choose one of its splits, as in data\['train'\]"),
        ((X, Y - 1), "whole numbers from 0 on; got -1"),
        (((X * 255).int(), Y), "divide by 255"),
        ((X, Y[:5]), "one per image"),
        (DataLoader(X, batch_size=4), "batches of .images, labels."),
        (TensorDataset(X), "not a readable .image, label."),
    ],
)
def test_anything_else_is_refused_with_the_way_out(data, message):
    with pytest.raises(DataError, match=message):
        from_given(data)


def rows_with(*labels):
    return [(torch.zeros(1, 4, 4), label) for label in labels]


class Rows(Dataset):
    def __init__(self, *labels):
        self.rows = rows_with(*labels)

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, at):
        return self.rows[at]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((X, torch.full((10,), 20240101)), "20,240,102 classes.*Ids and dates"),
        ((X, torch.full((10,), 2**62)), "more than 10¹⁵ classes"),
        ((X, torch.full((10,), torch.nan)), "whole numbers, one per image; got torch.float32"),
        ((X, torch.full((10,), 1e30)), "whole numbers, one per image"),
        ((X, torch.zeros(10, dtype=torch.complex64)), "whole numbers, one per image; got torch.complex64"),
        ((X, ["cat", 1] * 5), "the labels must be numbers in a tensor or an array; got list"),
        ((X, [2**70] * 10), "the labels must be numbers"),
        ((X, np.full(10, 2**64 - 1, np.uint64)), "from 0 on"),
        (Rows(0, "cat"), "item 1 of 'data' has the label 'cat'; labels must be whole numbers"),
        (Rows(0, 0.5), "has the label 0.5"),
        (Rows(0, None), "has the label None"),
        (Rows(0, 2**70), "labels must be whole numbers"),
        (Rows(0, torch.tensor([0, 1])), "labels must be whole numbers"),
        (Rows(20240101, 20240102), "20,240,103 classes"),
        (DataLoader(Rows("a", 1), sampler=[0, 1], batch_size=1), "item 0 of 'data' has the label 'a'"),
        (DataLoader(Rows(0, 1e300), sampler=[0, 1]), "whole numbers"),
    ],
)
def test_labels_that_are_no_classes_are_refused(data, message):
    with pytest.raises(DataError, match=message):
        from_given(data)


@pytest.mark.parametrize(
    ("name", "shown"), [("a\nb", r"a\x0ab"), ("\ud800", r"\ud800"), (" ", "' '"), ("x" * 201, "200")]
)
def test_class_names_that_no_screen_shows_are_refused(name, shown):
    with pytest.raises(DataError, match="Rename it") as caught:
        build_index(from_given((X, Y), classes=("cat", name, "dog")))
    assert shown in str(caught.value)


def test_images_without_pixels_are_refused():
    with pytest.raises(DataError, match="without a pixel"):
        build_index(from_given((torch.zeros(10, 1, 0, 4), Y)))


def test_a_picture_that_is_cut_short_is_a_row_with_the_reason():
    out = io.BytesIO()
    Image.effect_noise((40, 40), 90).save(out, "png")
    whole, torn = (Image.open(io.BytesIO(out.getvalue()[:size])) for size in (None, 900))

    class Pictures(Rows):
        def __getitem__(self, at):
            return (whole, torn)[at], at

    first, second = from_given(Pictures(0, 1)).read([0, 1])
    assert first.error is None
    assert second.error.startswith("cannot decode the image: ")
