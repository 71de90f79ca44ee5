"""Tables of answers from outside: what is read of them, and what is refused by name."""

from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
import torch

from demur.errors import DataError
from demur.pipeline.table.answers import read_answers
from demur.pipeline.table.logit_scores import LOGIT_SCORES, scores_of
from demur.registry import build

LOGITS = {"logit.0": [2.0, 0.0, 1.0], "logit.1": [1.0, 3.0, 0.5], "logit.2": [0.0, 1.0, 0.25]}
SCORED = {"label": ["cat", "dog", "cat"], "predicted": ["cat", "cat", "cat"], "score": [0.1, 0.7, 0.2]}


def parquet(folder, columns):
    path = folder / "answers.parquet"
    pl.DataFrame(columns).write_parquet(path)
    return path


def csv(folder, text):
    path = folder / "answers.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize("name", LOGIT_SCORES)
@pytest.mark.parametrize("scale", [1e-3, 1.0, 30.0])
def test_a_score_is_that_of_the_signal(name, scale):
    z = (np.random.default_rng(0).normal(size=(200, 7)) * scale).astype(np.float32)
    expected = build("signal", name)(SimpleNamespace(logits=torch.from_numpy(z))).numpy()
    assert scores_of(z, name) == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_logits_say_answers_and_scores(tmp_path):
    found = read_answers(parquet(tmp_path, {"label": [0, 1, 2], **LOGITS}))
    assert found.classes == ("0", "1", "2")
    assert found.predicted.tolist() == [0, 1, 0]
    assert found.wrong.tolist() == [False, False, True]
    assert found.signals == ("msp", "entropy", "margin", "max_logit", "energy")
    assert found.scores("max_logit").tolist() == [-2.0, -3.0, -1.0]


def test_columns_of_logits_are_in_the_order_of_their_numbers(tmp_path):
    found = read_answers(parquet(tmp_path, {"label": [10], **{f"logit.{k}": [float(k)] for k in (10, 9, *range(9))}}))
    assert found.classes == tuple(map(str, range(11)))
    assert found.predicted.tolist() == [10]


def test_classes_may_have_names(tmp_path):
    found = read_answers(csv(tmp_path, "label;logit.ok;logit.crack\ncrack;1.5;2\nok;0;1e3\n"))
    assert found.classes == ("ok", "crack")
    assert (found.label.tolist(), found.predicted.tolist()) == ([1, 0], [1, 1])


@pytest.mark.parametrize("kind", [pl.Int64, pl.Float64, pl.String, pl.Categorical])
def test_labels_may_be_numbers_or_texts_of_numbers(tmp_path, kind):
    labels = pl.Series(["0", "1", "2"]).cast(kind)
    assert read_answers(parquet(tmp_path, {"label": labels, **LOGITS})).label.tolist() == [0, 1, 2]


def test_a_score_with_answers_needs_no_logits(tmp_path):
    found = read_answers(parquet(tmp_path, SCORED))
    assert found.classes == ("cat", "dog")
    assert found.wrong.tolist() == [False, True, False]
    assert found.signals == ("score",)
    assert found.scores("score").tolist() == [0.1, 0.7, 0.2]


def test_parquet_and_csv_say_the_same(tmp_path):
    columns = SCORED | {"group": ["a", None, "a"], "split": ["tune", "certify", "test"], "weight": [1.0, 2.0, 0.5]}
    pl.DataFrame(columns).write_csv(tmp_path / "answers.csv")
    one, two = read_answers(parquet(tmp_path, columns)), read_answers(tmp_path / "answers.csv")
    for each in (one, two):
        assert each.group.tolist() == ["a", "row 1", "a"]
        assert each.split == ["tune", "certify", "test"]
        assert each.weight.tolist() == [1, 2, 0.5]
    assert one.scores("score").tolist() == two.scores("score").tolist()


def test_rows_that_are_not_whole_are_left_out_with_the_reason(tmp_path):
    found = read_answers(csv(tmp_path, "label,predicted,score\na,a,0.5\na,b,\na,a,nan\n,b,0.1\na,,1\nb,a,1\n"))
    assert found.scores("score").tolist() == [0.5, 1]
    assert found.numbers.tolist() == [0, 5]
    undefined = "a score or a logit that is no number"
    assert found.left_out == {1: undefined, 2: undefined, 3: "no label", 4: "no answer"}


def test_rows_without_a_logit_are_left_out(tmp_path):
    found = read_answers(csv(tmp_path, "label,logit.0,logit.1\n0,1,\n1,0,1\n"))
    assert (found.label.tolist(), [*found.left_out]) == ([1], [0])


def test_an_apostrophe_against_formulas_is_none_of_the_name(tmp_path):
    assert read_answers(csv(tmp_path, "label,predicted,score\n'=a,'=a,0.5\nb,b,0\n")).classes == ("=a", "b")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "cannot read|no column `label`"),
        ("label,predicted,score\n", "no rows"),
        ("label,predicted,score\na,a,\n", "a score or a logit that is no number in row 0, and no other"),
        ("predicted,score\na,1\n", "no column `label`; found predicted, score"),
        ("label,predicted\na,a\n", "neither columns `logit"),
        ("label,logit.0\n0,1\n", "one column of logits"),
        ("label,logit.0,logit.1\n7,1,2\n", "label '7' is not among the 2 classes 0, 1"),
        ("label,predicted,score\na,a,high\n", "row 0: 'score' must be a number; got 'high'"),
        ("label,logit.0,logit.1,predicted\n0,1,2,0\n", "row 0: `predicted` is not the class of the largest logit"),
        ("label,predicted,score,weight\na,a,1,-1\n", "`weight` must be finite, not negative"),
        ("label,predicted,score,split\na,a,1,teatime\n", "the split 'teatime' is not understood"),
        ("label,predicted,score\na,a,1,5,6\n", "cannot read"),
        (b"label,predicted,score\n\xff\xfe,a,1\n", "cannot read"),
        (b"PAR1\x00\x01", "no column `label`|cannot read"),
    ],
)
def test_a_table_that_says_nothing_is_refused(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        read_answers(csv(tmp_path, text))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"label": [[0]], **{k: v[:1] for k, v in LOGITS.items()}}, r"column 'label' .* holds List"),
        ({"label": [0], "logit.0": ["x"], "logit.1": ["y"]}, "column 'logit.0' .* must hold one number"),
    ],
)
def test_columns_of_another_kind_are_refused(tmp_path, columns, message):
    with pytest.raises(DataError, match=message):
        read_answers(parquet(tmp_path, columns))


def test_what_is_no_file_is_refused(tmp_path):
    for name in ("none.csv", "none.parquet", "."):
        with pytest.raises(DataError):
            read_answers(tmp_path / name)
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 cut")
    with pytest.raises(DataError, match="as Parquet"):
        read_answers(tmp_path / "cut.parquet")
