from collections import Counter

import pytest

from demur.data import build_index, open_data
from demur.errors import InputError


def test_fashion_is_whole():
    source = open_data("fashion")
    index = build_index(source)
    assert source.address == "fashion"
    assert source.input_shape == (1, 28, 28)
    assert Counter(index.labels.tolist()) == dict.fromkeys(range(10), 1000)
    assert index.duplicates == 0
    assert index.sha256 == "3dc4c4077163a77c6cb702f342e1197dafe8d7fe9ee2ce39796b8bc42a2ca62c"
    assert {split: index.splits.count(split) for split in ("fit", "tune", "certify", "test")} == {
        "fit": 473,
        "tune": 1464,
        "certify": 3998,
        "test": 4065,
    }


def test_the_first_article_is_an_ankle_boot():
    source = open_data("fashion")
    (row,) = source.read([0])
    assert source.classes[row.label] == "Ankle boot"
    assert row.image[0].mean() == pytest.approx(0.1676, abs=1e-3)


def test_digits_are_sixteenths():
    source = open_data("digits")
    rows = list(source.read(range(len(source))))
    assert len(rows) == 1797
    assert source.input_shape == (1, 8, 8)
    assert {float(value) for value in rows[5].image.flatten()} <= {k / 16 for k in range(17)}
    assert max(float(row.image.max()) for row in rows) == 1


@pytest.mark.parametrize(
    ("address", "says"),
    [
        ("fashion:/data", r"takes no location.*idx:/data"),
        ("digits:/data", "takes no location"),
        ("fashion?split=train", "unknown option 'split'"),
        ("fashon", "Did you mean 'fashion'"),
    ],
)
def test_bundled_sets_take_nothing(address, says):
    with pytest.raises(InputError, match=says):
        open_data(address)
