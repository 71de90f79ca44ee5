"""What analysis and report cost where there are many rows: seconds, and memory at its highest.

A small audit of noisy patterns gives the run folder its facts, pictures and policies. Its records are then replaced by
many more, written shard by shard as an audit writes them: clean images and 19 corruptions of all of them, two attacks
on some, ten classes, five signals of logits. `demur report` is then run on the folder in a process of its own.

    python benchmarks/report_rows.py [--quick] [--rows N] [--shard-rows N] [--groups N] [--narrow] [--again]
        [--keep DIR] [-- …]

`--groups` puts N images of different labels in each group, `--narrow` keeps logits of clean rows alone, `--again`
reports twice, `--keep` leaves the folder there, and reports on it if it is there already. What follows `--` are options
of `demur report`.
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from demur import seal
from demur.files import json_bytes
from demur.records import COLUMNS, EncodedShard, frame

CLASSES, ATTACKED, SEED_IMAGES = 10, 10_000, 3_000
SIGNALS = ("msp", "max_logit", "energy", "entropy", "margin")
CORRUPTIONS = {"gaussian_noise": 5, "gaussian_blur": 5, "low_light": 5, "jpeg_compression": 4}
SPLITS = np.array(["fit", *["tune"] * 3, *["certify"] * 8, *["test"] * 8])
"""Of twenty images in their order; labels go by the twenties, so that neither tells of the other."""

ONCE = """
import json, resource, sys, time
from pathlib import Path
from demur.cli import main
sys.argv = ["demur", "report", *sys.argv[1:]]
began, code = time.monotonic(), 0
try:
    main()
except SystemExit as end:
    code = end.code
status = Path("/proc/self/status").read_text()  # getrusage would count what the parent held when it forked
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({
    "seconds": round(time.monotonic() - began, 1),
    "cpu": round(used.ru_utime + used.ru_stime, 1),
    "peak_mb": round(int(status.partition("VmHWM:")[2].split()[0]) / 1024),
    "code": code,
}), file=sys.stderr)  # stdout is closed
"""
SEED = """
import sys
from pathlib import Path
import demur
from many_classes import Net, images_and_labels
conditions = [f"{name}(severity={list(range(1, 1 + most))})" for name, most in %r.items()]
plan = {
    "conditions.use": ["clean", "pgd(eps=2/255, keep='worst', steps=5)", "fgsm(eps=2/255)", *conditions],
    "conditions.attacked": 200, "signals.use": %r,
}
names, each = tuple(f"kind {k}" for k in range(%d)), int(sys.argv[2])
images, labels = images_and_labels(%d, %d)
groups = [f"lot {i // each}" for i in range(len(labels))] if each > 1 else None
data = demur.from_tensors(images, labels, classes=names, groups=groups)
demur.audit(demur.Classifier(Net(%d).eval(), classes=names), data, out=Path(sys.argv[1]), plan=plan, risk=0.1)
"""


@dataclass(frozen=True)
class Task:
    """A shard to write: of which condition, and which images."""

    name: str
    condition: Mapping[str, Any]
    first: int
    rows: int
    wide: bool
    grouped: int


def seed_run(run: Path, grouped: int) -> None:
    """A small audit; its folder is given other records later."""
    code = SEED % (CORRUPTIONS, list(SIGNALS), CLASSES, SEED_IMAGES, CLASSES, CLASSES)
    subprocess.run(
        [sys.executable, "-c", code, str(run), str(grouped)], check=True, cwd=Path(__file__).parent, capture_output=True
    )


def logits_of(task: Task, labels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Logits that are right the less often the more severe the condition is."""
    number = int(task.name[1:4])
    draw = np.random.default_rng([number, task.first])
    logits = draw.standard_normal((task.rows, CLASSES), np.float32)
    sure = 4.5 - 0.35 * task.condition["severity"] * (task.condition["kind"] == "corruption")
    sure = sure if task.condition["kind"] != "attack" else 0.5
    logits[np.arange(task.rows), labels] += np.float32(sure) + draw.standard_normal(task.rows, np.float32)
    return logits


def scores_of(logits: np.ndarray[Any, Any], ordered: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, Any]]:
    """The five signals, in double precision."""
    shifted = np.exp((logits - ordered[:, -1:]).astype(np.float64))
    total = shifted.sum(axis=1)
    p = shifted / total[:, None]
    second = np.exp((ordered[:, -2] - ordered[:, -1]).astype(np.float64)) / total
    found = {
        "msp": 1 - 1 / total,
        "max_logit": -ordered[:, -1].astype(np.float64),
        "energy": -(ordered[:, -1] + np.log(total)),
        "entropy": -(p * np.log(np.maximum(p, 1e-300))).sum(axis=1),
        "margin": 1 - 1 / total + second,
    }
    return {f"signal.{name}": values for name, values in found.items()}


def group_of(at: np.ndarray[Any, Any], size: int) -> np.ndarray[Any, Any]:
    """The group of each image: the same place in so many twenties, so that it has one split and different labels."""
    return at // 20 // size * 20 + at % 20


