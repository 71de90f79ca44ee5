"""What an audit makes of what Ray tells; the way to Ray is a stand-in here, and `tests/scale` has Ray itself."""

import pickle
import signal
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests import tiny

from demur.data.kept_images import KeptImages
from demur.errors import InputError, MissingExtraError, RunError
from demur.pipeline.job import Shard
from demur.pipeline.plan.conditions import CLEAN
from demur.pipeline.run import engines, ray_engine, ray_task
from demur.pipeline.run.engine import Died, Failed
from demur.pipeline.run.measured_shard import MeasuredShard
from demur.pipeline.run.prepare import StandIns, prepared_job
from demur.pipeline.run.ray_broker import Broker, Need
from demur.pipeline.run.ray_engine import RayEngine
from demur.pipeline.run.ray_link import environment
from demur.pipeline.run.ray_task import Post, builds, measure
from demur.pipeline.run.resources import Resources
from demur.records import EncodedShard

RAY = Resources(engine="ray", address="10.0.0.1:6379")
READY, OPEN = pickle.dumps("ready"), pickle.dumps(None)
NODE_LOST = "was lost with its worker or its node (NodeDiedError)"


class Told:
    """A link over which nothing goes, and what it tells."""

    def __init__(self, need):
        self.need, self.sent, self.telling, self.closed = need, [], [("joined", 4)], False

    def send(self, what):
        self.sent.append(what)

    def message(self, *, wait=True):
        return self.telling.pop(0) if self.telling else ()

    def last_words(self):
        return "Raylet is terminated"

    def close(self):
        self.closed = True


@pytest.fixture
def engine(monkeypatch, tmp_path):
    monkeypatch.setattr(ray_engine, "RayLink", Told)
    with RayEngine(RAY, tmp_path) as found:
        yield found
    assert found._link.closed


def task(rows=3):
    return Shard("c001-s0000", CLEAN, np.arange(rows, dtype=np.int64))


def outcome(engine, *answer, rows=3, node="a"):
    engine.give(task(rows))
    number, *_ = engine._link.sent[-1]
    engine._link.telling.append(("told", number, (*answer, node)))
    ((_, found),) = engine.arrived(wait=True)
    return found


def measured(rows=3):
    encoded = EncodedShard(rows=rows, records=b"rows", parts=None)
    return MeasuredShard(encoded=encoded, why="", failed=0, seconds=1.0, cpu=1.0)


def test_what_became_of_a_shard_is_told(engine):
    assert outcome(engine, "answer", pickle.dumps(measured())) == measured()
    crash = Died(why="ended by SIGSEGV", may_be_rows=True, crashed=True)
    assert outcome(engine, "died", -signal.SIGSEGV) == crash
    assert outcome(engine, "died", None).may_be_rows
    assert outcome(engine, "memory", "") == Died(why="was ended by Ray for want of memory", may_be_rows=True)
    assert outcome(engine, "lost", "NodeDiedError") == Died(why=NODE_LOST, may_be_rows=False)
    odd = "could not ask about it (OSError: no more processes)"
    assert outcome(engine, "raised", "OSError: no more processes") == Died(why=odd, may_be_rows=False)


def nodes(engine, count):
    """Say how many nodes the cluster has."""
    engine._link.telling.append(("room", 40, count))
    assert list(engine.arrived(wait=False)) == []


def test_a_node_that_cannot_open_the_job_is_as_good_as_lost_unless_none_can(engine):
    nodes(engine, 2)
    for _ in range(20):
        assert not outcome(engine, "unopened", "node a AddressError: no such file").may_be_rows
    with pytest.raises(RunError, match=r"no node could open the model and the data: node b AddressError: no such file"):
        outcome(engine, "unopened", "node b AddressError: no such file", node="b")
    outcome(engine, "answer", pickle.dumps(measured()))
    assert isinstance(outcome(engine, "unopened", "node b", node="b"), Died)


def test_an_error_of_one_node_is_no_work_of_the_process_that_leads(engine):
    nodes(engine, 2)
    failed = "answer", pickle.dumps(Failed(why="OSError: disk full"))
    lost = Died(why="could not measure it: OSError: disk full", may_be_rows=False)
    assert [outcome(engine, *failed) for _ in range(4)] == [lost] * 4
    assert outcome(engine, *failed, node="b") == Failed(why="OSError: disk full")
    assert outcome(engine, *failed, rows=2, node="b") == lost, "a piece counts for itself"


