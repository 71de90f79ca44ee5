"""How an audit scales from 1 to 100 nodes: a simulation by measured times, with its serial parts and lost nodes.

    python benchmarks/scaling_simulation.py [--quick] [--run FOLDER] [--images N] [--attacked N] [--slots N]
                                            [--slower FACTOR …] [--lives HOURS] [--index]

Tasks take what shards of their kind took of a processor in a run: `timings/times.jsonl` of a folder, or else of the
shipped classifier on Fashion-MNIST, measured first. They are listed as the plan has them, and each goes to the first
slot that is free, in two phases; what is fixed between them is done by one process. A node is of use some seconds after
it is started, for its processes load the model and the data. What is no row is done by one process beside the second
phase, and what comes last after it. With `--lives` nodes are lost at random, by exponential lives of so many hours on
average, and others are started in their place; what they were at is measured again. Every shard takes the process that
leads the run as long as it takes to take in and write one, measured here. Not simulated: a network or a file system
that has no more to give. What grows with images is taken along the line through two audits of different size;
`--slower` is for models of which a pass takes so many times as long; with `--index` the images were read before, by
`demur index`, as many at a time as there are slots. The last line is JSON.
"""

import argparse
import heapq
import json
import random
import shutil
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl

import demur.analysis
import demur.report
from demur.files import read_json
from demur.pipeline.plan.plan_file import read_plan
from demur.pipeline.run.index_run import write_index
from demur.pipeline.run.loop import run_plan
from demur.pipeline.run.part_run import Part
from demur.pipeline.run.resources import Resources
from demur.pipeline.run.run_times import TIMES
from demur.pipeline.run.run_writer import RunWriter
from demur.records import EncodedShard, read

STARTING = 30.0
"""Seconds from the start of a node until it measures, most of them for its processes to load the model."""

NODES = (1, 2, 5, 10, 20, 50, 100)
SHARD = 512


class Silent:
    """Progress that nobody watches."""

    def start(self, rows: int) -> None: ...

    def advance(self, rows: int, what: str, left: float | None = None) -> None: ...

    def say(self, what: str) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Line:
    """Seconds that grow with images."""

    once: float
    each: float

    @classmethod
    def through(cls, found: Mapping[int, float]) -> "Line":
        """The line through the seconds of two numbers of images, or of one, where all of it is taken to grow."""
        if len(found) == 1:
            ((images, seconds),) = found.items()
            return cls(once=0.0, each=seconds / images)
        (few, less), (many, more) = sorted(found.items())
        each = max(0.0, (more - less) / (many - few))
        return cls(once=max(0.0, less - each * few), each=each)

    def at(self, images: int) -> float:
        return self.once + self.each * images


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Seconds of one processor that a run took.

    Attributes:
        images: how many it had.
        shards: of whole shards, by the kind of their condition, as they came.
        conditions: of each kind, how many there are.
        before: until the first shard is handed out.
        between: what is fixed by the clean rows.
        beside: of one process while others measure.
        after: pictures, results and report.
        taking_in: of the leading process for each shard.
    """

    images: int
    shards: Mapping[str, Sequence[float]]
    conditions: Mapping[str, int]
    before: float
    between: float
    beside: float
    after: float
    taking_in: float


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Nodes with so many slots each, and how long one lives, in seconds; infinite where none is lost."""

    nodes: int
    slots: int
    lives: float


def measured(run: Path, spent: float | None) -> Measured:
    """What a finished run took of one processor; shards with fewer rows count as they would whole.

    Args:
        run: its folder.
        spent: by the whole of it, where that was measured; else what its log says of time counts.
    """
    kinds = [condition["kind"] for condition in read_json(run / "run.json")["conditions"]]
    rows = {entry["shard"]: entry["rows"] for entry in read_json(run / "manifest.json")}
    images = sum(count for name, count in rows.items() if name.startswith("c000-"))
    found, told, others = defaultdict[str, list[float]](list), 0.0, dict[str, float]()
    for line in map(json.loads, (run / TIMES).read_text().splitlines()):
        told += line["cpu"]
        if line["name"] in rows:
            kind = kinds[int(line["name"][1:4])]
            found[kind].append(line["cpu"] * SHARD / rows[line["name"]])
        else:
            others[line["name"]] = line["cpu"]
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    whole = spent or sum(line.get("seconds", 0.0) for line in log if line["event"] == "finished")
    first = sum(others.pop(name, 0.0) for name in ("beginning", "fitting signals", "timing signals", "preprocessing"))
    last = sum(others.pop(name, 0.0) for name in ("pictures", "late_policies", "manifest"))
    return Measured(
        images=images,
        shards=found,
        conditions={kind: kinds.count(kind) for kind in found},
        before=max(0.0, whole - told) + first,
        between=others.pop("policies", 0.0),
        beside=sum(others.values()),
        after=last + reporting(run),
        taking_in=taking_in(run),
    )


