"""Looks at the labels of tables are counted, whatever is tried again."""

import numpy as np
import polars as pl
import pytest
from tests.pipeline.table.test_table_certificate import table

from demur.errors import RunError
from demur.pipeline.table.answers import read_answers
from demur.pipeline.table.table_certificate import STEP
from demur.pipeline.table.table_look import LEDGER, row_ids, table_look

RISK = "certified(risk=0.1, delta=0.05)"


def look(path, statement=RISK, signal=None, ledger=None):
    return table_look(read_answers(path), statement, signal, STEP, ledger).number


def test_an_identical_repeat_is_the_same_look(tmp_path):
    path = table(tmp_path / "answers.parquet")
    assert [look(path), look(path)] == [1, 1]
    pl.read_parquet(path).write_csv(tmp_path / "copy.csv")
    assert look(path) == 1


def test_another_statement_or_menu_is_another_look(tmp_path):
    other = np.random.default_rng(1).random(3_000)
    path = table(tmp_path / "answers.parquet", **{"signal.other": other})
    laxer = "certified(risk=0.2, delta=0.05)"
    assert [look(path), look(path, laxer), look(path, signal="score"), look(path)] == [1, 2, 3, 1]


def test_one_more_label_is_another_look_and_new_rows_of_the_same_file_too(tmp_path):
    path = table(tmp_path / "answers.parquet")
    assert look(path) == 1
    more = pl.concat([pl.read_parquet(path), pl.DataFrame({"label": [0], "predicted": [0], "score": [0.5]})])
    more.write_parquet(path)
    assert look(path) == 2
    table(path, seed=1)
    assert look(path) == 3


def test_a_table_of_other_rows_and_another_name_is_another_series(tmp_path):
    assert look(table(tmp_path / "one.parquet")) == 1
    assert look(table(tmp_path / "two.parquet", seed=1)) == 1


def test_another_model_on_the_same_images_is_another_look(tmp_path):
    names = [f"image {n}" for n in range(3_000)]
    assert look(table(tmp_path / "one.parquet", sample_id=names)) == 1
    assert look(table(tmp_path / "two.parquet", seed=1, sample_id=names)) == 2


def test_the_ledger_may_lie_elsewhere_and_must_be_whole(tmp_path):
    path, ledger = table(tmp_path / "answers.parquet"), tmp_path / "other" / "ledger.jsonl"
    ledger.parent.mkdir()
    assert look(path, ledger=ledger) == 1
    assert not (tmp_path / LEDGER).exists()
    ledger.write_text(ledger.read_text().replace('"source"', '"sauce"'))
    with pytest.raises(RunError, match=r"ledger\.jsonl"):
        look(path, ledger=ledger)


def test_rows_are_told_apart_by_what_was_answered(tmp_path):
    answers = read_answers(table(tmp_path / "answers.parquet", rows=20_000))
    assert len(np.unique(row_ids(answers))) == 20_000
    bits = np.unpackbits(row_ids(answers).view(np.uint8)).reshape(20_000, 64).mean(axis=0)
    assert bits == pytest.approx(np.full(64, 0.5), abs=0.02)
