"""The logits that a report holds: those of the clean rows it counts, and no more than one array of them."""

import numpy as np
import polars as pl
import pytest
from tests import tiny

from demur.analysis.row_sample import clean_logits
from demur.analysis.run_folder import Run
from demur.records import read


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """An audit of images of which two cannot be read."""
    source = tiny.Broken(tiny.source(), {3, 700})
    return Run(tiny.run(tmp_path_factory.mktemp("logits") / "run", source, conditions=("clean",)))


def test_logits_are_those_of_the_rows_in_their_order(run):
    rows = run.rows("clean").select("sample_id")
    slow = rows.join(read(run.path, "clean"), on="sample_id", how="left", maintain_order="left")
    assert len(rows) == tiny.ROWS - 2
    assert run.logits.dtype == np.float32
    assert np.array_equal(run.logits, slow.select("^logit.*$").to_numpy())


def test_of_some_rows_only_theirs_are_held(run):
    chosen = pl.Series(np.arange(tiny.ROWS) % 7 == 4)
    slow = read(run.path, "clean").filter(chosen).select("^logit.*$").to_numpy()
    assert np.array_equal(clean_logits(run.path, chosen, 3), slow)
    assert clean_logits(run.path, chosen & False, 3).shape == (0, 3)


def test_where_none_were_kept_there_is_no_column(run, tmp_path):
    for path in (run.path / "records").glob("*.parquet"):
        (tmp_path / "records").mkdir(exist_ok=True)
        pl.read_parquet(path).drop(pl.selectors.starts_with("logit.")).write_parquet(tmp_path / "records" / path.name)
    (tmp_path / "manifest.json").write_bytes((run.path / "manifest.json").read_bytes())
    assert clean_logits(tmp_path, pl.Series([True] * tiny.ROWS), 3).shape == (tiny.ROWS, 0)
