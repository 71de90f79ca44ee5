"""A process that dies leaves word of what it was at; one that ends in any other way leaves nothing."""

import subprocess
import sys

import pytest

from demur.pipeline.run.flight import AT, CRASH, Flight

DIES = """
import ctypes, os, signal, sys
from pathlib import Path
from demur.pipeline.run.flight import Flight
flight = Flight(Path(sys.argv[1]))
with flight.watched(), flight.at(sys.argv[2]):
    ctypes.string_at(0) if sys.argv[3] == "crash" else os.kill(os.getpid(), signal.SIGKILL)
"""


def died(folder, what, how):
    subprocess.run([sys.executable, "-c", DIES, str(folder), what, how], check=False, timeout=60)
    return Flight(folder)


def test_a_fatal_signal_is_known_with_its_line(tmp_path):
    flight = died(tmp_path, "trials", "crash")
    assert (flight.death.what, flight.death.by, flight.death.times) == ("trials", "SIGSEGV", 1)
    assert flight.death.suspicious
    assert not flight.death.at_shard
    assert 'File "<string>", line 7' in flight.death.trace
    assert flight.death.how == "ended by SIGSEGV"
    again = Flight(tmp_path)
    assert again.death.by == "SIGSEGV", "known to whoever comes next, too"


def test_a_process_that_was_killed_is_suspicious_the_second_time(tmp_path):
    first = died(tmp_path, "trials", "kill")
    assert (first.death.by, first.death.suspicious) == ("", False)
    second = died(tmp_path, "trials", "kill")
    assert (second.death.times, second.death.suspicious) == (2, True)
    assert died(tmp_path, "another", "kill").death.times == 1


def test_a_crash_at_a_shard_makes_a_run_careful_until_its_end(tmp_path):
    flight = died(tmp_path, "c001-s0000", "crash")
    assert flight.death.at_shard
    assert flight.careful
    with pytest.raises(KeyboardInterrupt), flight.watched(), flight.at("trials"):
        raise KeyboardInterrupt
    flight = Flight(tmp_path)
    assert flight.careful
    assert flight.death is None
    with flight.watched(), flight.at("trials"):
        pass
    assert not Flight(tmp_path).careful
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_what_ends_otherwise_leaves_nothing(tmp_path, error):
    flight, seen = Flight(tmp_path), []

    def work():
        with flight.watched(), flight.at("trials"):
            seen.extend(path.name for path in tmp_path.iterdir())
            raise error

    with pytest.raises(error):
        work()
    assert AT in seen
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", ["", "{", "[]", '{"what": 3}', '{"what": "trials"}', '{"what": null, "times": 1}'])
def test_word_that_was_cut_tells_of_no_death(tmp_path, content):
    (tmp_path / AT).write_text(content)
    (tmp_path / CRASH).write_text("Fatal Python error: Segmentation fault\n")
    assert Flight(tmp_path).death is None


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path):
    with Flight(tmp_path / "gone").watched(), Flight(tmp_path / "gone").at("trials"):
        pass
