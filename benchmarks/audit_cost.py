"""What an audit costs over the passes of its model, and how each stage of it grows.

    python benchmarks/audit_cost.py [--quick] [--model ADDRESS] [--data ADDRESS] [--set KEY=VALUE] [--workers N]
                                    [--growth]

The default audit runs in one process of one thread. Its *passes* are what its records and trials count. The *floor* is
the time of the processor that the bare model takes for so many forwards and backwards of full batches, in the layout
that the classifier gives them; layers folded where attacks search may take less than the floor says. Stages are timed
by the clock of the process: `timings/times.jsonl` of the run, and around analysis and report. With `--workers` the time
of helpers counts, their start too, and `children` says how much that is. `--growth` repeats small audits with more
images, classes, conditions and pixels, and prints for each stage the exponent: the slope of log time over log size.
"""

import argparse
import json
import resource
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
import torch
from torch import nn

import demur.analysis
import demur.report
from demur.adapters import load_model
from demur.classifier import BoundClassifier
from demur.data import from_tensors, open_data
from demur.data.source import Source
from demur.files import read_json
from demur.pipeline.plan.plan_file import Plan, read_plan
from demur.pipeline.run.loop import run_plan
from demur.pipeline.run.resources import Resources
from demur.pipeline.run.run_times import TIMES
from demur.records import read

BATCH = 128


@dataclass
class Silent:
    """Progress that nobody watches."""

    def start(self, rows: int) -> None: ...

    def advance(self, rows: int, what: str, left: float | None = None) -> None: ...

    def say(self, what: str) -> None: ...


@dataclass(frozen=True)
class Audit:
    """What one audit cost, in seconds of the processor.

    Attributes:
        stages: by what was done.
        children: of helpers, all told.
        wall: by the clock on the wall.
        forwards: passes that the records, trials and curves count.
        backwards: of these, the ones back.
    """

    stages: Mapping[str, float]
    children: float
    wall: float
    forwards: int
    backwards: int

    @property
    def cpu(self) -> float:
        return sum(self.stages.values())


def children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@dataclass
class Stages:
    """The clock of the process, read between stages."""

    began: float = field(default_factory=time.process_time)
    found: dict[str, float] = field(default_factory=dict)

    def note(self, name: str) -> None:
        now = time.process_time()
        self.found[name], self.began = now - self.began, now


def audit(
    plan: Plan, out: Path, workers: int, source: Source | None = None, model: BoundClassifier | None = None
) -> Audit:
    """Run an audit with its analysis and report."""
    wall, before, stages = time.monotonic(), children(), Stages()
    run_plan(plan, out, Silent(), source, model, resources=Resources(workers=workers, threads=1))
    stages.note("audit")
    results = demur.analysis.write_results(out, by="audit")
    stages.note("analysis")
    demur.report.write(out, results)
    stages.note("report")
    told, helped = dict(own_stages(out)), children() - before
    others = stages.found.pop("audit") + helped - sum(told.values())
    found = {**told, "reading, checks, writing, helpers" if workers > 1 else "reading, checks, writing": others}
    return Audit({**found, **stages.found}, helped, time.monotonic() - wall, *passes(out))


def own_stages(out: Path) -> Iterator[tuple[str, float]]:
    """What the run itself noted, shards by the kind of their condition."""
    kinds = [entry["kind"] for entry in read_json(out / "run.json")["conditions"]]
    found: dict[str, float] = defaultdict(float)
    for line in map(json.loads, (out / TIMES).read_text().splitlines()):
        name = line["name"]
        place = name.removeprefix("c").partition("-s")[0]
        found[kinds[int(place)] if place.isdecimal() else name] += line["cpu"]
    return iter(found.items())


def passes(out: Path) -> tuple[int, int]:
    """Forwards and backwards that a run counted; those of maps and trials among them."""
    rows = read(out).select(pl.col("forwards", "backwards").sum()).row(0)
    trials = read_json(out / "facts/trials.json")
    return int(rows[0]) + trials["forwards"], int(rows[1]) + trials["backwards"]


def pass_times(classifier: BoundClassifier, rounds: int) -> tuple[float, float]:
    """Seconds of the processor for a forward, and for a forward and backward, of the bare model on a full batch."""
    draw = torch.Generator().manual_seed(0)
    x = torch.rand(BATCH, *classifier.input_shape, generator=draw)
    module, prepared = classifier.as_module(), classifier.prepare(x)
    only, pair = [], []
    for _ in range(rounds + 2):
        begun = time.process_time()
        with torch.no_grad():
            module(prepared)
        middle = time.process_time()
        leaf = prepared.detach().requires_grad_()
        torch.autograd.grad(module(leaf).logsumexp(dim=1).sum(), leaf)
        only.append(middle - begun)
        pair.append(time.process_time() - middle)
    return float(np.median(only[2:])), float(np.median(pair[2:]))


def floor_of(times: Sequence[tuple[float, float]], forwards: int, backwards: int) -> float:
    """Seconds for so many passes, by the mean of times before and after the audit."""
    forward, pair = np.mean(times, axis=0)
    return float((forwards - backwards) / BATCH * forward + backwards / BATCH * pair)


