"""The columns of an index are what a slow and obvious pass over rows gives."""

import hashlib
import json
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.data.test_index import Listed

from demur.data import build_index
from demur.data.image_content import digest
from demur.data.scan import scan_of
from demur.data.source import Row
from demur.splits import assign_splits, split_of, unit_hashes

SPLITS = st.sampled_from([None, "train", "test", "val", "certify"])


def row(number, pixel, split, group):
    image = torch.full((1, 2, 2), pixel / 255)
    meta = {"site": f"s{number % 3}", **({"age": float(number)} if number % 4 else {})}
    return Row(f"image {number}", image, number % 2, split=split, group=group, meta=meta, label2=number % 2 or None)


ROWS = st.lists(st.tuples(st.integers(0, 40), SPLITS), min_size=12, max_size=40).map(
    lambda given_: [
        # one group lies in one split
        row(number, pixel, split, f"{split} {pixel % 5}" if pixel % 2 else None)
        for number, (pixel, split) in enumerate(given_)
    ]
)


def slow(rows, seen, limit, held_out):
    """What is kept and what it serves, row by row."""
    units = [*unit_hashes([one.content for one in seen], [each.group for each in rows])]
    kept = [one for one in seen if not (held_out and one.row.split == "train")]
    count = sum(one.row.split != "train" for one in kept)
    own = {one.row.split for one in seen}
    alone = own - {"train"} in ({"test"}, {"val"})

    def split(one, unit):
        said = one.row.split
        if said is None or (alone and said != "train"):
            return split_of(unit, count)
        return split_of(unit, count, among=("tune", "certify")) if said == "val" else said

    splits = [split(one, unit) for one, unit in zip(seen, units, strict=True)]
    if limit is not None:
        ranked = sorted(kept, key=lambda one: (digest(f"limit\x1f{one.content}".encode()), one.row.sample_id))
        kept = sorted(ranked[:limit], key=lambda one: one.position)
    parts = {one.content: {splits[each.position] for each in seen if each.content == one.content} for one in seen}
    lines = sorted(f"{one.content} {one.row.label}" for one in kept)
    return {
        "sample_ids": [one.row.sample_id for one in kept],
        "contents": [one.content for one in kept],
        "splits": [splits[one.position] for one in kept],
        "groups": [one.row.group for one in kept],
        "leaks": sum(splits[one.position] != "train" and len(parts[one.content]) > 1 for one in kept),
        "duplicates": len(kept) - len({one.content for one in kept}),
        "sha256": digest("\n".join(lines).encode()),
        "labels2": [one.row.label2 for one in kept],
    }


@settings(deadline=None)
@given(ROWS, st.sampled_from([None, 1, 5, 11]), st.booleans())
def test_an_index_is_what_a_slow_pass_gives(rows, limit, held_out):
    if len({each.label for each in rows}) < 2 or all(held_out and each.split == "train" for each in rows):
        return
    source = Listed(rows)
    seen = list(scan_of(source, range(len(source)), labelled=True))
    found = build_index(source, limit=limit, held_out=held_out)
    for name, value in slow(rows, seen, limit, held_out).items():
        own = getattr(found, name)
        assert (own if isinstance(own, (int, str)) else [*own]) == value, name
    left = {one.position: one.content for one in seen if held_out and one.row.split == "train"}
    assert dict(found.learned) == left
    assert {name: [*column] for name, column in found.meta.items()} == {
        name: [rows[at].meta.get(name) for at in found.positions] for name in found.meta
    }


def test_what_is_known_of_rows_is_hashed_as_one_text_of_json_would_be():
    found = build_index(Listed([row(number, number, None, f"g{number // 2}") for number in range(30)]))
    texts = {
        "ids": [*found.sample_ids],
        "images": [*found.contents],
        "labels": found.labels.tolist(),
        "splits": [*found.splits],
        "groups": [*found.groups],
        "second labels": [*found.labels2],
        "label weights": [*found.weights],
        "meta data": sorted((name, [*column]) for name, column in found.meta.items()),
        "training images": [],
    }
    assert found.rows_sha256 == {name: digest(json.dumps(value).encode()) for name, value in texts.items()}


@pytest.mark.parametrize("own", [None, "val", "test", "mixed"])
@pytest.mark.parametrize("rows", [100, 1000, 5000])
def test_splits_are_those_of_each_unit_alone(own, rows):
    units = [hashlib.sha256(f"{number}".encode()).hexdigest() for number in range(2000)]
    said = [["train", None, "val", "test"][at % 4] if own == "mixed" else own for at in range(2000)]
    plain = {"val": "val", "test": "test"} if own == "mixed" else {}
    expected = [
        "train"
        if each == "train"
        else each
        if plain.get(each) == "test"
        else split_of(unit, rows, ("tune", "certify"))
        if plain.get(each) == "val"
        else split_of(unit, rows)
        for each, unit in zip(said, units, strict=True)
    ]
    assert [*assign_splits(said, units, rows)] == expected


def test_the_rows_of_an_index_take_a_hundred_bytes():
    rows = [row(number, 0, None, f"g{number // 3}") for number in range(6000)]
    source = Listed([Row(each.sample_id, torch.rand(1, 2, 2), each.label, group=each.group) for each in rows])
    tracemalloc.start()
    found = build_index(source)
    size, highest = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size / len(found) < 110
    assert highest / len(found) < 260
    assert np.all(found.readable == np.arange(6000))
