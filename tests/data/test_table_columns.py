import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.data.table_columns import Columns, labels_of, numbers_or_text
from demur.errors import DataError

CELLS = st.lists(st.none() | st.text(max_size=8) | st.integers(-999, 999) | st.floats(allow_infinity=False))


@given(CELLS)
def test_a_column_is_numbers_or_text_as_a_whole(values):
    cells = numbers_or_text(values)
    assert len(cells) == len(values)
    kinds = {type(cell) for cell in cells if cell is not None}
    assert kinds in (set(), {str}, {float})
    assert all(math.isfinite(cell) for cell in cells if isinstance(cell, float))
    assert numbers_or_text(cells) == cells


@given(st.lists(st.text(min_size=1, max_size=6), min_size=1))
def test_labels_are_positions_among_the_classes(names):
    if any(set(name) & set("|;[({") for name in names):
        return
    labels = labels_of(names, "here")
    for name in names:
        if name.strip():
            assert labels.classes[labels.number(name, "here")] == name.strip()


@pytest.mark.parametrize(
    ("values", "declared", "classes", "numbers"),
    [
        ([2, 0, 2], (), ("0", "1", "2"), [2, 0, 2]),
        ([2.0, 0.0], (), ("0", "1", "2"), [2, 0]),
        (["b", "a", "b"], (), ("a", "b"), [1, 0, 1]),
        ([1, 0], ("dog", "cat"), ("dog", "cat"), [1, 0]),
        ([7, 3], ("7", "3"), ("7", "3"), [0, 1]),
        ([True, False], (), ("False", "True"), [1, 0]),
        ([1, 2], ("x", "y", "z"), ("x", "y", "z"), [1, 2]),
        ([1, 3], (), ("0", "1", "2", "3"), [1, 3]),
    ],
)
def test_numbers_and_names(values, declared, classes, numbers):
    labels = labels_of(values, "here", declared)
    assert labels.classes == classes
    assert [labels.number(value, "here") for value in values] == numbers


def test_meta_columns_come_from_the_prefix_and_from_the_option():
    read = Columns.of(
        ["path", "meta.site", "age", "group", "reader"], {"meta": "age,group", "label2": "reader"}, "here"
    )
    assert read.meta == {"site": "meta.site", "age": "age", "group": "group"}
    assert (read.group, read.label2, read.split, read.weight) == ("group", "reader", None, None)
    assert read.used == ["group", "reader", "meta.site", "age"]
    with pytest.raises(DataError, match=r"unknown column 'ages'. Did you mean 'age'"):
        Columns.of(["age"], {"meta": "ages"}, "here")


@pytest.mark.parametrize("label", [3, -1, "3", None, 0.5])
def test_a_number_that_is_no_class_is_refused(label):
    with pytest.raises(DataError, match="row 7: the label"):
        labels_of([0, 1, 2], "here").number(label, "row 7")
