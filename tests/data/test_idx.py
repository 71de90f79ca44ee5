import gzip
import struct

import numpy as np
import pytest

from demur.data import open_data
from demur.errors import DataError, InputError


def idx(values):
    head = bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape)
    return head + values.astype(np.uint8).tobytes()


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (6, 3, 5))


@pytest.fixture
def folder(tmp_path, pixels):
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx(pixels))
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.array([0, 1, 2, 0, 1, 2]))))
    return tmp_path


def test_what_was_written_is_read(folder, pixels):
    source = open_data(f"idx:{folder}")
    rows = list(source.read([4, 0]))
    assert len(source) == 6
    assert source.input_shape == (1, 3, 5)
    assert source.classes == ("0", "1", "2")
    assert source.address == f"idx:{folder}?split=test"
    assert [(row.sample_id, row.label) for row in rows] == [("test/00004", 1), ("test/00000", 0)]
    np.testing.assert_array_equal((rows[0].image[0] * 255).round().int().numpy(), pixels[4])
    assert rows[0].image.numpy().max() <= 1


def test_classes_can_be_named(folder):
    source = open_data(f"idx:{folder}?split=test&classes=a,b,c")
    assert source.classes == ("a", "b", "c")
    assert open_data(source.address).classes == source.classes


def test_labels_that_count_from_one_are_read(folder):
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.array([1, 2, 3, 1, 2, 3]))))
    with pytest.raises(DataError, match=r"labels 1 to 3 and no 0.*\?first_label=1"):
        open_data(f"idx:{folder}")
    source = open_data(f"idx:{folder}?first_label=1")
    assert source.classes == ("1", "2", "3")
    assert [row.label for row in source.read(range(6))] == [0, 1, 2, 0, 1, 2]
    assert open_data(source.address).classes == source.classes
    assert open_data(f"idx:{folder}?first_label=1&classes=a,b,c").classes == ("a", "b", "c")
    assert open_data(f"idx:{folder}?first_label=0").classes == ("0", "1", "2", "3")
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.array([0, 2, 3, 1, 2, 3]))))
    with pytest.raises(DataError, match="the label 0 is not among"):
        open_data(f"idx:{folder}?first_label=1")


@pytest.mark.parametrize(
    ("query", "says"),
    [("?split=val", "'train' or 'test'; got 'val'"), ("?split=train", "has no file train-images-idx3-ubyte")],
)
def test_a_wrong_split_is_refused(folder, query, says):
    with pytest.raises(DataError, match=says):
        open_data(f"idx:{folder}{query}")


def test_an_unknown_option_is_refused(folder):
    with pytest.raises(InputError, match="Did you mean 'split'"):
        open_data(f"idx:{folder}?splt=test")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "starts with nothing"),
        (b"\x89PNG12345678901234", "starts with 89504e47"),
        (idx(np.zeros((6, 3, 5)))[:-1], "cut short"),
        (idx(np.zeros((5, 3, 5))), "5 images and 6 labels"),
    ],
)
def test_a_damaged_file_is_refused(folder, content, says):
    (folder / "t10k-images-idx3-ubyte").write_bytes(content)
    with pytest.raises(DataError, match=says):
        open_data(f"idx:{folder}")


def test_damaged_gzip_is_refused(folder):
    labels = folder / "t10k-labels-idx1-ubyte.gz"
    labels.write_bytes(labels.read_bytes()[:-6])
    with pytest.raises(DataError, match=r"cannot read .*labels"):
        open_data(f"idx:{folder}")
