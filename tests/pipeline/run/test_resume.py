"""Kill an audit anywhere; the same command again ends in the same bytes."""

import multiprocessing
import os
import random
import time
from pathlib import Path

import pytest
from tests import every_section, tiny

KILLS = int(os.environ.get("DEMUR_KILLS", "5"))


RUNS = {"conditions": tiny.run, "sections": every_section.run}


def child(folder, which):
    RUNS[which](Path(folder))


def records_of(hashes):
    return {name: content for name, content in hashes.items() if name.startswith("records")}


@pytest.fixture
def processes(monkeypatch):
    """Children of a server that has imported everything, so that starting one costs nothing."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.syspath_prepend(Path(__file__).parents[3])
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.every_section"])
    return context


def started(processes, folder, which):
    process = processes.Process(target=child, args=(str(folder), which))
    process.start()
    return process


@pytest.mark.parametrize("which", RUNS)
def test_records_do_not_tell_how_often_a_run_was_killed(which, processes, tmp_path):
    folder, rng = tmp_path / "run", random.Random(0)
    whole = started(processes, tmp_path / "whole", which)
    whole.join()
    assert whole.exitcode == 0
    begun = time.monotonic()
    again = started(processes, tmp_path / "again", which)
    again.join()
    length = time.monotonic() - begun
    killed = 0
    while killed < KILLS:
        process = started(processes, folder, which)
        process.join(rng.uniform(0, length))
        if process.exitcode is None:
            process.kill()
            process.join()
            killed += 1
            continue
        assert process.exitcode == 0
        assert tiny.hashes(folder) == tiny.hashes(tmp_path / "whole")
        folder = tmp_path / f"run after {killed} kills"
    last = started(processes, folder, which)
    last.join()
    assert last.exitcode == 0
    found = tiny.hashes(folder)
    assert found == tiny.hashes(tmp_path / "whole")
    here = tiny.hashes(RUNS[which](tmp_path / "in this process"))
    assert records_of(found) == records_of(here)
