"""What two workers gain over one, and what Ray costs over processes of this machine: the same shards, in turn.

    python benchmarks/engine_overhead.py [--quick] [--seconds 30] [--rounds 3]

Four shards of 512 Fashion-MNIST images under PGD, with as many steps as make a shard take so many seconds. Workers have
the job and have measured a shard each before a clock starts; how long that takes is told beside. Rounds of the engines
alternate, and the overhead is the median over rounds of the time of Ray over that of the round of processes before it.
`between` is what a round takes beyond the longer of what its two workers spent measuring: what the engine itself costs,
also where others use the machine. `speedup` is the time of one process over that of two local workers, the median over
rounds; `of_cores` is what two workers could gain here at most: twice what a shard takes while the other worker waits,
over what it takes while both measure. Without Ray that is all. The last line is JSON.
"""

import argparse
import importlib.util
import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from demur.containment import keep_freed_memory
from demur.pipeline.job import Job, Shard, shards
from demur.pipeline.plan.plan_file import read_plan
from demur.pipeline.run.begun import begun_run
from demur.pipeline.run.engine import Engine
from demur.pipeline.run.engines import engine_of
from demur.pipeline.run.measured_shard import MeasuredShard
from demur.pipeline.run.prepare import StandIns
from demur.pipeline.run.resources import Resources

WORKERS = 2
TRIED = 20
"""Steps of the shard that tells how many a shard needs."""


class Silent:
    """Progress that nobody watches."""

    def start(self, rows: int) -> None: ...

    def advance(self, rows: int, what: str, left: float | None = None) -> None: ...

    def say(self, what: str) -> None: ...


@contextmanager
def job_of(steps: int, folder: Path) -> Iterator[tuple[Job, list[Shard]]]:
    """A job with five shards under attacks of so many steps on every image, whatever falls first."""
    sizes = [0.010, 0.011, 0.012, 0.013, 0.014]
    use = ["clean", f"pgd(eps={sizes}, keep='worst', steps={steps})"]
    plan = read_plan(None, (), {"conditions.use": use, "conditions.attacked": 512})
    with begun_run(plan, folder, Silent(), StandIns(), Resources(workers=1, threads=1)) as (job, *_):
        yield job, [task for task in shards(job) if task.condition.attack is not None]


@dataclass(frozen=True)
class Round:
    """What some shards took.

    Attributes:
        wall: seconds until every one is measured and written.
        shards: seconds that each took of its worker.
    """

    wall: float
    shards: list[float]

    @property
    def between(self) -> float:
        """Seconds beyond what the busier worker spent measuring."""
        return self.wall - max(sum(each) for each in _by_worker(self.shards))


def measure(engine: Engine, tasks: list[Shard], out: Path) -> Round:
    """Have shards measured and written."""
    began, found = time.monotonic(), list[MeasuredShard]()
    for task in tasks:
        engine.give(task, aside=True)
    while len(found) < len(tasks):
        for task, outcome in engine.arrived(wait=True):
            if not isinstance(outcome, MeasuredShard):
                raise SystemExit(f"{task.name}: {outcome}")
            outcome.encoded.write(out, task.name)
            found.append(outcome)
    return Round(time.monotonic() - began, [one.seconds for one in found])


def _by_worker(seconds: list[float]) -> Iterator[list[float]]:
    """The shards of either worker, which take the next as they come."""
    loads: list[list[float]] = [[] for _ in range(WORKERS)]
    for each in seconds:
        min(loads, key=sum).append(each)
    return iter(loads)


def warm(resources: Resources, job: Job, tasks: list[Shard], out: Path) -> tuple[Engine, float]:
    """An engine whose workers have the job and have measured a shard each, and how long that took."""
    began = time.monotonic()
    engine = engine_of(resources, out)
    engine.__enter__()
    engine.start(job, WORKERS)
    measure(engine, [replace(task, rows=task.rows[:8], piece=True) for task in tasks[:WORKERS]], out)
    return engine, time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="shards of 3 seconds, two rounds")
    parser.add_argument("--seconds", type=float, default=30.0, help="that a shard takes")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    names = ("local", "ray") if importlib.util.find_spec("ray") else ("local",)
    if len(names) == 1:
        print("Ray is not installed: two workers are compared with one alone. See: make test-scale")
    torch.set_num_threads(1)
    keep_freed_memory()  # as the command line and the workers do
    seconds, rounds = (3.0, 2) if given.quick else (given.seconds, given.rounds)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        with job_of(TRIED, out / "tried") as (job, tasks):
            MeasuredShard.of(job, tasks[0])
            tried = MeasuredShard.of(job, tasks[0]).seconds
        with job_of(max(1, round(TRIED * seconds / tried)), out / "run") as (job, tasks):
            print(json.dumps(compared(job, tasks[1:], out / "run", rounds, names)))


def alone(job: Job, tasks: list[Shard]) -> float:
    """Seconds that one process takes of the shards."""
    began = time.monotonic()
    for task in tasks:
        MeasuredShard.of(job, task)
    return time.monotonic() - began


def compared(job: Job, tasks: list[Shard], out: Path, rounds: int, names: tuple[str, ...]) -> dict[str, object]:
    """The engines in turn, and one process beside them."""
    engines, started, one, waiting = {}, {}, list[float](), list[float]()
    found_of: dict[str, list[Round]] = {name: [] for name in names}
    try:
        for name in names:
            found = Resources(workers=WORKERS, threads=1, engine=name)
            engines[name], started[name] = warm(found, job, tasks, out)
        for _ in range(rounds):
            for name, engine in engines.items():
                own = measure(engine, tasks, out)
                found_of[name].append(own)
                said = f"{len(tasks)} shards in {own.wall:.2f} s, {own.between:.2f} s of them between shards"
                print(f"{name}: {said}", flush=True)
            waiting.append(measure(engines["local"], tasks[:1], out).shards[0])
            one.append(alone(job, tasks))
            print(f"one process: {len(tasks)} shards in {one[-1]:.2f} s", flush=True)
    finally:
        for engine in engines.values():
            engine.__exit__(None, None, None)
    pairs = [*zip(found_of["local"], found_of.get("ray", ()), strict=False)]
    return {
        "shard_seconds": round(statistics.median(one) / len(tasks), 2),
        "one_process_seconds": [round(each, 2) for each in one],
        **{f"{name}_seconds": [round(each.wall, 2) for each in rounds_] for name, rounds_ in found_of.items()},
        "speedup": round(_median(each / own.wall for each, own in zip(one, found_of["local"], strict=True)), 3),
        "of_cores": round(
            _median(
                2 * each / statistics.mean(own.shards) for each, own in zip(waiting, found_of["local"], strict=True)
            ),
            3,
        ),
        "between_seconds": {name: round(_median(each.between for each in own), 3) for name, own in found_of.items()},
        "start_seconds": {name: round(each, 1) for name, each in started.items()},
        "overhead": round(_median(ray.wall / own.wall - 1 for own, ray in pairs), 4) if pairs else None,
    }


def _median(numbers: Iterator[float]) -> float:
    return statistics.median(numbers)


if __name__ == "__main__":
    main()
