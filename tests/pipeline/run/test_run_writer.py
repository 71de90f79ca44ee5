import fcntl
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests import tiny

from demur.data import build_index
from demur.errors import InputError, RunError
from demur.files import JOURNAL, locked, read_json, write_json
from demur.pipeline.plan.plan_file import Plan, read_plan
from demur.pipeline.run.planned import Planned
from demur.pipeline.run.run_writer import RunWriter, open_run
from demur.records import shard_entries


def open_and_close(path, plan):
    with open_run(path, plan) as folder:
        return folder


def test_a_second_writer_is_refused_and_the_lock_goes_with_its_holder(tmp_path):
    taken = pytest.raises(RunError, match=r"another process is writing into .*run.*--out")
    with open_run(tmp_path / "run", Plan()), taken:
        open_and_close(tmp_path / "run", Plan())
    open_and_close(tmp_path / "run", Plan())


def test_the_lock_goes_after_an_error(tmp_path):
    with pytest.raises(ZeroDivisionError), open_run(tmp_path, Plan()):
        raise ZeroDivisionError
    with (tmp_path / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_folder_of_another_plan_is_refused_with_what_differs(tmp_path):
    open_and_close(tmp_path, Plan())
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(RunError, match="belongs to another plan") as caught:
        open_and_close(tmp_path, Plan(seed=3))
    assert "seed = 3" in str(caught.value)
    assert "seed = 0" in str(caught.value)
    assert "batch" not in str(caught.value)
    assert "--out" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_in_which_nothing_was_measured_may_be_taken_by_another_plan(tmp_path):
    """A plan that was refused and corrected need not look for another place."""
    open_and_close(tmp_path, Plan())
    open_and_close(tmp_path, Plan(seed=3))
    assert "seed = 3" in (tmp_path / "plan.toml").read_text()


def test_a_folder_that_cannot_be_made_is_an_input_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot write the folder .*file/run: Not a directory. .*--out DIR"):
        open_and_close(tmp_path / "file" / "run", Plan())


def test_what_a_killed_writer_left_is_swept_away_and_nothing_else(tmp_path):
    litter = ["records/.c000-s0000.parquet.ab12_xyz", "thumbs/.3.webp.abcdefgh", ".manifest.json.abcdefgh"]
    kept = ["records/c000-s0000.parquet", "facts/preflight.json", ".results.json.abcdefgh", "records/.own"]
    for name in (*litter, *kept):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    open_and_close(tmp_path, Plan())
    assert [name for name in litter if (tmp_path / name).exists()] == []
    assert [name for name in kept if not (tmp_path / name).exists()] == []


def test_log_lines_are_appended_as_json(tmp_path):
    with open_run(tmp_path, Plan()) as folder:
        folder.log("started")
        folder.log("finished", seconds=1.5)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines] == ["started", "finished"]
    assert lines[1]["seconds"] == 1.5


@pytest.mark.parametrize("harm", ["cut", "removed", "swapped", "unlisted"])
def test_a_damaged_shard_is_measured_again(tmp_path, harm):
    small = {"conditions": ("clean", "low_light(severity=1)")}
    folder = tiny.run(tmp_path / "run", tiny.source(520), **small)
    before = tiny.hashes(folder)
    shard, other = folder / "records" / "c000-s0001.parquet", folder / "records" / "c001-s0000.parquet"
    match harm:
        case "cut":
            shard.write_bytes(shard.read_bytes()[:-9])
        case "removed":
            shard.unlink()
        case "swapped":
            shard.write_bytes(other.read_bytes())
        case "unlisted":
            entries = json.loads((folder / "manifest.json").read_text())
            (folder / "manifest.json").write_text(json.dumps(entries[1:]))
    assert len(RunWriter(folder).shards()) == 3
    kept = other.stat().st_mtime_ns
    tiny.run(folder, tiny.source(520), **small)
    assert tiny.hashes(folder) == before
    assert other.stat().st_mtime_ns == kept, "an intact shard was written again"


def stopped(path, monkeypatch):
    """The folder of an audit that was stopped after its clean shards, and its journal."""
    with monkeypatch.context() as patch:
        tiny.interrupt(patch, lambda condition: condition.name != "clean")
        with pytest.raises(KeyboardInterrupt):
            tiny.run(path, tiny.source(520), **SMALL)
    return path, path / JOURNAL