def reporting(run: Path) -> float:
    """Seconds of the processor for results and report of a run."""
    with tempfile.TemporaryDirectory() as folder:
        copy = shutil.copytree(run, Path(folder) / "run")
        began = time.process_time()
        demur.report.write(copy, demur.analysis.write_results(copy, by="audit"))
        return time.process_time() - began


def taking_in(run: Path, count: int = 200) -> float:
    """Seconds of this process to write a shard of a run and the lines that name it."""
    shard = EncodedShard.of(read(run).head(SHARD).drop(pl.selectors.starts_with("part.")), "measured")
    with tempfile.TemporaryDirectory() as folder:
        writer = RunWriter(Path(folder))
        (writer.path / "records").mkdir()
        began = time.monotonic()
        for at in range(count):
            writer.add(f"c000-s{at:04d}", "clean", shard)
            writer.times.note(f"c000-s{at:04d}", 1.0, 1.0)
        return (time.monotonic() - began) / count


def tasks_of(
    times: Measured, images: int, attacked: int, slower: float, rng: random.Random
) -> tuple[list[float], list[float]]:
    """Seconds of every shard of a larger audit, in the order of its plan: clean ones, and all others."""
    phases: tuple[list[float], list[float]] = ([], [])
    for kind, count in times.conditions.items():
        rows = images if kind in {"clean", "corruption"} else attacked
        found = [slower * rng.choice(times.shards[kind]) for _ in range(count * -(-rows // SHARD))]
        phases[kind != "clean"].extend(found)
    return phases


class Slots:
    """The places of a cluster where a task may run, and the nodes that they are of; all but the last die in turn."""

    def __init__(self, on: Cluster, began: float, rng: random.Random) -> None:
        self._on, self._rng = on, rng
        self._ends: list[float] = []
        self._heirs: dict[int, int] = {}
        self._free = [(began + STARTING, node) for node in range(on.nodes) for _ in range(on.slots)]
        for _ in range(on.nodes):
            self._started(began)

    def _started(self, at: float) -> int:
        endless = self._on.lives == float("inf")
        self._ends.append(float("inf") if endless else at + self._rng.expovariate(1 / self._on.lives))
        return len(self._ends) - 1

    def run(self, seconds: float, since: float) -> tuple[float, bool]:
        """When a task ends that is given since then to whoever is free first, and whether it is done; or lost."""
        while True:
            ready, node = heapq.heappop(self._free)
            begin, end = max(ready, since), self._ends[node]
            if begin + seconds <= end:
                heapq.heappush(self._free, (begin + seconds, node))
                return begin + seconds, True
            if node not in self._heirs:
                self._heirs[node] = self._started(end)
            heapq.heappush(self._free, (end + STARTING, self._heirs[node]))
            if begin < end:
                return end, False


def simulated(
    phases: Sequence[Sequence[float]], serial: Sequence[float], times: Measured, on: Cluster, rng: random.Random
) -> float:
    """Seconds from start to end.

    Args:
        phases: seconds of the shards of either phase.
        serial: seconds of one process before, between and after them.
        times: what was measured; `beside` goes on beside the second phase.
        on: the cluster, which is started with the first phase.
        rng: draws how long nodes live.
    """
    now, slots = serial[0], Slots(on, serial[0], rng)
    for at, tasks in enumerate(phases):
        queue = [(now, number, seconds) for number, seconds in enumerate(tasks)]
        done = now + len(queue) * times.taking_in
        while queue:
            since, number, seconds = heapq.heappop(queue)
            end, whole = slots.run(seconds, since)
            if whole:
                done = max(done, end + times.taking_in)
            else:
                heapq.heappush(queue, (end, number, seconds))
        now = max(done, now + at * times.beside) + serial[at + 1]
    return now


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="runs of 300 and 600 images, and a tenth of the images")
    parser.add_argument("--run", type=Path, help="a finished run folder, by whose times the simulation goes")
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--attacked", type=int, default=20_000)
    parser.add_argument("--slots", type=int, default=8, help="tasks at once on each node")
    parser.add_argument("--slower", type=float, nargs="+", default=[1, 100], help="how much longer a pass takes")
    parser.add_argument("--index", action="store_true", help="of audits that read an index")
    parser.add_argument("--lives", type=float, default=24.0, help="hours that a node lives, on average")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sizes = (200, 300, 600) if given.quick else (200, 300, 1500)  # the first is for what happens once
        if given.run:
            made = [measured(given.run, None)]
        else:
            made = [_measured(Path(folder) / str(n), n, index=given.index) for n in sizes][1:]
    images, attacked = (given.images // 10, given.attacked // 10) if given.quick else (given.images, given.attacked)
    tables = [table(made, images, attacked, given.slots, slower, given.lives * 3600) for slower in given.slower]
    print(json.dumps({"images": images, "attacked": attacked, "slots": given.slots, "tables": tables}))


def _measured(out: Path, images: int, *, index: bool) -> Measured:
    """An audit by one process, and what it took; of an index without the time to make it."""
    plan = read_plan(None, (), {"data.limit": images, "conditions.attacked": images // 6})
    made = out.with_name(f"{out.name}.index") if index else None
    if made is not None:
        write_index(plan, Part(number=1, count=1), made, Silent())
    began = time.process_time()
    run_plan(plan, out, Silent(), resources=Resources(workers=1, threads=1, index=made))
    return measured(out, time.process_time() - began)


def table(
    made: Sequence[Measured], images: int, attacked: int, slots: int, slower: float, lives: float
) -> dict[str, object]:
    """Print hours by the number of nodes, without and with losses."""
    times, rng = made[-1], random.Random(0)
    phases = tasks_of(times, images, attacked, slower, rng)
    lines = [Line.through({one.images: getattr(one, name) for one in made}) for name in ("before", "between", "after")]
    serial = [line.at(images) for line in lines]
    count = sum(map(len, phases))
    mean = sum(map(sum, phases)) / count
    print(f"{images:,} images, {count:,} shards of {mean:.1f} s, {slots} at once a node")
    print(f"  one process: {serial[0]:.0f} s before, {serial[1]:.0f} s between, {serial[2]:.0f} s after,")
    print(f"  {slower * times.beside:.0f} s beside the second phase, {1000 * times.taking_in:.1f} ms for each shard")
    print(f"{'nodes':>6}{'hours':>10}{'speed-up':>10}{'efficiency':>12}{'with losses':>13}{'one process':>13}")
    scaled, rows = replace(times, beside=slower * times.beside), []
    for nodes in NODES:
        calm = Cluster(nodes=nodes, slots=slots, lives=float("inf"))
        hours = simulated(phases, serial, scaled, calm, rng) / 3600
        lossy = [
            simulated(phases, serial, scaled, replace(calm, lives=lives), random.Random(seed)) for seed in range(5)
        ]
        rows.append({"nodes": nodes, "hours": hours, "with_losses": statistics.median(lossy) / 3600})
        gain = rows[0]["hours"] / hours
        share = sum(serial) / 3600 / hours
        print(
            f"{nodes:>6}{hours:>10.2f}{gain:>10.1f}{gain / nodes:>12.0%}{rows[-1]['with_losses']:>13.2f}{share:>13.0%}"
        )
    return {
        "slower": slower,
        "shards": count,
        "serial_seconds": [round(each, 1) for each in serial],
        "beside_seconds": round(scaled.beside, 1),
        "taking_in_ms": round(1000 * times.taking_in, 2),
        "rows": [{name: round(value, 3) for name, value in row.items()} for row in rows],
    }


if __name__ == "__main__":
    main()
