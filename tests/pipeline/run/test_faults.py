"""Workers die, machines are lost: a shard counts once, an image that no process survives costs its own row."""

from collections import Counter, deque

import numpy as np
import polars as pl
import pytest
from tests import tiny

from demur.errors import ModelError, RunError
from demur.pipeline.job import shards
from demur.pipeline.run import begun, effort, retries
from demur.pipeline.run.engine import Died, Failed, Work
from demur.pipeline.run.helper import answer
from demur.pipeline.run.resources import Resources
from demur.records import BATCH_SIZE, read

PLAN = {
    "conditions": ("clean", "fgsm(eps=0.05)", "low_light(severity=3)"),
    "policies": ("rule(confidence=0.6)",),
    "attacked": 40,
    "checks": {"preprocessing": 0},
}
ROWS = 150
CRASH = Died(why="ended by SIGSEGV", may_be_rows=True, crashed=True)
KILL = Died(why="ended by SIGKILL, as for want of memory", may_be_rows=True)
LOSS = Died(why="was on a node that is lost", may_be_rows=False)


class Fragile:
    """An engine whose only worker is this process, and that says of some work that its worker died.

    Args:
        dies: (work, how often it was asked) → how its worker died, None if it lived.
    """

    def __init__(self, dies):
        self.dies, self.queue, self.asked = dies, deque(), Counter()
        self.processes = 1

    def __enter__(self):
        return self

    def __exit__(self, *_error):
        pass

    def start(self, job, tasks):
        self.job, self.tasks = job, {task.name: task for task in shards(job)}

    def give(self, task, *, aside=False):
        self.queue.append(task)

    def taken(self):
        return None

    def arrived(self, *, wait):
        if self.queue:
            task = self.queue.popleft()
            work = Work.of(task)
            rows = tuple(task.rows.tolist())
            self.asked[work.name, rows] += 1
            death = self.dies(task, rows, self.asked[work.name, rows])
            yield task, death or answer(self.job, self.tasks, work)


@pytest.fixture
def audit(monkeypatch, tmp_path):
    """Audits by an engine whose workers die."""
    monkeypatch.setattr(retries, "_SHORTEST", 1e-4)
    monkeypatch.setattr(retries, "_LONGEST", 1e-3)
    monkeypatch.setattr(effort, "_TICK", 1e-4)

    def audited(dies, name="run"):
        engine = Fragile(dies)
        monkeypatch.setattr(effort, "engine_of", lambda *_: engine)
        monkeypatch.setattr(begun, "check_engine", lambda _: None)
        folder = tiny.run(tmp_path / name, tiny.source(ROWS), resources=Resources(engine="ray", threads=1), **PLAN)
        return folder, engine

    return audited


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return tiny.run(tmp_path_factory.mktemp("whole") / "run", tiny.source(ROWS), **PLAN)


def of(kind, deadly, death):
    """A worker dies of some rows under conditions of a kind."""
    return lambda task, rows, _time: death if task.condition.kind == kind and deadly & set(rows) else None


def names(rows):
    return [f"{row:06d}" for row in sorted(rows)]


@pytest.mark.parametrize("kind", ["corruption", "attack"])
@pytest.mark.parametrize("death", [CRASH, KILL])
def test_an_image_that_no_process_survives_costs_its_row(audit, whole, kind, death):
    condition = {"corruption": "low_light(severity=3)", "attack": "fgsm(eps=0.05)"}[kind]
    deadly = {int(name) for name in read(whole, condition)["sample_id"][5:6]}
    folder, _ = audit(of(kind, deadly, death))
    found, before = read(folder, condition), read(whole, condition)
    lost = found.filter(pl.col("error").is_not_null())
    assert lost["sample_id"].to_list() == names(deadly)
    assert lost["error"].to_list() == [f"the process that measured it {death.why}"]
    assert found["sample_id"].equals(before["sample_id"]), "in planned order"
    kept = before.join(lost, on="sample_id", how="anti", maintain_order="left")
    left = found.filter(pl.col("error").is_null())
    assert left["predicted"].equals(kept["predicted"])
    assert np.allclose(left["signal.msp"], kept["signal.msp"], atol=1e-6)
    others = tiny.hashes(whole)
    ours = tiny.hashes(folder)
    assert all(ours[name] == others[name] for name in ours if name.startswith("records/c000"))


def test_rows_measured_in_their_planned_batch_keep_their_bits(audit, whole):
    folder, _ = audit(of("corruption", {70}, CRASH))
    found, before = read(folder, "low_light(severity=3)"), read(whole, "low_light(severity=3)")
    planned = found[BATCH_SIZE].is_null()
    assert planned.to_list() == [not 64 <= row < 128 for row in range(ROWS)]
    assert found.filter(planned).drop(BATCH_SIZE).equals(before.filter(planned))