def told(found: Audit, bare: float) -> dict[str, object]:
    total = found.cpu
    print(f"  passes: {found.forwards:,} forwards and {found.backwards:,} backwards; floor {bare:.1f} s")
    for name, seconds in sorted(found.stages.items(), key=lambda item: -item[1]):
        print(f"  {name:<34}{seconds:8.2f} s{seconds / total:8.1%}")
    print(f"  all {total:.1f} s, {total / bare:.3f} of the floor; {found.wall:.1f} s on the wall")
    apart = total - found.stages["analysis"] - found.stages["report"]
    print(f"  without analysis and report {apart:.1f} s, {apart / bare:.3f} of the floor")
    return {
        "forwards": found.forwards,
        "backwards": found.backwards,
        "floor": round(bare, 2),
        "cpu": round(total, 2),
        "wall": round(found.wall, 2),
        "children": round(found.children, 2),
        "ratio": round(total / bare, 4),
        "ratio_without_analysis": round(apart / bare, 4),
        "stages": {name: round(seconds, 3) for name, seconds in found.stages.items()},
    }


class Patterns(nn.Module):
    """One convolution and a linear layer over any number of classes: passes that cost nearly nothing."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.filters, self.head = nn.Conv2d(1, 8, 3, stride=2), nn.Linear(8, classes)
        draw = torch.Generator().manual_seed(0)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.3, generator=draw)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.filters(x).relu().amax(dim=(2, 3)))


def made(images: int, classes: int, conditions: int, side: int) -> tuple[Plan, Source, BoundClassifier]:
    """A small audit of given size; images are bytes, as most are."""
    rng = np.random.default_rng(0)
    labels = np.arange(images) % classes
    patterns = rng.integers(0, 256, (classes, 1, side, side))
    pixels = np.clip(patterns[labels] + rng.integers(-40, 41, (images, 1, side, side)), 0, 255).astype(np.uint8)
    names = tuple(f"class {k}" for k in range(classes))
    source = from_tensors(torch.from_numpy(pixels).float() / 255, torch.from_numpy(labels), classes=names, name="made")
    model = BoundClassifier(Patterns(classes).eval(), classes=names, input_shape=(1, side, side))
    severities = ", ".join(str(k) for k in range(1, 6))
    families = ("gaussian_noise", "low_light", "gaussian_blur", "contrast", "brightness", "shot_noise")
    use = [f"{name}(severity=[{severities}])" for name in families[: max(1, conditions // 5)]]
    given = {"conditions.use": ["clean", "fgsm(eps=0.05)", *use], "conditions.attacked": images // 10}
    return read_plan(None, (), {**given, "data.address": "digits", "model.trust_labels": True}), source, model


SIZES: Mapping[str, Sequence[int]] = {
    "images": (1000, 2000, 4000),
    "classes": (10, 40, 160),
    "conditions": (5, 15, 30),
    "side": (16, 32, 64),
}
USUAL = {"images": 1000, "classes": 10, "conditions": 5, "side": 16}


def small(sizes: Mapping[str, int]) -> Audit:
    plan, source, model = made(**sizes)
    with tempfile.TemporaryDirectory() as folder:
        return audit(plan, Path(folder) / "run", 1, source, model)


def growth(sizes: Mapping[str, Sequence[int]]) -> dict[str, dict[str, float]]:
    """The exponent of each stage over each size; stages below a twentieth of a second are left out."""
    found = {}
    small(USUAL)  # what is imported on the way is no part of any
    for name, steps in sizes.items():
        audits = [small({**USUAL, name: size}) for size in steps]
        rows = {"all": [each.cpu for each in audits]}
        rows |= {stage: [each.stages.get(stage, 0.0) for each in audits] for stage in audits[-1].stages}
        found[name] = {
            stage: round(float(np.polyfit(np.log(steps), np.log(seconds), 1)[0]), 2)
            for stage, seconds in rows.items()
            if min(seconds) > 0.02 and max(seconds) > 0.05
        }
        print(
            f"  over {name} {', '.join(map(str, steps))}: " + ", ".join(f"{k} {v:+.2f}" for k, v in found[name].items())
        )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="1,500 images, under a minute")
    parser.add_argument("--model")
    parser.add_argument("--data")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--growth", action="store_true", help="also how each stage grows")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    named = {"model.address": arguments.model, "data.address": arguments.data}
    limits = {"data.limit": 1500, "conditions.attacked": 100, "epsilon.images": 100, "attribution.images": 60}
    options = {**(limits if arguments.quick else {}), **{k: v for k, v in named.items() if v is not None}}
    plan = read_plan(None, arguments.set, options)
    source = open_data(plan.data.address)
    classifier = load_model(plan.model.address, classes=source.classes, input_shape=source.input_shape)
    classifier.as_module().requires_grad_(requires_grad=False)
    rounds = 10 if arguments.quick else 40
    times = [pass_times(classifier, rounds)]
    with tempfile.TemporaryDirectory() as folder:
        found = audit(plan, Path(folder) / "run", arguments.workers)
    times.append(pass_times(classifier, rounds))
    print(f"{plan.model.address} on {plan.data.address}, {arguments.workers} processes of one thread")
    figures = told(found, floor_of(times, found.forwards, found.backwards))
    if arguments.growth:
        figures["growth"] = growth(SIZES)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