@pytest.mark.parametrize(
    ("tasks", "workers", "beside", "share"), [(100, None, 4, 4), (3, None, 4, 3), (100, 2, 4, 2), (100, None, 0, 32)]
)
def test_images_are_kept_by_tasks_that_share_a_node(monkeypatch, tmp_path, tasks, workers, beside, share):
    class Beside(Told):
        def __init__(self, need):
            super().__init__(need)
            self.telling = [("joined", beside)]

    monkeypatch.setattr(ray_engine, "RayLink", Beside)
    job = prepared_job(tiny.plan(), StandIns(source=tiny.source(), classifier=tiny.classifier()), print)
    job = replace(job, kept=KeptImages(9600))
    with RayEngine(replace(RAY, workers=workers), tmp_path) as engine:
        engine.start(job, tasks)
        _, (duty, _) = engine._link.sent[-1]
    _, placing = pickle.loads(duty)
    assert pickle.loads(pickle.loads(placing).job).kept.budget == 9600 // share


def test_nodes_of_other_packages_are_refused(engine):
    with pytest.raises(RunError, match=r"node a has torch 1\.0, not 2\.0\. Every node needs the packages of this"):
        outcome(engine, "refused", "node a has torch 1.0, not 2.0")
    with pytest.raises(RunError, match=r"c001-s0000 has 3 rows, and a node measured 2 of it"):
        outcome(engine, "answer", pickle.dumps(measured(2)))


def test_a_cluster_that_is_gone_or_full_ends_the_run_in_a_sentence(engine):
    engine._link.telling = [None]
    with pytest.raises(
        RunError, match=r"at '10\.0\.0\.1:6379' is gone: Raylet is terminated\. What was measured is kept"
    ):
        list(engine.arrived(wait=True))
    engine._link.telling = [("refused", "no node has room for a task of 1 CPU, 2 GPU")]
    with pytest.raises(RunError, match="measures nothing: no node has room for a task of 1 CPU, 2 GPU"):
        list(engine.arrived(wait=True))


def test_room_is_told_without_ending_the_wait(engine):
    assert engine.processes == 1
    engine.give(task())
    engine._link.telling = [("room", 40, 2), ("told", 1, ("answer", pickle.dumps(measured()), "a"))]
    assert [found for _, found in engine.arrived(wait=True)] == [measured()]
    assert engine.processes == 40
    assert list(engine.arrived(wait=True)) == [], "nothing is open"
    assert engine.taken() is None


def test_what_was_placed_by_who_was_lost_is_removed_at_the_end(monkeypatch, tmp_path):
    monkeypatch.setattr(ray_engine, "RayLink", Told)
    (tmp_path / "records").mkdir()
    kept, left = tmp_path / "records" / "c000-s0000.parquet", tmp_path / "records" / ".c000-s0000.parquet.a1b2c3d4"
    with RayEngine(RAY, tmp_path):
        kept.write_bytes(b"")
        left.write_bytes(b"")
    assert list((tmp_path / "records").iterdir()) == [kept]


def test_a_model_on_a_gpu_needs_a_task_that_has_one(engine):
    class OnGpu:
        class classifier:  # noqa: N801
            device = torch.device("cuda")

    with pytest.raises(InputError, match=r"the model is on cuda, and a task .* such as --gpus-per-task 0\.5"):
        engine.start(OnGpu, 3)


def test_a_cluster_that_cannot_be_joined_is_refused(monkeypatch, tmp_path):
    links = []

    class Refused(Told):
        def __init__(self, need):
            super().__init__(need)
            self.telling = [("refused", "nobody answers there")]
            links.append(self)

    monkeypatch.setattr(ray_engine, "RayLink", Refused)
    with pytest.raises(
        InputError, match=r"Ray at '10.0.0.1:6379' cannot be used: nobody answers there\. Name a cluster"
    ):
        RayEngine(RAY, tmp_path)
    assert links[0].closed


