"""Helpers measure the same bytes as one process; what one loses is measured here, and none outlives its audit."""

import os
import signal
import socket
import struct
import subprocess
import sys
import time
from dataclasses import replace
from multiprocessing.connection import Pipe

import pytest
from tests import every_section, tiny

from demur.errors import InputError
from demur.pipeline.run import begun, nursery
from demur.pipeline.run.crew import Crew, Helper, cores
from demur.pipeline.run.effort import Effort
from demur.pipeline.run.helper import READY
from demur.pipeline.run.loop import run_plan
from demur.pipeline.run.measured_shard import MeasuredShard
from demur.pipeline.run.own_process import command, environment
from demur.pipeline.run.prepare import StandIns
from demur.pipeline.run.resources import Resources

SMALL = {"conditions": ("clean", "fgsm(eps=0.1)", "gaussian_noise(severity=[1, 4])"), "attacked": 60}
TWO = Resources(workers=2)


def audit(folder, resources=TWO, **changes):
    return tiny.run(folder, tiny.source(700), resources=resources, **{**SMALL, **changes})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return tiny.hashes(audit(tmp_path_factory.mktemp("one") / "run", resources=None))


@pytest.fixture
def helpers(monkeypatch):
    """The helpers that audits start, which are given every shard as long as one of them lives."""
    started, start, taken = [], Helper.of, Crew.taken

    def noted(nursery):
        started.append(start(nursery))
        return started[-1]

    def left_to_helpers(crew):
        return None if crew._serving else taken(crew)

    monkeypatch.setattr(Helper, "of", noted)
    monkeypatch.setattr(Crew, "taken", left_to_helpers)
    return started


def answers(monkeypatch):
    """What helpers are asked, and what they answer."""
    found, ask = [], Helper.ask

    def noted(helper, what):
        found.append((what, ask(helper, what)))
        return found[-1][1]

    monkeypatch.setattr(Helper, "ask", noted)
    return found


def test_a_helper_measures_the_same_bytes(whole, helpers, tmp_path, monkeypatch):
    found = answers(monkeypatch)
    assert tiny.hashes(audit(tmp_path / "run")) == whole
    assert [what.name for what, answer in found[1:] if isinstance(answer, MeasuredShard)] == [
        "c000-s0001", "c001-s0000", "c002-s0000", "c002-s0001", "c003-s0000", "c003-s0001",
    ]  # fmt: skip
    assert all(helper.process.poll() is not None for helper in helpers), "it outlives its audit"


def test_sections_and_failed_rows_are_the_same_from_a_helper(helpers, tmp_path):
    one = every_section.run(tmp_path / "one")
    two = every_section.run(tmp_path / "two", resources=TWO)
    assert len(helpers) == 1
    assert tiny.hashes(two) == tiny.hashes(one)


def test_what_a_killed_helper_was_at_is_measured_by_the_next(whole, helpers, tmp_path, monkeypatch):
    ask = Helper.ask

    def killed(helper, what):
        if getattr(what, "name", "") == "c002-s0000" and len(helpers) == 1:
            os.kill(helper.process.pid, signal.SIGKILL)
        return ask(helper, what)

    monkeypatch.setattr(Helper, "ask", killed)
    assert tiny.hashes(audit(tmp_path / "run")) == whole
    assert helpers[0].process.returncode == -signal.SIGKILL
    assert len(helpers) == 2


def test_an_interruption_ends_helpers_and_the_same_command_goes_on(whole, helpers, tmp_path, monkeypatch):
    def interrupted(crew, task, found):
        if task.condition.name.startswith("gaussian"):
            raise KeyboardInterrupt
        keep(crew, task, found)

    keep = Effort._keep
    monkeypatch.setattr(Effort, "_keep", interrupted)
    with pytest.raises(KeyboardInterrupt):
        audit(tmp_path / "run")
    assert all(helper.process.poll() is not None for helper in helpers)
    done = set((tmp_path / "run" / "records").iterdir())
    assert {path.stem for path in done} == {"c000-s0000", "c000-s0001", "c001-s0000"}
    monkeypatch.setattr(Effort, "_keep", keep)
    assert tiny.hashes(audit(tmp_path / "run")) == whole


class Fleeting(tiny.Net):
    """A net that stops whatever process it is in but the first, once it is asked about a batch."""

    def __init__(self):
        super().__init__()
        self.owner = os.getpid()

    def forward(self, x):
        if os.getpid() != self.owner and len(x) > 2:
            raise KeyboardInterrupt
        return super().forward(x)


def test_what_a_helper_cannot_measure_is_measured_here(whole, helpers, tmp_path, monkeypatch):
    found = answers(monkeypatch)
    model = tiny.BoundClassifier(Fleeting().eval(), classes=tiny.CLASSES, input_shape=tiny.SHAPE)
    folder = tiny.run(tmp_path / "run", tiny.source(700), model, resources=TWO, **SMALL)
    assert found[0][1] == READY
    assert [answer.why.partition(" ")[0] for _, answer in found[1:]] == ["KeyboardInterrupt"] * 6
    ours, theirs = tiny.hashes(folder), whole
    assert {name: ours[name] for name in ours if name.startswith("records")} == {
        name: theirs[name] for name in theirs if name.startswith("records")
    }


