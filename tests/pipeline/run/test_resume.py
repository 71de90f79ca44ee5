"""Kill an audit anywhere; the same command again ends in the same bytes."""

import multiprocessing
import os
import random
import signal
import time
from pathlib import Path

import pytest
from tests import every_section, tiny

from demur import seal
from demur.analysis import analyse
from demur.errors import RunError

KILLS = int(os.environ.get("DEMUR_KILLS", "20"))


RUNS = {"conditions": tiny.run, "sections": every_section.run}


def child(folder, which, writes):
    if writes:
        write, left = os.replace, [writes]

        def counted(*given, **named):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            write(*given, **named)

        os.replace = counted
    RUNS[which](Path(folder))


@pytest.fixture
def processes(monkeypatch):
    """Children of a server that has imported everything, so that starting one costs nothing."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.syspath_prepend(Path(__file__).parents[3])
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.every_section"])
    return context


def check_refused(folder):
    """A folder that a killed audit left says no number."""
    with pytest.raises(RunError, match=r"is not finished|is no run folder|does not exist"):
        analyse(folder)


def started(processes, folder, which, writes=0):
    process = processes.Process(target=child, args=(str(folder), which, writes))
    process.start()
    return process


def records_of(hashes):
    return {name: content for name, content in hashes.items() if name.startswith("records")}


def finished(processes, folder, which):
    process = started(processes, folder, which)
    process.join()
    assert process.exitcode == 0
    return tiny.hashes(folder)


@pytest.mark.slow
def test_a_run_killed_while_it_writes_ends_in_the_same_bytes(processes, tmp_path):
    folder = tmp_path / "run"
    killed = started(processes, folder, "sections", writes=40)
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    assert list(folder.rglob(".*.????????")), "what was half written lies there"
    assert 1 < len(list(folder.glob("records/*"))) < 20
    check_refused(folder)
    killed = started(processes, folder, "sections", writes=30)
    killed.join()
    assert killed.exitcode == -signal.SIGKILL
    check_refused(folder)
    found = finished(processes, folder, "sections")
    assert analyse(folder).state == "issued"
    assert found == finished(processes, tmp_path / "whole", "sections")
    assert records_of(found) == records_of(tiny.hashes(RUNS["sections"](tmp_path / "in this process")))
    assert not list(folder.rglob(".*.????????"))


@pytest.mark.slow
@pytest.mark.parametrize("which", RUNS)
def test_records_do_not_tell_how_often_a_run_was_killed(which, processes, tmp_path):
    """Killed at any moment: the clock chooses it and judges nothing."""
    folder, rng, killed = tmp_path / "run", random.Random(0), 0
    whole = finished(processes, tmp_path / "whole", which)
    begun = time.monotonic()
    finished(processes, tmp_path / "again", which)
    length = time.monotonic() - begun
    while killed < KILLS:
        process = started(processes, folder, which)
        process.join(rng.uniform(0, length))
        if process.exitcode is None:
            process.kill()
            process.join()
            killed += 1
            if not seal.is_intact(folder, seal.MANIFEST):
                check_refused(folder)
            continue
        assert process.exitcode == 0
        assert tiny.hashes(folder) == whole
        folder = tmp_path / f"run after {killed} kills"
    assert finished(processes, folder, which) == whole
    assert records_of(whole) == records_of(tiny.hashes(RUNS[which](tmp_path / "in this process")))
