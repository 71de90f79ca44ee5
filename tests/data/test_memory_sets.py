"""Data sets of every library, form and kind of label, all the same images."""

import io
import weakref

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from demur.data import build_index, from_dataset, from_given
from demur.errors import DataError
from demur.testing import check_data

BYTES = torch.randint(0, 256, (6, 3, 8, 20), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
FLOATS = BYTES.float() / 255
LABELS = [0, 1, 0, 1, 1, 0]
WORDS = ["dog" if label else "cat" for label in LABELS]
LAST = BYTES.permute(0, 2, 3, 1).numpy()
PICTURES = [Image.fromarray(each) for each in LAST]


def encoded(picture):
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


class Stream(IterableDataset):
    def __init__(self, items):
        self.items = items

    def __iter__(self):
        return iter(self.items)


class Columns:
    """What datasets has: rows that are mappings, columns by name, features that know the names."""

    def __init__(self, names):
        self.features = {"img": object(), "label": type("ClassLabel", (), {"names": names})()}
        self.read = []

    def __len__(self):
        return 6

    def __getitem__(self, key):
        if isinstance(key, str):
            return LABELS if key == "label" else None
        self.read.append(key)
        return {"img": PICTURES[key], "label": LABELS[key]}


def dicts(images, labels, image="image", label="label"):
    return [{image: one, label: other} for one, other in zip(images, labels, strict=True)]


def pairs(images, labels):
    return list(zip(images, labels, strict=True))


SETS = {
    "tensors of bytes": lambda: pairs(BYTES, LABELS),
    "tensors": lambda: pairs(FLOATS, LABELS),
    "arrays": lambda: pairs(LAST, LABELS),
    "arrays, channels first": lambda: pairs(BYTES.numpy(), LABELS),
    "float arrays": lambda: pairs(FLOATS.numpy().astype(np.float64), np.array(LABELS)),
    "pictures": lambda: pairs(PICTURES, LABELS),
    "bytes of pictures": lambda: pairs(map(encoded, PICTURES), LABELS),
    "mappings": lambda: dicts(PICTURES, LABELS),
    "undecoded": lambda: dicts([{"bytes": encoded(each), "path": None} for each in PICTURES], LABELS, "img"),
    "columns": lambda: Columns(("0", "1")),
    "torch": lambda: TensorDataset(BYTES, torch.tensor(LABELS)),
    "stream": lambda: Stream(pairs(FLOATS, LABELS)),
    "generator": lambda: (each for each in pairs(PICTURES, LABELS)),
    "loader": lambda: DataLoader(dicts(FLOATS, LABELS), batch_size=4),
    "loader of a stream": lambda: DataLoader(Stream(pairs(BYTES, LABELS)), batch_size=4),
    "loader without batches": lambda: DataLoader(Stream(pairs(BYTES, LABELS)), batch_size=None),
    "loader of mappings": lambda: DataLoader(Stream(dicts(FLOATS, LABELS)), batch_size=4),
    "pair of bytes": lambda: (BYTES, torch.tensor(LABELS)),
    "pair of arrays, channels last": lambda: (LAST, LABELS),
}


@pytest.mark.parametrize("form", SETS)
def test_every_form_is_the_same_images(form):
    source = from_given(SETS[form]())
    check_data(source)
    rows = list(source.read(range(6)))
    assert torch.equal(torch.stack([row.image for row in rows]), FLOATS)
    assert [row.label for row in rows] == LABELS
    assert source.classes == ("0", "1")


@pytest.mark.parametrize("form", ["pairs", "stream", "loader", "pair", "array"])
def test_labels_may_be_names(form):
    data = {
        "pairs": pairs(FLOATS, WORDS),
        "stream": Stream(pairs(FLOATS, WORDS)),
        "loader": DataLoader(Stream(pairs(FLOATS, WORDS)), batch_size=4),
        "pair": (FLOATS, WORDS),
        "array": (FLOATS, np.array(WORDS)),
    }[form]
    source = from_given(data)
    assert source.classes == ("cat", "dog")
    assert [row.label for row in source.read(range(6))] == LABELS
    swapped = from_given(data, classes=("dog", "cat"))
    assert [row.label for row in swapped.read(range(6))] == [1 - label for label in LABELS]
    with pytest.raises(DataError, match=r"'dog'.*none of the 2 classes cat, emu"):
        build_index(from_given(data, classes=("cat", "emu")))


def test_names_come_from_features_without_reading_an_image():
    source = from_dataset(data := Columns(["cat", "dog"]))
    assert source.classes == ("cat", "dog")
    assert data.read == [0]  # for the size
    nameless = Columns(None)
    assert from_dataset(nameless).classes == ("0", "1")
    assert nameless.read == [0]


def test_keys_can_be_named():
    data = dicts(FLOATS, LABELS, "scan", "finding")
    source = from_dataset(data, image="scan", label="finding", groups=list("aabbcc"))
    assert [(row.label, row.group) for row in source.read([1, 5])] == [(1, "a"), (0, "c")]
    with pytest.raises(DataError, match=r"no key 'image' or .*; its keys are scan, finding. Name it: .*image='…'"):
        from_dataset(data)
    with pytest.raises(DataError, match=r"no key 'label'.*label='…'"):
        from_dataset(data, image="scan")


def test_grey_arrays_and_bands_are_read():
    grey = from_given([(LAST[0, ..., 0], 0), (LAST[1, ..., 0], 1)])
    assert grey.input_shape == (1, 8, 20)
    bands = from_given([(np.zeros((30, 40, 13), np.uint8), 0), (np.ones((30, 40, 13), np.uint8), 1)])
    assert bands.input_shape == (13, 30, 40)
    with pytest.raises(DataError, match=r"shape \(3, 5, 3\) leaves open"):
        from_given([(np.zeros((3, 5, 3), np.uint8), 0)])
    with pytest.raises(DataError, match=r"got uint16. .*divide by the value of white"):
        from_given([(np.zeros((30, 40), np.uint16), 0)])


def test_a_stream_holds_one_image_at_a_time():
    alive = weakref.WeakSet()
    most = []

    def images():
        for label in LABELS * 20:
            image = torch.rand(3, 8, 8)
            alive.add(image)
            most.append(len(alive))
            yield image, label

    source = from_given(images())
    assert len(source) == 120
    assert max(most) <= 3


def test_a_stream_of_floats_gives_them_back_to_the_last_bit():
    images = torch.rand(4, 1, 5, 6, generator=torch.Generator().manual_seed(1))
    source = from_given(iter(pairs(images, [0, 1, 0, 1])))
    assert torch.equal(torch.stack([row.image for row in source.read([3, 0])]), images[[3, 0]])


def test_a_picture_in_a_stream_that_is_none_is_a_row_with_a_reason():
    source = from_given(iter([(b"no picture", 0), (encoded(PICTURES[0]), 1), (encoded(PICTURES[1]), 0)]))
    rows = list(source.read(range(3)))
    assert [row.error is None for row in rows] == [False, True, True]
    assert rows[0].error.startswith("cannot decode the image")


def failing():
    yield FLOATS[0], 0
    raise ValueError("no such scan")


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (lambda: iter([]), "is empty"),
        (failing, "'data' stopped at item 1: ValueError: no such scan"),
        (lambda: iter([(FLOATS[0], 0, 1)]), r"item 0 of 'data' is not a readable \(image, label\), but a tuple of 3"),
        (lambda: iter([FLOATS[0]]), "but a Tensor"),
        (lambda: iter([(b"", 0)]), "cannot tell the size"),
        (lambda: iter([(FLOATS[0], "a"), (FLOATS[1], 1)]), "item 0 of 'data' has the label 'a'"),
        (
            lambda: DataLoader(Stream(pairs(FLOATS, LABELS)), collate_fn=lambda rows: (FLOATS, [0])),
            "6 images and 1 labels",
        ),
        (lambda: DataLoader(Stream(pairs(FLOATS, LABELS)), collate_fn=len), "this one gives int"),
    ],
)
def test_streams_that_do_not_fit_are_refused(data, says):
    with pytest.raises(DataError, match=says):
        from_given(data())


def test_a_stream_that_never_ends_is_refused(monkeypatch):
    monkeypatch.setattr("demur.data.memory_sets._MOST", 50)
    with pytest.raises(DataError, match="as if it never ended"):
        from_given((FLOATS[0], 0) for _ in iter(int, 1))
