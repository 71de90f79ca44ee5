"""How many files one shard of an audit passes through, from its images to its rows on the disk.

    python tools/hops.py

Runs a clean, a PGD and a corrupted shard of a small job and counts the files and functions of demur that were called,
without those of the signals. The model and the images are the caller's own. The last line is JSON: files and functions
of each, and how many files `src` has and how many file names stand there more than once.
"""

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import nn

import demur
from demur.classifier import BoundClassifier
from demur.data import build_index, from_tensors
from demur.pipeline.job import Job, Shard, shards
from demur.pipeline.plan.plan_file import Plan
from demur.pipeline.plan.plan_tables import Conditions
from demur.pipeline.plan.resolve import resolve
from demur.pipeline.run.measured_shard import MEASURES
from demur.pipeline.run.run_writer import RunWriter
from demur.records import EncodedShard

ROOT = Path(demur.__file__).parent
SIGNALS = ROOT / "signals"
CONDITIONS = ("clean", "pgd(eps=0.1, steps=4)", "gaussian_noise(severity=3)")


def small_job() -> Job:
    """Sixty random images, a linear net, the signals that every plan has."""
    dice = torch.Generator().manual_seed(0)
    source = from_tensors(torch.rand(60, 1, 8, 8, generator=dice), torch.arange(60) % 3, classes=("a", "b", "c"))
    net = nn.Sequential(nn.Flatten(), nn.Linear(64, 3)).eval()
    classifier = BoundClassifier(net, classes=source.classes, input_shape=source.input_shape)
    plan = Plan(conditions=Conditions(use=CONDITIONS, attacked=12))
    return Job.of(resolve(plan, source), classifier, source, build_index(source))


def hops(work: Callable[[], object]) -> set[tuple[str, str]]:
    """File and name of every function of demur that is called, but for those of signals."""
    called = set[tuple[str, str]]()

    def note(frame: FrameType, event: str, _argument: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(ROOT) and not path.is_relative_to(SIGNALS):
            called.add((str(path.relative_to(ROOT)), frame.f_code.co_qualname))

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return called


def of_a_shard(job: Job, shard: Shard, folder: RunWriter) -> set[tuple[str, str]]:
    """What measuring a shard and writing it passes through, as the loop of an audit does it; imports come before."""

    def work() -> None:
        table = MEASURES[shard.condition.kind](job, shard.condition, shard.rows)
        folder.add(shard.name, shard.condition.name, EncodedShard.of(table, shard.name))

    work()
    return hops(work)


def main() -> dict[str, Any]:
    """Count and tell."""
    job, found = small_job(), dict[str, Any]()
    with tempfile.TemporaryDirectory() as folder:
        for shard in shards(job):
            called = of_a_shard(job, shard, RunWriter(Path(folder)))
            files = sorted({file for file, _ in called})
            name = shard.condition.family
            found[name] = {"files": len(files), "functions": len(called)}
            sys.stdout.write(f"{name}: {', '.join(files)}\n")
    names = Counter(path.name for path in ROOT.rglob("*.py") if path.name != "__init__.py")
    repeated = [name for name, count in names.items() if count > 1]
    return {**found, "source_files": sum(1 for _ in ROOT.rglob("*.py")), "repeated_names": len(repeated)}


if __name__ == "__main__":
    sys.stdout.write(f"{json.dumps(main())}\n")
