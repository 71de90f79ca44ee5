"""Which rows of a table serve what."""

from dataclasses import replace

import numpy as np
import pytest

from demur.pipeline.table.answers import read_answers
from demur.pipeline.table.table_splits import table_splits
from demur.splits import shares_of


def answers(tmp_path, rows, **columns):
    path = tmp_path / "answers.csv"
    path.write_text("label,predicted,score\n" + "a,a,0.5\n" * rows)
    return replace(read_answers(path), **columns)


@pytest.mark.parametrize("rows", [500, 2_000, 20_000])
def test_rows_are_shared_out_in_the_usual_proportion(tmp_path, rows):
    found = table_splits(answers(tmp_path, rows))
    shares = {name: share for name, share in shares_of(rows).items() if name != "fit"}
    for name, share in shares.items():
        assert (found == name).mean() == pytest.approx(share / sum(shares.values()), abs=2 / np.sqrt(rows))


def test_rows_of_a_group_stay_together(tmp_path):
    groups = np.repeat([f"patient {n}" for n in range(200)], 10)
    found = table_splits(answers(tmp_path, 2_000, group=groups))
    assert all(len(set(found[groups == name])) == 1 for name in set(groups))
    assert len(set(found)) == 3


def test_a_name_keeps_its_split_wherever_its_row_stands(tmp_path):
    names = [f"image {n}" for n in range(2_000)]
    one = dict(zip(names, table_splits(answers(tmp_path, 2_000, sample_id=names)), strict=True))
    two = dict(zip(names[::-1], table_splits(answers(tmp_path, 2_000, sample_id=names[::-1])), strict=True))
    assert one == two


def test_the_tables_own_split_wins(tmp_path):
    own = ["train", "fit", "tune", "certify", "test"] * 200
    found = table_splits(answers(tmp_path, 1_000, split=own))
    assert found.tolist() == ["", "", "tune", "certify", "test"] * 200


def test_validation_rows_place_and_certify(tmp_path):
    own = ["val", "test"] * 500
    found = table_splits(answers(tmp_path, 1_000, split=own))
    assert set(found[::2]) == {"tune", "certify"}
    assert set(found[1::2]) == {"test"}


@pytest.mark.parametrize("name", ["test", "val"])
def test_one_split_alone_says_which_rows_are_held_out(tmp_path, name):
    found = table_splits(answers(tmp_path, 1_000, split=["train", *[name] * 999]))
    assert found[0] == ""
    assert set(found[1:]) == {"tune", "certify", "test"}


def test_rows_that_the_table_leaves_open_are_shared_out(tmp_path):
    found = table_splits(answers(tmp_path, 1_000, split=["test"] * 500 + [None] * 500))
    assert set(found[:500]) == {"test"}
    assert set(found[500:]) == {"tune", "certify", "test"}