def test_a_helper_ends_with_the_process_that_started_it():
    code = (
        "import os, signal, sys; from demur.pipeline.run.crew import Helper; "
        "from demur.pipeline.run.nursery import Nursery; helper = Helper.of(Nursery(1)); "
        "print(helper.process.pid, flush=True); os.kill(os.getpid(), signal.SIGKILL)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    pid, deadline = int(found.stdout), time.monotonic() + 30
    while _lives(pid):
        assert time.monotonic() < deadline, "it outlives the process that started it"
        time.sleep(0.1)


def _lives(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_the_end_of_a_child_of_an_earlier_nursery_is_told_as_that_of_a_killed_one():
    with subprocess.Popen([sys.executable, "-c", ""]) as other:
        other.wait()
    assert nursery._ended(other.pid) == (other.pid, -signal.SIGKILL)


def test_a_helper_starts_no_helpers(monkeypatch):
    """Its duty may be defined in a script without a guard, which it then runs as it imports it."""
    for name, value in environment(1).items():
        monkeypatch.setenv(name, value)
    own = nursery.Nursery(1)
    with pytest.raises(OSError, match="helps another starts none"):
        own.child()
    own.close()


def test_helpers_are_started_where_they_are_worth_it():
    free = Resources()
    assert [free.processes_for(seconds, 8) for seconds in (0, 14, 16, 3000)] == [1, 1, 2, 8]
    assert free.processes_for(3000, 1) == 1
    assert replace(free, threads=4).processes_for(3000, 8) == 2
    assert TWO.processes_for(0, 1) == 2


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "20000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, 6),
        ({"cpu.max": "3200000 100000\n"}, 6),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 6),
        ({"cpu/cpu.cfs_quota_us": "300000\n"}, 6),
        ({"cpu.max": "garbled"}, 6),
        ({"cpu.max": "100000 0\n"}, 6),
        ({}, 6),
    ],
)
def test_a_container_has_as_many_cores_as_its_quota(files, found, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _process: set(range(6)))
    monkeypatch.setattr(os, "process_cpu_count", lambda: 6, raising=False)
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert cores(tmp_path) == found


def test_objects_in_memory_stay_in_one_process_unless_several_are_named():
    assert Resources().settled(alone=True) == Resources(workers=1)
    assert Resources().settled(alone=False) == Resources(threads=1)
    assert TWO.settled(alone=True) == Resources(workers=2, threads=1)
    assert Resources(threads=3).settled(alone=True) == Resources(workers=1, threads=3)


@pytest.mark.parametrize(
    ("others", "given", "measure", "read"),
    [
        (StandIns(device="cuda"), Resources(), 1, None),
        (StandIns(device="cuda"), Resources(workers=1), 1, 1),
        (StandIns(device="cuda"), Resources(workers=3), 3, 3),
        (StandIns(classifier=tiny.classifier()), Resources(), 1, None),
        (StandIns(classifier=tiny.classifier(), source=tiny.source(9)), Resources(), 1, 1),
        (StandIns(device="cuda", unknown=tiny.source(9)), Resources(), 1, 1),
        (StandIns(device="cpu"), Resources(), None, None),
    ],
)
def test_images_that_are_files_are_read_by_several_although_one_process_has_the_model(others, given, measure, read):
    used = others.settled(given)
    assert (used.workers, used.for_reading.workers) == (measure, read)
    assert used.for_reading.threads == (None if read == 1 else 1)


def test_an_audit_on_a_gpu_reads_in_several_processes(tmp_path, monkeypatch):
    found = []

    def stopping(resources, *_told):
        found.append(resources)
        raise InputError("enough")

    monkeypatch.setattr(begun, "SharedScan", stopping)
    with pytest.raises(InputError, match="enough"):
        run_plan(tiny.plan(), tmp_path / "run", tiny.Quiet(), device="cuda")
    assert [(each.workers, each.threads) for each in found] == [(None, 1)]


def test_what_cannot_be_sent_is_measured_by_one_process_and_said(whole, tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(tiny.Quiet, "say", lambda _self, what: said.append(what))
    net = tiny.Net()
    net.own = lambda x: x
    model = tiny.BoundClassifier(net.eval(), classes=tiny.CLASSES, input_shape=tiny.SHAPE)
    folder = tiny.run(tmp_path / "run", tiny.source(700), model, resources=TWO, **SMALL)
    assert tiny.hashes(folder)["records/c003-s0001.parquet"] == whole["records/c003-s0001.parquet"]
    (sentence,) = (what for what in said if what.startswith("one process measures"))
    assert "the model of this job cannot be sent to another process" in sentence


@pytest.mark.parametrize("unread", [False, True])
def test_what_starts_helpers_ends_quietly_with_whoever_asked(unread):
    """Killed between the question and the answer, or with an answer that it has not read."""
    ours, theirs = socket.socketpair()
    near, far = Pipe()
    words = command("demur.pipeline.run.nursery.tend", theirs.fileno(), sys.path)
    process = subprocess.Popen(words, pass_fds=[theirs.fileno()], env=environment(1), stderr=subprocess.PIPE)
    theirs.close()
    if unread:
        ours.sendall(struct.pack("q", 1 << 20))
        while not ours.recv(1, socket.MSG_PEEK):
            time.sleep(0.01)
    else:
        socket.send_fds(ours, [struct.pack("q", 0)], [far.fileno()])
    ours.close()
    far.close()
    assert process.communicate(timeout=60)[1] == b""
    assert process.returncode == 0
    if not unread:
        assert near.poll(30), "the helper that it started has ended"
        with pytest.raises((EOFError, OSError)):
            near.recv()