def table(task: Task) -> pl.DataFrame:
    """The rows of a shard."""
    attacked, at = task.condition["kind"] == "attack", np.arange(task.first, task.first + task.rows)
    at = at // 8 * 20 + 12 + at % 8 if attacked else at  # test images alone
    labels = at // 20 % CLASSES
    logits = logits_of(task, labels)
    found = logits.argmax(axis=1)
    ordered = np.sort(logits, axis=1)
    columns: dict[str, Any] = {
        "sample_id": [f"{i:06d}" for i in at],
        "split": SPLITS[at % 20],
        "label": labels,
        "condition": [task.condition["name"]] * task.rows,
        "severity": np.full(task.rows, task.condition["severity"]),
        "norm": [task.condition["norm"]] * task.rows,
        "predicted": found,
        "margin": np.where(found == labels, 1, -1) * (ordered[:, -1] - ordered[:, -2]),
        "forwards": np.full(task.rows, 1 + 5 * attacked),
        "backwards": np.full(task.rows, 5 * attacked),
    }
    if task.grouped > 1:
        columns["group"] = [f"lot {i}" for i in group_of(at, task.grouped)]
    if attacked:
        columns |= {"distance.linf": np.full(task.rows, task.condition["severity"]), "flags": np.zeros(task.rows)}
        columns |= {"loss.start": np.zeros(task.rows), "loss.kept": np.ones(task.rows), "step": np.ones(task.rows)}
    columns = {name: pl.Series(name, values).cast(COLUMNS[name]) for name, values in columns.items()}
    kept = pl.DataFrame(logits, schema=[f"logit.{k}" for k in range(CLASSES)])
    return frame(columns, kept if task.wide else kept.select([]), pl.DataFrame(scores_of(logits, ordered)))


def written(task: Task, run: Path) -> dict[str, Any]:
    """Write a shard, without waiting for the disk; its entry in the manifest."""
    shard = EncodedShard.of(table(task), task.name)
    (run / "records" / f"{task.name}.parquet").write_bytes(shard.records)
    sha256 = hashlib.sha256(shard.records).hexdigest()
    return {"shard": task.name, "condition": task.condition["name"], "rows": task.rows, "sha256": sha256}


def tasks(facts: Mapping[str, Any], shard_rows: int, grouped: int, *, narrow: bool) -> Iterator[Task]:
    """Every shard of a run."""
    for number, entry in enumerate(facts["conditions"]):
        for shard, first in enumerate(range(0, entry["rows"], shard_rows)):
            rows = min(shard_rows, entry["rows"] - first)
            wide = not narrow or entry["kind"] == "clean"
            yield Task(f"c{number:03d}-s{shard:04d}", entry, first, rows, wide, grouped)


def inflate(run: Path, rows: int, shard_rows: int, grouped: int, *, narrow: bool) -> None:
    """Give a run folder so many rows."""
    facts = json.loads((run / "run.json").read_bytes())
    images = rows // (1 + sum(CORRUPTIONS.values()))
    attacked = min(ATTACKED, images // 5)
    names, counts = np.unique(SPLITS[np.arange(images) % 20], return_counts=True)
    facts["splits"] = {str(name): int(count) for name, count in zip(names, counts, strict=True)}
    facts["attacked"] = attacked
    facts["groups"] = len(np.unique(group_of(np.arange(images), grouped))) if grouped > 1 else None
    for entry in facts["conditions"]:
        entry["rows"] = attacked if entry["kind"] == "attack" else images
    for old in (run / "records").glob("*.parquet"):
        old.unlink()
    with multiprocessing.get_context("spawn").Pool(min(2, os.cpu_count() or 1)) as pool:
        work = tasks(facts, shard_rows, grouped, narrow=narrow)
        entries = list(pool.imap(partial(written, run=run), work, chunksize=16))
    seal.unseal(run, [name for name in seal.read_seal(run) or () if seal.is_derived(name)])
    seal.write_sealed(run, {"run.json": json_bytes(facts), "manifest.json": json_bytes(entries)})


def report(run: Path, options: list[str]) -> dict[str, Any]:
    """`demur report` in a process of its own."""
    environment = {**os.environ, "POLARS_MAX_THREADS": os.environ.get("POLARS_MAX_THREADS", "2")}
    command = [sys.executable, "-c", ONCE, str(run), *options]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    figures = json.loads(done.stderr.splitlines()[-1])
    if done.returncode or figures["code"] not in {0, 1, 3}:
        sys.exit(done.stderr)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="200,000 rows")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--shard-rows", type=int, default=512, help="512 are the most that an audit writes")
    parser.add_argument("--groups", type=int, default=1, help="images in each group")
    parser.add_argument("--narrow", action="store_true", help="logits of clean rows alone")
    parser.add_argument("--again", action="store_true", help="report a second time")
    parser.add_argument("--keep", type=Path, help="where the folder is left")
    parser.add_argument("options", nargs="*", help="of demur report")
    chosen = parser.parse_args()
    rows = 200_000 if chosen.quick else chosen.rows
    with tempfile.TemporaryDirectory() as scratch:
        run = chosen.keep or Path(scratch) / "run"
        began = time.monotonic()
        if not (run / "seal.json").exists():
            seed_run(run, chosen.groups)
            inflate(run, rows, chosen.shard_rows, chosen.groups, narrow=chosen.narrow)
        made = round(time.monotonic() - began, 1)
        entries = json.loads((run / "manifest.json").read_bytes())
        size = sum(file.stat().st_size for file in (run / "records").iterdir())
        found = {"rows": sum(entry["rows"] for entry in entries), "shards": len(entries), "made_s": made}
        found |= {"records_mb": round(size / 1e6)} | report(run, chosen.options)
        if chosen.again:
            found |= {f"again_{name}": value for name, value in report(run, chosen.options).items()}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
