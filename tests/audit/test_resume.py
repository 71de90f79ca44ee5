"""Kill an audit anywhere; the same command again ends in the same bytes."""

import multiprocessing
import os
import random
import time
from pathlib import Path

import pytest
from tests import tiny

KILLS = int(os.environ.get("DEMUR_KILLS", "5"))


def child(folder):
    tiny.run(Path(folder))


@pytest.fixture
def processes(monkeypatch):
    """Children of a server that has imported everything, so that starting one costs nothing."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.syspath_prepend(Path(__file__).parents[2])
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.tiny"])
    return context


def started(processes, folder):
    process = processes.Process(target=child, args=(str(folder),))
    process.start()
    return process


def test_records_do_not_tell_how_often_a_run_was_killed(finished, processes, tmp_path):
    folder, rng = tmp_path / "run", random.Random(0)
    whole = started(processes, tmp_path / "whole")
    whole.join()
    assert whole.exitcode == 0
    begun = time.monotonic()
    again = started(processes, tmp_path / "again")
    again.join()
    length = time.monotonic() - begun
    killed = 0
    while killed < KILLS:
        process = started(processes, folder)
        process.join(rng.uniform(0, length))
        if process.exitcode is None:
            process.kill()
            process.join()
            killed += 1
            continue
        assert process.exitcode == 0
        assert tiny.hashes(folder) == tiny.hashes(tmp_path / "whole")
        folder = tmp_path / f"run after {killed} kills"
    last = started(processes, folder)
    last.join()
    assert last.exitcode == 0
    found = tiny.hashes(folder)
    assert found == tiny.hashes(tmp_path / "whole")
    assert {name: content for name, content in found.items() if name.startswith("records")} == {
        name: content for name, content in tiny.hashes(finished).items() if name.startswith("records")
    }
