"""A run goes on by what its shards hold: three faults that another tool's resume had, and none of which stops it."""

import json

import polars as pl
import pytest
from tests import tiny

from demur import seal
from demur.files import JOURNAL, checked_line, read_json
from demur.pipeline.run.effort import Effort
from demur.pipeline.run.run_writer import RunWriter

PLAN = {"conditions": ("clean", "low_light(severity=1)", "low_light(severity=2)"), "checks": {"preprocessing": 0}}


def audit(folder):
    return tiny.run(folder, tiny.source(520), **PLAN)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return tiny.hashes(audit(tmp_path_factory.mktemp("whole") / "run"))


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """A run that was stopped before its last two shards, and the shards it measures when it goes on."""
    keep, measured = Effort._keep, []

    def until_last(effort, task, found):
        if task.name == "c002-s0000":
            raise KeyboardInterrupt
        keep(effort, task, found)

    with monkeypatch.context() as patch:
        patch.setattr(Effort, "_keep", until_last)
        with pytest.raises(KeyboardInterrupt):
            audit(tmp_path / "run")
    monkeypatch.setattr(
        Effort, "_keep", lambda effort, task, found: [measured.append(task.name), keep(effort, task, found)]
    )
    return tmp_path / "run", measured


def rewritten(folder, change):
    """The journal with every entry as `change` gives it, as if it had been written so."""
    entries = [json.loads(line) for line in (folder / JOURNAL).read_text().splitlines()]
    lines = [json.dumps(checked_line(change(entry)), sort_keys=True) for entry in entries]
    (folder / JOURNAL).write_text("".join(f"{line}\n" for line in lines))


def test_stale_index_filter_a_shard_of_other_images_at_the_same_place_is_measured_anew(whole, stopped):
    folder, measured = stopped
    path = folder / "records" / "c000-s0000.parquet"
    table = pl.read_parquet(path)
    moved = table.with_columns(pl.concat([table["sample_id"][1:], table["sample_id"][:1]]))
    moved.write_parquet(path)
    sha256 = seal.file_sha256(path)
    rewritten(folder, lambda entry: entry | ({"sha256": sha256} if entry["shard"] == "c000-s0000" else {}))
    assert "c000-s0000" in RunWriter(folder).shards(), "it is as it was written"
    audit(folder)
    assert measured == ["c000-s0000", "c002-s0000", "c002-s0001"]
    assert tiny.hashes(folder) == whole


def test_shard_renumbering_a_shard_under_another_number_is_measured_anew(whole, stopped):
    """As if conditions had come in another order: the shards of the first corruption lie where others belong."""
    folder, measured = stopped
    for shard in ("s0000", "s0001"):
        (folder / "records" / f"c001-{shard}.parquet").rename(folder / "records" / f"c002-{shard}.parquet")
    rewritten(folder, lambda entry: entry | {"shard": entry["shard"].replace("c001", "c002")})
    assert {"c002-s0000", "c002-s0001"} <= set(RunWriter(folder).shards())
    audit(folder)
    assert measured == ["c001-s0000", "c001-s0001", "c002-s0000", "c002-s0001"]
    assert tiny.hashes(folder) == whole


@pytest.mark.parametrize("line", ["", "{", '{"shard": "c001-s0000"}', "null", "[" * 100_000, "\x00\ufffd"])
def test_one_malformed_row_does_not_end_the_resume_and_costs_nothing_else(whole, stopped, line):
    folder, measured = stopped
    lines = (folder / JOURNAL).read_text().splitlines()
    (folder / JOURNAL).write_text("\n".join([*lines[:1], line, *lines[1:]]) + "\n")
    audit(folder)
    assert measured == ["c002-s0000", "c002-s0001"]
    assert tiny.hashes(folder) == whole


def test_a_finished_run_that_still_has_some_of_its_journal_loses_it(tmp_path):
    folder = tiny.run(tmp_path / "run", conditions=("clean",))
    before = tiny.hashes(folder)
    (folder / JOURNAL).write_text(f"{json.dumps(read_json(folder / 'manifest.json')[0])}\n")
    assert tiny.hashes(tiny.run(folder, conditions=("clean",))) == before
    assert not (folder / JOURNAL).exists()
