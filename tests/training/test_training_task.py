import numpy as np
import pytest
from tests.training.bars import Told, bars

from demur.data import build_index
from demur.errors import DataError
from demur.training.training_task import learns, split

ROWS = 2000


def audited(source, parts, index):
    """The index of an audit of a model that learned from these rows."""
    return build_index(source, exclude={index.contents[row] for row in parts.learned}, held_out=True)


def ids(index, rows):
    return {index.sample_ids[row] for row in rows}


def test_sixty_per_cent_are_learned_and_an_audit_sees_the_others_in_every_split():
    source = bars(ROWS)
    index = build_index(source)
    parts = split(index)
    assert len(parts.learned) / ROWS == pytest.approx(0.6, abs=0.04)
    rest = audited(source, parts, index)
    assert len(rest) == ROWS - len(parts.learned)
    shares = {split: len(rest.rows_of(split)) / len(rest) for split in ("tune", "certify", "test")}
    assert shares == pytest.approx({"tune": 0.2, "certify": 0.5, "test": 0.3}, abs=0.05)


@pytest.mark.parametrize("groups", [None, [f"lot {k // 10}" for k in range(ROWS)]], ids=["images", "groups"])
def test_what_is_looked_at_is_what_an_audit_tunes_on(groups):
    source = bars(ROWS, groups=groups)
    index = build_index(source)
    parts = split(index)
    rest = audited(source, parts, index)
    assert ids(index, parts.tuned) == ids(rest, rest.rows_of("tune"))
    assert not parts.own


def test_a_group_is_learned_as_a_whole_or_not_at_all():
    index = build_index(bars(ROWS, groups=[f"lot {k % 200}" for k in range(ROWS)]))
    learned = {index.groups[row] for row in split(index).learned}
    assert len(split(index).learned) == 10 * len(learned)


def test_being_learned_says_nothing_about_the_place_in_an_audit():
    units = [f"{k * 2**52:016x}" for k in range(4096)]
    learned = np.array([learns(unit) for unit in units])
    assert learned[:2048].mean() == pytest.approx(learned[2048:].mean(), abs=0.05)


def test_unreadable_images_are_not_learned():
    index = build_index(Told(bars(ROWS), unreadable=range(0, ROWS, 3)))
    parts = split(index)
    assert not [row for row in (*parts.learned, *parts.tuned) if index.errors[row]]


def test_a_split_of_one_s_own_wins():
    told = ["train"] * 40 + ["val"] * 400 + ["test"] * 400
    source = Told(bars(840), told)
    index = build_index(source)
    parts = split(index)
    assert parts.learned.tolist() == list(range(40))
    assert set(parts.tuned) < set(range(40, 440))
    rest = audited(source, parts, index)
    assert ids(index, parts.tuned) == ids(rest, rest.rows_of("tune"))
    assert parts.own


def test_images_held_out_by_name_are_never_learned():
    index = build_index(Told(bars(200), ["test"] * 50 + [None] * 150))
    assert set(split(index).learned) < set(range(50, 200))


def test_a_split_without_anything_to_learn_from_is_refused():
    with pytest.raises(DataError, match=r"calls all of them held out\. Name the images to learn from 'train'"):
        split(build_index(Told(bars(50), ["test", "test", "val", "val", "val"] * 10)))


@pytest.mark.parametrize("name", ["test", "val"])
def test_a_split_that_tells_no_row_from_another_is_none(name):
    source = Told(bars(ROWS), [name] * ROWS)
    index = build_index(source)
    parts = split(index)
    rest = audited(source, parts, index)
    assert len(parts.learned) / ROWS == pytest.approx(0.6, abs=0.04)
    assert ids(index, parts.tuned) == ids(rest, rest.rows_of("tune"))
