from collections import Counter
from dataclasses import replace

import pytest
import torch
from tests.data.test_index import Listed

from demur.data import build_index
from demur.data.source import Row
from demur.errors import DataError
from demur.splits import SHARES, SHARES_OF_FEW, assign_splits, own_split, split_of


def row(number, split=None, group=None, pixel=None, **more):
    value = (number if pixel is None else pixel) / 100_000
    return Row(f"{number}", torch.full((1, 2, 2), value), number % 2, group, split=split, **more)


def index_of(rows, **options):
    return build_index(Listed(rows), **options)


@pytest.mark.parametrize("name", ["val", "Validation", " valid ", "calibration", "dev", "VAL"])
def test_names_of_a_split_are_understood(name):
    assert own_split(name, "here") == "val"
    assert own_split("", "here") is own_split(None, "here") is None
    with pytest.raises(DataError, match="row 3: the split 'holdout' is not understood"):
        own_split("holdout", "row 3")


def test_an_own_split_wins():
    splits = ["train", "test", "val", "fit", "tune", "certify"]
    index = index_of([row(number, splits[number % 6]) for number in range(600)])
    for number, split in enumerate(index.splits):
        own = splits[number % 6]
        assert split in ("tune", "certify") if own == "val" else split == own
    shared = Counter(index.splits[2::6])
    assert shared["tune"] / 100 == pytest.approx(0.2 / 0.7, abs=0.13)


@pytest.mark.parametrize("rows", [1000, 5000])
def test_validation_images_tune_and_certify_in_the_usual_proportion(rows):
    shares = SHARES if rows >= 3000 else SHARES_OF_FEW
    units = [f"{number * 2**64 // 10_000:016x}" + "0" * 48 for number in range(10_000)]
    found = Counter(assign_splits(["val", "test"] * 5000, units, rows))
    assert found["test"] == 5000
    assert found["tune"] / 5000 == pytest.approx(shares["tune"] / (shares["tune"] + shares["certify"]), abs=0.001)


@pytest.mark.parametrize("part", ["test", "val"])
def test_a_single_held_out_part_is_shared_out_by_hash(part):
    index = index_of([row(number, part if number % 2 else "train") for number in range(400)])
    plain = index_of([row(number) for number in range(400)])
    assert index.splits[::2] == ("train",) * 200
    assert index.splits[1::2] == plain.splits[1::2]


def test_rows_without_a_split_are_shared_out_and_the_others_stay():
    index = index_of([row(number, "test" if number < 50 else None) for number in range(800)])
    assert index.splits[:50] == ("test",) * 50
    assert set(index.splits[50:]) == {"tune", "certify", "test"}


def test_a_torn_group_is_refused_by_name():
    rows = [row(0, "train", "p1"), row(1, "train", "p2"), row(2, "test", "p3"), row(3, "test", "p2")]
    with pytest.raises(DataError, match=r"tears the group 'p2' apart: image '3' is in 'test', others .* in 'train'"):
        index_of(rows)
    with pytest.raises(DataError, match="others of the group are in 'no split'"):
        index_of([row(0, None, "p"), row(1, "test", "p")])


def test_equal_images_across_a_split_are_counted():
    train = [row(number, "train") for number in range(100)]
    test = [row(number, "test", pixel=number - 60) for number in range(100, 200)]
    assert index_of(train + test).leaks == 60
    assert index_of(train + test, held_out=True).leaks == 60
    assert index_of(train).leaks == 0
    assert index_of([row(number, pixel=number // 2) for number in range(100)]).leaks == 0


def test_training_rows_count_for_nothing_when_left_out():
    rows = [row(number, "train" if number < 3000 else "test") for number in range(3400)]
    assert "fit" not in index_of(rows).splits
    index = index_of(rows, held_out=True, limit=100)
    assert len(index) == 100
    assert "train" not in index.splits


def test_contents_can_be_excluded():
    rows = [row(number) for number in range(100)]
    whole = index_of(rows)
    index = index_of(rows, exclude=frozenset(whole.contents[:30]))
    assert (index.excluded, len(index)) == (30, 70)
    assert index.splits == whole.splits[30:]
    assert whole.excluded == 0
    with pytest.raises(DataError, match="none of the 100 images of listed is left: 100 were trained on"):
        index_of(rows, exclude=frozenset(whole.contents))


def test_what_else_is_known_is_kept():
    rows = [row(0, meta={"site": "a"}, label2=1, weight=0.5), row(1, meta={"age": 3.0}, box=(0, 0, 1, 2)), row(2)]
    index = index_of(rows)
    assert index.meta == {"site": ("a", None, None), "age": (None, 3.0, None)}
    assert index.labels2 == (1, None, None)
    assert index.weights == (0.5, None, None)
    assert index.boxes == (None, (0, 0, 1, 2), None)
    with pytest.raises(DataError, match="image '0' has label 2"):
        index_of([row(0, label2=2), row(1)])


def test_a_role_among_some_keeps_to_them():
    assert split_of("ff" * 32, 100, among=("tune", "certify")) == "certify"
    assert split_of("00" * 32, 100, among=("tune", "certify")) == "tune"


def test_an_unreadable_image_keeps_what_is_known_of_it():
    broken = Row("x", None, 0, "g", "cut short", {"site": "a"}, "test", 1, 0.5)
    odd = Row("y", torch.zeros(1, 3, 3), 1, "h", meta={"site": "b"}, split="test")
    index = index_of([row(0, "test"), row(1, "test"), broken, odd])
    assert index.meta["site"] == (None, None, "a", "b")
    assert index.groups[2:] == ("g", "h")
    assert index.errors[3] == "size 1×3×3 in a set of 1×2×2 images"


@pytest.mark.parametrize("word", ["validation", "Train", "", "bogus"])
def test_a_source_that_calls_a_split_by_a_word_that_is_none_is_refused(word):
    rows = [row(0, "test"), replace(row(1, "test"), split=word), row(2, "test")]
    with pytest.raises(DataError, match=rf"image '1' of listed has the split '{word}'; it must be one of train, fit"):
        index_of(rows)
