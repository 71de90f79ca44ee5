import inspect
import os
import subprocess
import sys

import polars as pl
import pytest

from demur.data.text_table import read_table
from demur.errors import RunError
from demur.files import read_json, write_atomically, write_json
from demur.records import COLUMNS, csv_bytes, frame, read, read_pieces, validate, write_shard, wrong


def shard(condition="clean", rows=4):
    return frame(
        {
            "sample_id": [f"{k:03d}" for k in range(rows)],
            "split": ["test"] * rows,
            "label": list(range(rows)),
            "condition": [condition] * rows,
            "predicted": [0] * rows,
        },
        pl.DataFrame({"logit.0": [0.5] * rows}, schema={"logit.0": pl.Float32}),
        pl.DataFrame({"signal.msp": [0.1 * k for k in range(rows)]}),
    )


def run_with(tmp_path, *conditions):
    entries = []
    for number, condition in enumerate(conditions):
        sha256 = write_shard(tmp_path, f"c{number:03d}-s0000", shard(condition))
        entries.append({"shard": f"c{number:03d}-s0000", "condition": condition, "rows": 4, "sha256": sha256})
    write_json(tmp_path / "manifest.json", entries)
    return tmp_path


def test_a_shard_has_every_column_in_order_then_logits_and_signals():
    table = shard()
    assert table.columns == [*COLUMNS, "logit.0", "signal.msp"]
    assert table["group"].null_count() == 4
    assert table.schema["signal.msp"] == pl.Float64


def test_what_is_written_is_read_in_the_order_of_the_manifest(tmp_path):
    run = run_with(tmp_path, "pgd", "clean")
    assert read(run).equals(pl.concat([shard("pgd"), shard("clean")]))
    assert read(run, "clean").equals(shard("clean"))


def test_a_failing_write_leaves_nothing_and_keeps_the_old_file(tmp_path, monkeypatch):
    target = tmp_path / "a" / "run.json"
    write_atomically(target, b"old")
    for broken in ("fsync", "fdopen"):
        with monkeypatch.context() as patch:
            patch.setattr(os, broken, lambda *_: (_ for _ in ()).throw(OSError("disk full")))
            with pytest.raises(RunError, match=r"cannot write .*: disk full. What was written before is whole"):
                write_atomically(target, b"new")
        assert target.read_bytes() == b"old"
        assert [path.name for path in target.parent.iterdir()] == ["run.json"]
    write_atomically(target, b"new")
    assert target.read_bytes() == b"new"


def test_an_interrupt_in_the_middle_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(tmp_path / "x", b"new")
    assert not list(tmp_path.iterdir())


def test_a_shard_that_breaks_the_schema_is_never_written(tmp_path):
    with pytest.raises(RunError, match="column 'label'"):
        write_shard(tmp_path, "c000-s0000", shard().drop("label"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", COLUMNS)
def test_a_missing_or_mistyped_column_is_named(name):
    with pytest.raises(RunError, match=rf"here: column '{name}' must be .*; found none"):
        validate(shard().drop(name), "here")
    with pytest.raises(RunError, match=rf"here: column '{name}' must be .*; found Int64"):
        validate(shard().with_columns(pl.lit(1, pl.Int64).alias(name)), "here")


def test_two_processes_write_the_same_bytes(tmp_path):
    here = run_with(tmp_path / "here", "clean")
    program = (
        "import sys\nfrom pathlib import Path\nimport polars as pl\n"
        "from demur.records import frame, write_shard\n"
        f"{inspect.getsource(shard)}\n"
        "write_shard(Path(sys.argv[1]), 'c000-s0000', shard())\n"
    )
    for threads in ("1", "3"):
        there = tmp_path / threads
        environment = os.environ | {"POLARS_MAX_THREADS": threads}
        subprocess.run([sys.executable, "-c", program, str(there)], check=True, env=environment)
        name = "records/c000-s0000.parquet"
        assert (there / name).read_bytes() == (here / name).read_bytes()


def test_a_folder_that_holds_no_run_says_so(tmp_path):
    with pytest.raises(RunError, match=r"manifest.json does not exist. A run folder has it once its audit has started"):
        read(tmp_path)


def test_a_condition_without_records_is_named(tmp_path):
    with pytest.raises(RunError, match="has no records of 'pgd'"):
        read(run_with(tmp_path, "clean"), "pgd")
    write_json(tmp_path / "manifest.json", [])
    with pytest.raises(RunError, match=r"has no records. Run the audit to its end"):
        read(tmp_path)


def test_a_missing_shard_is_named(tmp_path):
    run = run_with(tmp_path, "clean", "pgd")
    (run / "records" / "c001-s0000.parquet").unlink()
    with pytest.raises(RunError, match=r"c001-s0000.parquet is in the manifest and not in records"):
        read(run)


@pytest.mark.parametrize("content", [b"", b"not parquet", b"PAR1 cut off"])
def test_an_unreadable_shard_is_named(tmp_path, content):
    run = run_with(tmp_path, "clean")
    (run / "records" / "c000-s0000.parquet").write_bytes(content)
    with pytest.raises(RunError, match=r"c000-s0000.parquet cannot be read .* Run the same audit again"):
        read(run)


@pytest.mark.parametrize("content", [b"{", b"", b"\xff\xfe\x00"])
def test_broken_json_is_named(tmp_path, content):
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(RunError, match=r"run.json is not readable JSON .* Delete it and run the audit again"):
        read_json(tmp_path / "run.json")


def test_json_is_written_sorted_and_never_with_nan(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": [2]})
    assert (tmp_path / "a.json").read_text() == '{\n "a": [\n  2\n ],\n "b": 1\n}\n'
    assert read_json(tmp_path / "a.json") == {"a": [2], "b": 1}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "b.json", {"a": float("nan")})
    assert not (tmp_path / "b.json").exists()


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "'=1", "''=1", "=cmd|' /C calc'!A0"])
def test_a_text_that_is_a_formula_is_defused_and_read_back(tmp_path, text):
    content = csv_bytes(pl.DataFrame({"label": [text, "plain", "a=b", "'tis", None], "number": [-1.5, 0, 1, 2, 3]}))
    back = pl.read_csv(content)
    assert back["label"].to_list() == [f"'{text}", "plain", "a=b", "'tis", None]
    assert back["number"].to_list() == [-1.5, 0, 1, 2, 3]
    (tmp_path / "table.csv").write_bytes(content)
    assert read_table(tmp_path / "table.csv").columns["label"] == [text, "plain", "a=b", "'tis", ""]


def test_rows_without_a_label_are_neither_right_nor_wrong():
    rows = pl.DataFrame({"label": [None, 1], "predicted": [1, 1]})
    with pytest.raises(RunError, match="1 of 2 rows have none"):
        wrong(rows)


def test_some_columns_are_read_shard_by_shard_and_all_are_checked(tmp_path):
    run = run_with(tmp_path, "clean", "clean", "fgsm(eps=0.1)")
    whole = read(run, "clean")
    pieces = list(read_pieces(run, "clean", {"sample_id", "logit.0", "never"}.__contains__))
    assert [piece.columns for piece in pieces] == [["sample_id", "logit.0"]] * 2
    assert pl.concat(pieces).equals(whole.select("sample_id", "logit.0"))
    assert next(read_pieces(run, None, lambda name: name == "condition")).columns == ["condition"]
    path = run / "records" / "c001-s0000.parquet"
    pl.read_parquet(path).drop("margin").write_parquet(path)
    with pytest.raises(RunError, match="column 'margin' must be"):
        list(read_pieces(run, "clean", {"sample_id"}.__contains__))