def test_ray_that_is_not_installed_is_told_before_anything_is_opened(monkeypatch, tmp_path):
    monkeypatch.setattr(engines.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(MissingExtraError, match=r"pip install 'demur\[ray\]'"):
        tiny.run(tmp_path / "run", resources=RAY)
    assert not (tmp_path / "run").exists()


def test_a_node_has_room_for_as_many_tasks_as_fit_by_everything_they_need():
    need = Need(address=None, cores=None, most=10, threads=2, gpus=0.5, memory=2**30)
    assert need.room({"CPU": 8.0, "GPU": 1.0, "memory": 8 * 2**30}) == 2
    assert need.room({"CPU": 3.0, "GPU": 1.0, "memory": 8 * 2**30}) == 1
    assert need.room({"CPU": 8.0, "GPU": 1.0, "memory": 2**29}) == 0
    assert need.room({"CPU": 8.0}) == 0
    thirds = Need(address=None, cores=None, most=10, threads=1, gpus=0.3, memory=0)
    assert thirds.room({"CPU": 8.0, "GPU": 0.9}) == 3, "0.9 / 0.3 is below 3 in floating point"


def test_what_is_asked_of_ray_follows_from_the_resources():
    found = ray_engine._need(Resources(engine="ray", workers=3, threads=2, gpus=0.5, memory=100), 2)
    assert found == Need(address=None, cores=6, most=3, threads=2, gpus=0.5, memory=100 * 2**20)
    assert ray_engine._need(RAY, 1).most == 1000


def post(**changes):
    given = {"key": "a", "threads": 1, "build": builds(), "path": [], "folder": "/"}
    return Post(**(given | changes))


def test_a_task_refuses_another_build():
    kind, why = measure(post(build={**builds(), "torch": "0.1"}), list, b"")
    assert (kind, why.startswith("has torch 2")) == ("refused", True)
    assert why.endswith("not 0.1")


class Clock:
    """One that does not wait."""

    waits = []  # noqa: RUF012 - of each test its own

    @classmethod
    def sleep(cls, seconds):
        cls.waits.append(seconds)


class Child:
    """A process that answers what it is told to."""

    def __init__(self, answers, status=0):
        self.answers, self.own, self.ended = answers, status, False

    def __call__(self, post, devices):
        self.key = (post.key, devices)
        return self

    def ask(self, _what):
        return self.answers.pop(0)

    def status(self):
        return self.own

    def end(self):
        self.ended = True


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ([READY, OPEN, b"rows"], ("answer", b"rows")),
        ([READY, OPEN, None], ("died", -11)),
        ([READY, pickle.dumps("no such model")], ("unopened", "no such model")),
        ([None], ("lost", "its process ended with status -11 before it began")),
    ],
)
def test_a_task_tells_what_its_process_said_or_died_of(answers, told, monkeypatch):
    child = Child(answers, status=-11)
    monkeypatch.setattr(ray_task, "_CHILDREN", [])
    monkeypatch.setattr(ray_task, "Child", child)
    monkeypatch.setattr(ray_task, "_VAIN", [])
    monkeypatch.setattr(ray_task, "time", Clock)
    assert measure(post(), lambda: [b"duty", b"open"], b"work") == told
    assert child.ended == (told[0] != "answer")
    assert bool(ray_task._CHILDREN) == (told[0] == "answer")


def test_a_worker_that_cannot_open_its_job_takes_ever_fewer_tasks(monkeypatch):
    monkeypatch.setattr(Clock, "waits", [])
    for name, to in (("_CHILDREN", []), ("_VAIN", []), ("time", Clock)):
        monkeypatch.setattr(ray_task, name, to)
    for _ in range(8):
        monkeypatch.setattr(ray_task, "Child", Child([READY, pickle.dumps("no such model")]))
        assert measure(post(), lambda: [b"duty", b"open"], b"work")[0] == "unopened"
    assert Clock.waits == [1, 2, 4, 8, 16, 32, 60, 60]
    monkeypatch.setattr(ray_task, "Child", Child([READY, OPEN, b"rows"]))
    assert measure(post(), lambda: [b"duty", b"open"], b"work") == ("answer", b"rows")
    assert ray_task._VAIN == []


def test_ray_on_this_machine_answers_nobody_who_lacks_a_drawn_token():
    needs = [Need(address=each, cores=None, most=1, threads=1, gpus=0, memory=0) for each in (None, "10.0.0.1:6379")]
    own, other = map(environment, needs)
    assert own["RAY_AUTH_MODE"] == "token"
    assert len(own["RAY_AUTH_TOKEN"]) == 64
    assert own["RAY_AUTH_TOKEN"] != environment(needs[0])["RAY_AUTH_TOKEN"]
    assert "RAY_AUTH_TOKEN" not in other


def test_a_task_is_kept_from_nodes_on_which_it_or_its_job_was_in_vain(engine):
    def given(own):
        engine.give(own)
        return engine._link.sent[-1][2]

    first, other = task(), replace(task(), name="c001-s0001")
    assert given(first) == []
    engine._link.telling += [("room", 4, 3), ("told", 1, ("answer", pickle.dumps(Failed(why="a full disk")), "b"))]
    assert len([*engine.arrived(wait=True)]) == 1
    assert given(first) == ["b"]
    assert given(other) == []
    engine._link.telling.append(("told", 3, ("unopened", "no data", "a")))
    assert len([*engine.arrived(wait=True)]) == 1
    assert given(other) == ["a"]
    assert given(task(2)) == [], "another shard may find there what this one did not"


def test_a_task_that_was_in_vain_goes_to_another_node_by_the_room_there(monkeypatch):
    big, small = {"CPU": 60.0}, {"CPU": 3.0}
    broker = Broker(Need(address=None, cores=None, most=9, threads=1, gpus=0, memory=0), None)
    broker.nodes = {"a": big, "b": small, "c": {"CPU": 0.0}, "bad": big}
    assert broker._elsewhere([]) is None
    found = Counter(broker._elsewhere(["bad"]) for _ in range(300))
    assert found.keys() <= {"a", "b"}
    assert found["a"] > 200
    assert broker._elsewhere(["a", "b", "bad"]) is None, "where nobody else has room Ray decides"