def test_an_image_that_ends_processes_as_it_is_is_asked_about_no_more(audit):
    folder, engine = audit(of("clean", {7, 90}, CRASH))
    for condition in ("clean", "low_light(severity=3)"):
        lost = read(folder, condition).filter(pl.col("error").is_not_null())
        assert lost["sample_id"].to_list() == names({7, 90})
        assert set(lost["error"]) == {"the process that measured it ended by SIGSEGV"}
    assert {count for (name, _), count in engine.asked.items() if name.startswith("c002")} == {1}


def test_deaths_by_chance_leave_no_trace(audit, whole):
    """Shards that were lost once or three times, or cut after four kills, have the bytes of a calm run."""

    def chance(task, rows, time):
        often = {"c000-s0000": 4, "c001-s0000": 3, "c002-s0000": 1}[task.name]
        return None if task.piece or time > often else KILL

    folder, engine = audit(chance)
    assert tiny.hashes(folder) == tiny.hashes(whole)
    assert sorted(len(rows) for (name, rows) in engine.asked if name == "c000-s0000") == [22, 64, 64, 150]


def test_a_lost_machine_is_no_reason_to_suspect_a_row(audit, whole):
    folder, engine = audit(lambda task, _rows, time: LOSS if task.name == "c002-s0000" and time <= 20 else None)
    assert tiny.hashes(folder) == tiny.hashes(whole)
    assert engine.asked["c002-s0000", tuple(range(ROWS))] == 21


def test_a_shard_whose_machines_are_lost_again_and_again_is_named_and_the_same_command_goes_on(audit, whole):
    said = r"^c002-s0000, a shard of low_light\(severity=3\), was given up after 21 deaths: .*node that is lost"
    with pytest.raises(RunError, match=said):
        audit(lambda task, _rows, _time: LOSS if task.name == "c002-s0000" else None)
    folder, engine = audit(lambda *_: None)
    assert [name for name, _ in engine.asked] == ["c002-s0000"]
    assert tiny.hashes(folder) == tiny.hashes(whole)


def test_where_no_process_survives_most_rows_there_is_nothing_to_tell(audit, monkeypatch):
    monkeypatch.setattr(retries, "_DEATHS", 10_000)
    with pytest.raises(ModelError, match=r"failed on 76 of 150 images under low_light.*ended by SIGSEGV"):
        audit(of("corruption", set(range(76)), CRASH))


def test_processes_do_not_die_for_ever(audit):
    with pytest.raises(RunError, match=r"given up after 101 deaths"):
        audit(of("corruption", set(range(76)), CRASH))


def test_a_row_that_the_model_fails_on_beside_one_that_ends_processes(audit, monkeypatch):
    """Pieces of one row may fail: whether most did is told of the shard."""
    real = tiny.Net.forward

    def forward(net, x):
        answers = real(net, x)
        answers[(x[:, 0, 0, 0] < 1e-6) & (x[:, 0, -1, -1] > 0.999)] = float("nan")
        return answers

    monkeypatch.setattr(tiny.Net, "forward", forward)
    images, labels = tiny.images_and_labels(ROWS)
    images[:, 0, 0, 0] = 0.5
    images[8, 0, 0, 0], images[8, 0, -1, -1] = 0, 1
    source = tiny.from_tensors(images, labels, classes=tiny.CLASSES, name="tiny")
    monkeypatch.setattr(tiny, "source", lambda *_: source)
    folder, _ = audit(of("clean", {9}, CRASH))
    lost = read(folder, "clean").filter(pl.col("error").is_not_null())
    assert lost["sample_id"].to_list() == names({8, 9})
    assert "NaN" in lost["error"][0]


def test_what_a_worker_cannot_measure_is_measured_here(audit, whole):
    folder, _ = audit(lambda task, _rows, _time: Failed(why="no") if task.name == "c001-s0000" else None)
    assert tiny.hashes(folder) == tiny.hashes(whole)


def test_waits_grow_and_end(monkeypatch):
    waits = []
    monkeypatch.setattr(retries.heapq, "heappush", lambda _heap, entry: waits.append(entry[0]))
    monkeypatch.setattr(retries.time, "monotonic", lambda: 0.0)
    plan = retries.Retries(None)
    for tries in (1, 2, 5, 10, 20):
        plan._give_later(None, tries)
    assert waits[0] < 0.1 < waits[2] < 2 < waits[3] <= waits[-1] <= 45
