"""An image that ends the process that measures it, past Python, costs one row, and the same command finishes."""

import json

import polars as pl
import pytest
from tests import deadly, tiny

from demur.pipeline.run.crashes import NAME
from demur.records import read

LOST = [f"{row:06d}" for row in deadly.LOST]
CORRUPTED, ATTACKED = "low_light(severity=3)", "fgsm(eps=0.05)"


def finished(folder, *given):
    """Audit until it is done, by the same command; how often it took."""
    for times in range(1, 6):
        done = deadly.audited(folder, *given)
        if not done.returncode:
            return times
        assert done.returncode < 0, done.stderr[-2000:]
    raise AssertionError(done.stderr[-2000:])


def lost(folder, condition):
    return read(folder, condition).filter(pl.col("error").is_not_null())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return deadly.audit(tmp_path_factory.mktemp("whole") / "run", "never", deadly.segfault)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["segfault", "kill"])
@pytest.mark.parametrize("workers", [1, 2])
def test_an_image_that_ends_processes_under_a_corruption_costs_one_row_there(whole, tmp_path, how, workers):
    folder = tmp_path / "run"
    assert finished(folder, "dark", how, workers) <= 2
    found = lost(folder, CORRUPTED)
    assert found["sample_id"].to_list() == LOST
    signal = {"segfault": "SIGSEGV", "kill": "SIGKILL, as for want of memory"}[how]
    assert set(found["error"]) == {f"the process that measured it ended by {signal}"}
    ours, theirs = tiny.hashes(folder), tiny.hashes(whole)
    assert ours["records/c000-s0000.parquet"] == theirs["records/c000-s0000.parquet"]
    assert ours["records/c001-s0000.parquet"] == theirs["records/c001-s0000.parquet"]


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_an_image_that_ends_processes_under_an_attack_costs_one_row_there(tmp_path, workers):
    """The trials of the measurement meet it first, in the only process: then shards come before them."""
    folder = tmp_path / "run"
    assert finished(folder, "gradient", "segfault", workers) <= 3
    attacked = set(read(folder, ATTACKED)["sample_id"])
    assert lost(folder, ATTACKED)["sample_id"].to_list() == [name for name in LOST if name in attacked]
    assert not len(lost(folder, CORRUPTED))
    assert not len(lost(folder, "clean"))


@pytest.mark.slow
@pytest.mark.parametrize(("how", "times"), [("segfault", 2), ("kill", 3)])
def test_an_image_that_ends_every_process_is_found_before_anything_is_measured(tmp_path, how, times):
    folder = tmp_path / "run"
    assert finished(folder, "always", how, 1) == times
    for condition in ("clean", CORRUPTED):
        assert lost(folder, condition)["sample_id"].to_list() == LOST
    assert sorted(json.loads((folder / NAME).read_text())) == LOST
    assert not {"000003", "000077"} & set(read(folder, ATTACKED)["sample_id"]), "they count as unreadable"
    before = tiny.hashes(folder)
    assert finished(folder, "always", how, 1) == 1
    assert tiny.hashes(folder) == before
