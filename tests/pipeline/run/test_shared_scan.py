"""Images are read by several processes as by one: the same rows, the same errors, and what dies costs nothing."""

import json
import os
import pickle
import signal
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, fields

import numpy as np
import pytest
import torch
from tests import tiny

from demur.data import build_index
from demur.data.kept_images import KeepingSource, KeptImages
from demur.data.scan import scan
from demur.data.source import Row
from demur.errors import DataError
from demur.pipeline.run import nursery, shared_scan
from demur.pipeline.run.crew import Helper
from demur.pipeline.run.resources import Resources
from demur.pipeline.run.run_times import TIMES, RunTimes, Start
from demur.pipeline.run.shared_scan import SharedScan, readers

ROWS = 90


@dataclass(frozen=True)
class Images:
    """Images that are worked out anew wherever they are read; some are wrong, and some end who is not their parent."""

    parent: int = 0
    large: tuple[int, ...] = ()
    unnamed: tuple[int, ...] = ()
    deadly: tuple[int, ...] = ()
    torn: tuple[int, ...] = (7, 70)
    address: str = "images"
    classes: tuple[str, ...] = tiny.CLASSES
    input_shape: tuple[int, int, int] = (1, 4, 4)

    def __len__(self):
        return ROWS

    def read(self, positions):
        for at in positions:
            if at in self.deadly and os.getpid() != self.parent:
                os.kill(os.getpid(), signal.SIGKILL)
            image = torch.rand(1, 4, 4, generator=torch.Generator().manual_seed(at)) * (255 if at in self.large else 1)
            facts = {"meta": {"site": f"s{at % 3}", "age": at / 7}, "split": "test" if at % 5 else None}
            row = Row(
                f"i{at}", image, 9 if at in self.unnamed else at % 3, None, weight=at / 3, box=(0, 0, 2, 2), **facts
            )
            yield row.showing(None, "torn file") if at in self.torn else row


def facts(index):
    found = {each.name: getattr(index, each.name) for each in fields(index)}
    return {name: part.tolist() if isinstance(part, np.ndarray) else part for name, part in found.items()}


@pytest.fixture
def asked(monkeypatch):
    """How many rows each answer of a helper had; helpers are worth it at once, and read all but the first part."""
    monkeypatch.setattr(shared_scan, "_ROWS", 8)
    monkeypatch.setattr(shared_scan, "_ALONE", 0)
    monkeypatch.setattr(shared_scan, "_WORTH", 0)
    take, ask, helping, found = shared_scan._Parts.take, Helper.ask, shared_scan._helping, []
    main = threading.main_thread()

    def noted(helper, what):
        found.append(ask(helper, what))
        return found[-1]

    def left_to_helpers(parts):
        return None if threading.current_thread() is main else take(parts)

    @contextmanager
    def helped(*given):
        with monkeypatch.context() as leader, helping(*given):
            leader.setattr(shared_scan._Parts, "take", left_to_helpers)
            yield

    monkeypatch.setattr(Helper, "ask", noted)
    monkeypatch.setattr(shared_scan, "_helping", helped)
    return found


def three(said=None):
    return SharedScan(Resources(workers=3, threads=1), (lambda _words: None) if said is None else said.append)


def test_rows_that_helpers_read_are_those_of_one_process(asked):
    source = Images()
    assert facts(build_index(source, scanner=three())) == facts(build_index(source))
    assert sum(len(found[0]) for found in asked if isinstance(found, tuple)) == ROWS - 8
    assert facts(build_index(source, limit=30, held_out=True, scanner=three())) == facts(
        build_index(source, limit=30, held_out=True)
    )


@pytest.mark.parametrize("wrong", [{"large": (60, 20)}, {"unnamed": (30, 75)}, {"large": (60,), "unnamed": (70,)}])
def test_the_first_error_is_that_of_one_process(asked, wrong):
    source = Images(**wrong)
    with pytest.raises(DataError) as alone:
        build_index(source)
    with pytest.raises(DataError) as shared:
        build_index(source, scanner=three())
    assert str(shared.value) == str(alone.value)
    assert asked


def test_what_other_processes_use_of_the_processor_is_told_once_of_each(asked):
    told = []
    SharedScan(Resources(workers=3, threads=1), lambda _words: None, told.append)(Images())
    seconds = [found[1] for found in asked if isinstance(found, tuple)]
    assert 1 <= len(told) <= 2  # one may never be ready
    assert max(told) == max(seconds) > 0
    assert {*told} <= {0.0, *seconds}  # or too late to read anything


def test_the_beginning_of_a_run_holds_what_other_processes_used_for_it(tmp_path):
    start = Start.now()
    for name, own in (("one", start), ("more", start.with_others(5000.0))):
        RunTimes(tmp_path / name, own).note_beginning()
    alone, shared = (json.loads((tmp_path / name / TIMES).read_text())["cpu"] for name in ("one", "more"))
    assert 5000 <= shared - alone < 5100


