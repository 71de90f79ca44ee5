"""Compact sequences are what a tuple of the same is, in a fraction of its memory."""

import hashlib
import pickle
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from demur.compact import digests_of, texts_of

TEXTS = st.lists(st.text(st.characters(exclude_categories=()), max_size=6), max_size=8)
HASHES = st.lists(st.integers(0, 2**256 - 1).map(lambda number: f"{number:064x}"), max_size=140)


def check(found, plain):
    assert len(found) == len(plain)
    assert tuple(found) == tuple(found[at] for at in range(len(plain))) == plain
    assert tuple(found[at] for at in range(-len(plain), 0)) == plain
    assert found == plain
    assert found == list(plain)
    assert found != (*plain, "more")
    assert not plain or found != ("other", *plain[1:])
    assert found != 3
    for part in (slice(None, 2), slice(1, None), slice(None, None, -1), slice(5, 3)):
        assert found[part] == plain[part]
    again = pickle.loads(pickle.dumps(found))
    assert again == found
    assert tuple(again) == plain
    for beyond in (len(plain), -len(plain) - 1):
        with pytest.raises(IndexError):
            found[beyond]


@given(TEXTS)
def test_texts_are_those_that_were_given(texts):
    check(texts_of(texts), tuple(texts))


@given(HASHES)
def test_hashes_are_those_that_were_given(hashes):
    check(digests_of(hashes), tuple(hashes))


def memory(make):
    tracemalloc.start()
    kept = make()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return size / len(kept)


def test_they_take_little_more_than_what_they_say():
    hashes = [hashlib.sha256(bytes([at % 256, at // 256])).hexdigest() for at in range(20_000)]
    names = [f"class_{at % 7}/{at:08d}.jpeg" for at in range(20_000)]
    assert memory(lambda: digests_of(hashes)) < 40
    assert memory(lambda: texts_of(names)) < 21 + 8 + 4


def test_numbers_of_numpy_lead_to_them():
    hashes = [hashlib.sha256(bytes([at])).hexdigest() for at in range(9)]
    for found in (digests_of(hashes), texts_of(hashes)):
        assert found[np.int64(7)] == hashes[7]
        assert found.index(hashes[5]) == 5


def test_hashes_are_ordered_and_ranked_even_where_their_first_bits_are_the_same():
    same = [f"{7:016x}{number:048x}" for number in (5, 3, 3, 9)]
    texts = [f"{number * 2**250:064x}" for number in (40, 1, 40)] + same
    found = digests_of(texts)
    assert [texts[place] for place in found.order] == sorted(texts)
    assert found.ranks.tolist() == [sorted(set(texts)).index(text) for text in texts]


@given(HASHES)
def test_order_and_ranks_are_those_of_the_texts(hashes):
    hashes = [*hashes, *hashes[::2]]
    found = digests_of(hashes)
    assert [hashes[place] for place in found.order] == sorted(hashes)
    assert found.ranks.tolist() == [sorted(set(hashes)).index(each) for each in hashes]


@given(TEXTS)
def test_texts_tell_whether_one_is_there_twice(texts):
    assert texts_of(texts).any_twice() == (len(set(texts)) < len(texts))


def test_some_are_picked():
    texts = ["a", "", "ä" * 9, "d"]
    places = np.array([3, 0, 0, 2])
    check(texts_of(texts).select(places), ("d", "a", "a", "ä" * 9))
    hashes = [hashlib.sha256(text.encode()).hexdigest() for text in texts]
    check(digests_of(hashes).select(places), tuple(hashes[place] for place in places))
