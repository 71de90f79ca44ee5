"""Columns of choices, numbers, boxes and gaps are what a list of the same is."""

import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.compact import (
    Boxes,
    Compact,
    Growing,
    GrowingBoxes,
    GrowingDigests,
    GrowingGaps,
    Keyed,
    Numbers,
    choices_of,
    digests_of,
    places_of,
)

ITEMS = st.one_of(
    st.none(), st.text(max_size=2), st.integers(-2, 2), st.booleans(), st.floats(-1, 1), st.just(0.0), st.just(-0.0)
)
COLUMNS = st.one_of(
    st.lists(ITEMS, max_size=9),
    st.lists(st.one_of(st.none(), st.floats(allow_nan=False)), max_size=9),
    st.lists(st.none(), max_size=5),
)


def grown(items, growing):
    for item in items:
        growing.add(item)
    return growing.finish()


def same(found, items):
    """Down to how they are written, which tells 1, 1.0, True, 0.0 and −0.0 apart."""
    assert isinstance(found, Compact)
    assert repr([*found]) == repr([found[at] for at in range(len(items))]) == repr([*items])
    assert repr([*pickle.loads(pickle.dumps(found))]) == repr([*items])
    places = np.array([at for at in range(len(items)) for _ in range(at % 3)][::-1], dtype=np.int64)
    assert repr([*found.select(places)]) == repr([items[place] for place in places])
    assert repr([*found.select(np.arange(len(items)))]) == repr([*items])


@given(COLUMNS)
def test_a_column_that_grew_is_what_was_added(items):
    same(grown(items, Growing()), items)


@given(st.lists(ITEMS, max_size=9))
def test_choices_are_those_that_were_given(items):
    same(choices_of(items), items)


@given(st.lists(st.sampled_from([None, "a", "b", "c"]), max_size=12))
def test_choices_are_found(items):
    found = choices_of(items)
    for item in (None, "a", "b", "never"):
        assert places_of(found, item).tolist() == places_of(items, item).tolist()
    assert found.are("a", None).tolist() == [each in {"a", None} for each in items]
    assert set(found.select(np.arange(1, len(items))).choices) <= set(items[1:])


def test_many_choices_lie_in_one_piece():
    items = [f"patient {at % 6000}" for at in range(30_000)]
    same(choices_of(items), items)
    tracemalloc.start()
    kept = choices_of(items)
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size / len(kept) < 2 + 0.2 * (12 + 4) + 1  # of a tuple of texts: 8 for each and 60 for each that is new


def test_columns_without_anything_take_a_byte():
    for growing in (Growing(), GrowingGaps(GrowingDigests(), "00" * 32)):
        found = grown([None] * 1000, growing)
        assert found.codes.nbytes == 1000


@given(st.lists(st.one_of(st.none(), st.tuples(*[st.integers(-(2**40), 2**40)] * 4)), max_size=6))
def test_boxes_and_gaps_are_those_that_were_given(boxes):
    same(grown(boxes, GrowingGaps(GrowingBoxes(), (0, 0, 0, 0))), boxes)


def test_what_is_numbered_is_found_by_its_number():
    hashes = [f"{number:064x}" for number in range(3)]
    found = Keyed(np.array([2, 5, 9]), digests_of(hashes))
    assert dict(found) == dict(zip((2, 5, 9), hashes, strict=True))
    assert (len(found), 5 in found, 4 in found, 10 in found) == (3, True, False, False)
    with pytest.raises(KeyError):
        found[4]
    assert dict(Keyed(np.array([], dtype=np.int64), digests_of([]))) == {}


def test_numbers_and_boxes_are_plain_ones_of_python():
    assert [type(each) for each in Numbers(np.array([1.0, np.nan]))] == [float, type(None)]
    assert all(type(side) is int for side in Boxes(np.array([[1, 2, 3, 4]]))[0])
