"""`demur certify` and `demur labels`: words, JSON, exit status, and no torch."""

import json
import re
import sys

import numpy as np
import polars as pl
import pytest
from tests.house.test_light import COMMAND, python

from demur.cli import main


def table(path, rows=2_000, power=3):
    rng = np.random.default_rng(0)
    score = rng.random(rows)
    label = rng.integers(0, 2, rows)
    pl.DataFrame({"label": label, "predicted": label ^ (rng.random(rows) < score**power), "score": score}).write_csv(
        path
    )
    return path


def said(capsys, *arguments):
    """Exit status, what was printed, what was complained of."""
    sys.argv = ["demur", *map(str, arguments)]
    with pytest.raises(SystemExit) as left:
        main()
    out, err = capsys.readouterr()
    return left.value.code, out, err


def test_a_table_is_certified(tmp_path, capsys):
    status, out, _ = said(capsys, "certify", table(tmp_path / "answers.csv"), "--risk", "0.1")
    assert status == 0
    assert "Certified on score. When it answers, at most 10 in 100 answers are wrong, and it answers at least" in out
    assert "rows that had no part in it" in out


def test_a_refusal_is_status_1_and_says_what_would_help(tmp_path, capsys):
    status, out, _ = said(capsys, "certify", table(tmp_path / "answers.csv"), "--risk", "0.001")
    assert status == 1
    assert "Refused on score. No threshold can be guaranteed" in out
    assert "demur labels" in out


def test_json_is_json(tmp_path, capsys):
    status, out, _ = said(capsys, "certify", table(tmp_path / "answers.csv"), "--coverage", "0.5", "--json")
    found = json.loads(out)
    assert (status, found["signal"], found["certificate"]["capacity"]) == (0, "score", 0.5)
    status, out, _ = said(capsys, "certify", tmp_path / "answers.csv", "--risk", "0.001", "--json")
    assert (status, json.loads(out)["refusal"]["risk"]) == (1, 0.001)


def test_every_class_may_be_kept_to(tmp_path, capsys):
    status, out, _ = said(capsys, "certify", table(tmp_path / "answers.csv"), "--risk", "0.1", "--each-class")
    assert status == 0
    assert "Of the images of each class, at most 10 in 100" in out


@pytest.mark.slow
def test_a_report_needs_no_torch(tmp_path):
    table(tmp_path / "answers.csv")
    found = python(COMMAND, "certify", "answers.csv", "--risk", "0.1", "--out", "run", cwd=tmp_path)
    assert found.returncode == 0, found.stderr
    assert (tmp_path / "run" / "report.html").stat().st_size > 100_000
    again = python(COMMAND, "report", "run", cwd=tmp_path)
    assert again.returncode == 0, again.stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--risk", "0.1", "--coverage", "0.5"], "Give one of --risk and --coverage"),
        (["--risk", "2"], "the risk must be a share"),
        (["--tolerance", "-1"], "widths"),
        (["--signal", "entropy"], r"unknown signal of the table 'entropy'.*Known: score"),
        (["--delta", "nan"], "delta"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, capsys, options, message):
    status, _, err = said(capsys, "certify", table(tmp_path / "answers.csv"), *options)
    assert status == 2
    assert "Traceback" not in err
    assert re.search(message, err.replace("\n", " "))


def test_labels_are_counted(capsys, monkeypatch):
    status, out, _ = said(capsys, "labels", "--risk", "0.02", "--labels", "800", "--positive-rate", "0.01")
    assert status == 0
    assert "of which 159 certify: at the very least" in out
    assert "among about 19,900 images as they come" in out
    assert "With 800 labels, of which 400 certify" in out


def test_labels_by_error_rate(capsys, monkeypatch):
    monkeypatch.setattr("demur.policies.label_budget.DRAWS", 4)
    status, out, _ = said(capsys, "labels", "--risk", "0.05", "--error-rate", "0.1")
    assert status == 0
    assert "A typical model that is wrong on 10 % could answer" in out
    assert re.search(r"answers \d+ % on average, refused in \d+ % of draws", out)
    status, out, _ = said(capsys, "labels", "--risk", "0.05", "--error-rate", "0.1", "--json")
    assert len(json.loads(out)["prospects"]) == 6


def test_few_labels_support_nothing(capsys):
    status, out, _ = said(capsys, "labels", "--labels", "1")
    assert status == 0
    assert "nothing can be guaranteed" in out or "no risk below" in out
