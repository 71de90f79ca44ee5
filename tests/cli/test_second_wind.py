"""The command line goes on in a new process where one died, and ends as the last one did."""

import os
import signal
import subprocess
import sys
import time

import pytest

WORK = """
import os, signal, sys, time
from pathlib import Path
from demur.cli import second_wind
second_wind._wait = lambda seconds: None
sys.argv = ["demur", *sys.argv[2:]]
second_wind.take_second_wind()
lives = Path("lives")
lives.write_text(lives.read_text() + f"{os.getpid()}\\n" if lives.exists() else f"{os.getpid()}\\n")
def work(life):
    BODY
work(len(lives.read_text().split()))
"""


def code(body):
    return WORK.replace("BODY", body)


def started(folder, body, *words):
    return subprocess.Popen(
        [sys.executable, "-c", code(body), "-", *(words or ("audit",))],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(folder, body, *words):
    process = started(folder, body, *words)
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err, (folder / "lives").read_text().split()


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE", "SIGKILL"])
def test_a_process_that_died_is_followed_by_another(tmp_path, name):
    body = f"os.kill(os.getpid(), signal.{name}) if life < 3 else (print('done'), sys.exit(3))"
    status, out, err, lives = ended(tmp_path, body)
    assert (status, out, len(set(lives))) == (3, "done\n", 3)
    assert err == f"demur: the process ended by {name}; another goes on where it stopped\n" * 2


def test_there_is_an_end_to_it(tmp_path):
    status, _, err, lives = ended(tmp_path, "os.kill(os.getpid(), signal.SIGSEGV)")
    assert status == -signal.SIGSEGV
    assert len(lives) == 6
    assert err.endswith("and so did those that went on. What was measured is whole; the same command continues.\n")


def test_other_commands_and_ends_are_left_alone(tmp_path):
    assert ended(tmp_path, "os.kill(os.getpid(), signal.SIGSEGV)", "list")[0] == -signal.SIGSEGV
    assert len((tmp_path / "lives").read_text().split()) == 1
    (tmp_path / "lives").unlink()
    assert ended(tmp_path, "sys.exit(70)")[0] == 70
    assert len((tmp_path / "lives").read_text().split()) == 1


TOLD = (
    "os.kill(os.getpid(), signal.SIGSEGV) if life <= {deaths} else None; "
    "signal.signal(signal.{name}, lambda *_: sys.exit(130)); Path('ready').touch(); time.sleep(60)"
)


def ready(folder):
    until = time.monotonic() + 30
    while not (folder / "ready").exists() and time.monotonic() < until:
        time.sleep(0.01)
    return int((folder / "lives").read_text().split()[-1])


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("deaths", [0, 1])
def test_whoever_is_told_to_end_tells_the_process_that_measures(tmp_path, name, deaths):
    process = started(tmp_path, TOLD.format(name=name, deaths=deaths))
    ready(tmp_path)
    process.send_signal(getattr(signal, name))
    process.communicate(timeout=30)
    assert process.returncode == 130


def test_a_process_that_measures_ends_with_the_one_that_waits(tmp_path):
    process = started(tmp_path, TOLD.format(name="SIGINT", deaths=0))
    child = ready(tmp_path)
    assert child != process.pid
    process.kill()
    process.communicate(timeout=30)  # to the end of what the child may write, too
    until = time.monotonic() + 30
    while _lives(child) and time.monotonic() < until:
        time.sleep(0.01)
    assert not _lives(child)


def _lives(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