def test_an_audit_tells_what_other_processes_used_to_read(tmp_path, monkeypatch):
    def used(shared, source, *, labelled=True):
        shared.spend(4000.0)
        shared.spend(1000.0)
        return scan(source, labelled=labelled)

    monkeypatch.setattr(SharedScan, "__call__", used)
    run = tiny.run(tmp_path / "run", conditions=("clean",), policies=("rule(confidence=0.6)",))
    (begun,) = (line for line in map(json.loads, (run / TIMES).read_text().splitlines()) if line["name"] == "beginning")
    assert begun["cpu"] > 5000


def test_what_a_helper_dies_of_is_read_here(asked):
    source = Images(parent=os.getpid(), deadly=(40,))
    assert facts(build_index(source, scanner=three())) == facts(build_index(source))
    assert asked.count(None) == 1


def test_what_no_helper_can_have_is_read_here(asked):
    source = Images(address=lambda: "no text")
    assert len(three()(source)) == ROWS
    assert asked == []


def test_nothing_is_started_for_little_work(asked, monkeypatch):
    monkeypatch.setattr(shared_scan, "_WORTH", 1000)
    assert len(three()(Images())) == ROWS
    assert asked == []


def test_images_that_are_read_here_are_kept(asked):
    kept = KeptImages()
    found = three()(KeepingSource(Bytes(), kept))
    assert [one.row.sample_id for one in found] == [f"{at}" for at in range(ROWS)]
    assert sorted(at for at in range(ROWS) if at in kept) == list(range(8))


@pytest.mark.parametrize(("engine", "processes"), [("local", 40), ("ray", 2)])
def test_tasks_of_a_cluster_are_no_processes_of_this_machine(monkeypatch, engine, processes):
    monkeypatch.setattr(shared_scan, "cores", lambda: 2)
    found = Resources(workers=40, engine=engine)
    assert (readers(found, 10_000), readers(found, 1)) == (processes, 1)


def test_other_processes_keep_no_images():
    here = shared_scan.Scanning(KeepingSource(Images(), KeptImages()), labelled=True)
    assert pickle.loads(shared_scan._duty(here)).source == Images()


class Bytes:
    """Images that bytes give back."""

    address, classes, input_shape = "bytes", tiny.CLASSES, (1, 2, 2)

    def __len__(self):
        return ROWS

    def read(self, positions):
        for at in positions:
            yield Row(f"{at}", torch.full((1, 2, 2), at / 255), at % 3)


def test_how_far_it_is_is_said(monkeypatch):
    monkeypatch.setattr(shared_scan, "_ROWS", 8)
    monkeypatch.setattr(shared_scan, "_ALONE", 0)
    monkeypatch.setattr(shared_scan, "_EVERY", 0)
    said = []
    SharedScan(Resources(workers=1), said.append)(Images())
    assert said[0] == "reading the images: 16 of 90"
    assert said[-1] == "reading the images: 90 of 90"


def test_some_positions_alone(asked):
    found = three()(Images(), positions=range(20, 57))
    assert [one.position for one in found] == list(range(20, 57))
    assert [one.row.sample_id for one in found] == [f"i{at}" for at in range(20, 57)]


class Late:
    """A helper that is there only when nobody needs it any more."""

    def __init__(self, closed):
        assert closed.wait(60)
        self.killed, self.process = threading.Event(), self

    def kill(self):
        self.killed.set()

    end = kill

    def ask(self, _what):
        assert self.killed.wait(5), "nobody told it"


def test_a_helper_that_is_started_too_late_is_ended_at_once(monkeypatch):
    closed, close = threading.Event(), shared_scan._Parts.close
    late = []

    def closing(parts):
        close(parts)
        threading.Timer(0.2, closed.set).start()

    def started(_nursery):
        late.append(Late(closed))
        return late[0]

    monkeypatch.setattr(shared_scan._Parts, "close", closing)
    monkeypatch.setattr(Helper, "of", started)
    parts = shared_scan._Parts(shared_scan.Scanning(Images(), labelled=True), [range(8)])
    with pytest.raises(DataError, match="wrong"), shared_scan._helping(parts, b"", 1, 1):
        raise DataError("wrong")
    assert late[0].killed.is_set()


def test_what_starts_helpers_ends_at_once_although_it_is_not_ready(monkeypatch):
    monkeypatch.setattr(nursery, "command", lambda *_: [sys.executable, "-c", "import time; time.sleep(600)"])
    own, found = nursery.Nursery(1), []

    def ask():
        try:
            own.child()
        except OSError as error:
            found.append(error)

    asking, closing = threading.Thread(target=ask), threading.Thread(target=own.close)
    asking.start()
    while own._process is None:
        time.sleep(0.01)
    closing.start()
    for each in (closing, asking):
        each.join(60)
        assert not each.is_alive()
    assert len(found) == 1
    with pytest.raises(OSError, match="at the end"):
        own.child()