SMALL = {"conditions": ("clean", "low_light(severity=1)")}


def test_a_shard_costs_a_line_however_many_there_are(tmp_path, monkeypatch):
    writes = []
    replace = os.replace
    monkeypatch.setattr(Path, "replace", lambda path, to: writes.append(Path(to).name) or replace(path, to))
    tiny.run(tmp_path, tiny.source(2000), **SMALL)
    assert writes.count("manifest.json") == 2
    assert len(read_json(tmp_path / "manifest.json")) == 8
    assert not (tmp_path / JOURNAL).exists(), "a finished run has its manifest"


@pytest.mark.parametrize("torn", [b'{"check": "0011", "condi', b"\xff\xfe", b'{"shard": "c001-s0000"}\n'])
def test_a_torn_last_line_of_the_journal_is_left_out_and_lines_follow_it(tmp_path, monkeypatch, torn):
    whole = tiny.hashes(tiny.run(tmp_path / "whole", tiny.source(520), **SMALL))
    folder, journal = stopped(tmp_path / "run", monkeypatch)
    before = journal.read_bytes()
    journal.write_bytes(before + torn)
    assert set(RunWriter(folder).shards()) == {"c000-s0000", "c000-s0001"}
    kept = (folder / "records" / "c000-s0001.parquet").stat().st_mtime_ns
    open_and_close(folder, read_plan(folder / "plan.toml"))
    assert journal.read_bytes() == before
    tiny.run(folder, tiny.source(520), **SMALL)
    assert tiny.hashes(folder) == whole
    assert (folder / "records" / "c000-s0001.parquet").stat().st_mtime_ns == kept


def test_a_changed_line_of_the_journal_is_measured_again(tmp_path, monkeypatch):
    folder, journal = stopped(tmp_path, monkeypatch)
    journal.write_text(journal.read_text().replace('"rows": 8', '"rows": 9'))
    assert set(RunWriter(folder).shards()) == {"c000-s0000"}
    listed = [entry | {"rows": entry["rows"] + 1} for entry in shard_entries(folder)]
    journal.unlink()
    write_json(folder / "manifest.json", listed)
    assert RunWriter(folder).shards() == {}


def test_a_run_that_an_earlier_version_stopped_goes_on(tmp_path, monkeypatch):
    """It has its shards in the manifest, which is not sealed, and no journal."""
    whole = tiny.hashes(tiny.run(tmp_path / "whole", tiny.source(520), **SMALL))
    folder, journal = stopped(tmp_path / "run", monkeypatch)
    write_json(folder / "manifest.json", shard_entries(folder))
    journal.unlink()
    kept = (folder / "records" / "c000-s0000.parquet").stat().st_mtime_ns
    tiny.run(folder, tiny.source(520), **SMALL)
    assert tiny.hashes(folder) == whole
    assert (folder / "records" / "c000-s0000.parquet").stat().st_mtime_ns == kept


def test_shards_of_another_size_are_measured_again(tmp_path, monkeypatch):
    """An earlier version may have had more rows in a shard of large images."""
    folder, _ = stopped(tmp_path, monkeypatch)
    writer, index = RunWriter(folder), build_index(tiny.source(520))
    sizes = {"c000-s0000": np.arange(512), "c000-s0001": np.arange(512, 520)}
    found = {name: Planned(condition="clean", rows=rows, index=index) for name, rows in sizes.items()}
    assert writer.intact(found) == {"c000-s0000", "c000-s0001"}
    assert writer.intact(found | {"c000-s0000": replace(found["c000-s0000"], rows=np.arange(64))}) == {"c000-s0001"}


def test_a_lock_whose_file_was_removed_locks_nobody_out_and_is_not_taken(tmp_path, monkeypatch):
    """As where whoever was refused an empty folder removes what it made, while another waits at the door."""
    take = fcntl.flock

    def late(lock, how):
        (tmp_path / "lock").unlink()
        take(lock, how)

    monkeypatch.setattr(fcntl, "flock", late)
    with pytest.raises(RunError, match="another process is writing into"), locked(tmp_path):
        pass
    monkeypatch.undo()
    with locked(tmp_path):
        assert (tmp_path / "lock").exists()
