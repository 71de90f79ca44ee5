"""Rows in columns are the rows that were given."""

import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from demur.data.compact_rows import CompactRows
from demur.data.scan import ScannedRow, ScannedRows
from demur.data.source import Row

VALUES = st.one_of(st.none(), st.text(max_size=2), st.floats(-2, 2), st.integers(0, 2))
ROWS = st.lists(
    st.builds(
        Row,
        st.text(max_size=4),
        st.just(torch.zeros(1, 1, 1)),
        st.integers(-1, 9),
        group=st.one_of(st.none(), st.text(max_size=2)),
        error=st.one_of(st.none(), st.just("not read yet")),
        meta=st.dictionaries(st.sampled_from("abc"), VALUES, max_size=3),
        split=st.sampled_from([None, "train", "val", "test"]),
        label2=st.one_of(st.none(), st.integers(0, 3)),
        weight=st.one_of(st.none(), st.floats(0, 2)),
        box=st.one_of(st.none(), st.just((1, 2, 3, 4))),
    ),
    max_size=6,
)
NAMES = ("sample_id", "label", "group", "error", "split", "label2", "weight", "box")


def told(row):
    return repr([*(getattr(row, name) for name in NAMES), sorted(row.meta.items())])


@given(ROWS)
def test_rows_are_those_that_were_given_without_their_images(rows):
    found = CompactRows.of(rows)
    assert [told(row) for row in found] == [told(row) for row in rows]
    assert all(row.image is None for row in found)
    assert [told(row) for row in found[::-1]] == [told(row) for row in rows[::-1]]
    assert not rows or told(found[-1]) == told(rows[-1])
    said = {
        name: [row.meta.get(name) for row in rows] for name in dict.fromkeys(key for row in rows for key in row.meta)
    }
    assert repr({name: [*column] for name, column in found.metadata.items()}) == repr(said)
    with pytest.raises(IndexError):
        found[len(rows)]


@given(ROWS)
def test_what_a_pass_found_is_what_it_gives(rows):
    seen = [ScannedRow(3 * at, f"{at:064x}", None if at % 2 else f"{at:064x}", row) for at, row in enumerate(rows)]
    found = ScannedRows.of(seen)
    for given_, own in ((seen, found), (seen[1::2], found[1::2])):
        assert [(one.position, one.content, one.mark, told(one.row)) for one in own] == [
            (one.position, one.content, one.mark, told(one.row)) for one in given_
        ]


def test_rows_take_little_more_than_their_ids():
    tracemalloc.start()
    found = CompactRows.of(
        Row(f"class/{at:08d}.png", None, at % 9, error="not read yet", meta={"site": f"s{at % 3}"})
        for at in range(20_000)
    )
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size / len(found) < 18 + 4 + 8 + 6 + 1 + 3  # 580 of objects
    assert np.all(found.labels == np.arange(20_000) % 9)


def test_a_gap_in_a_column_of_numbers_costs_a_byte():
    def memory(gaps):
        tracemalloc.start()
        found = CompactRows.of(
            Row(f"{at:08d}", None, 0, meta={} if at in gaps else {"age": at / 7}) for at in range(20_000)
        )
        size, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert found[5].meta == ({} if 5 in gaps else {"age": 5 / 7})
        return size / len(found)

    assert memory({5, 900}) < memory(()) + 2


def test_names_that_no_row_is_left_of_are_left_out():
    found = CompactRows.of([Row("a", None, 0, meta={"x": None}), Row("b", None, 0, meta={"y": 1.0}), Row("c", None, 0)])
    assert {name: [*column] for name, column in found[1:].metadata.items()} == {"y": [1.0, None]}
    assert [row.meta for row in found[:2]] == [{"x": None}, {"y": 1.0}]
    assert found[2:].metadata == {}
