"""The same audit by one process, by two, in parts and on two nodes of Ray: every byte that is no time is compared.

    python benchmarks/engines_agree.py [--quick] [--parts N] [--out FOLDER]

ResNet-20 on 2,000 CIFAR-10 images, as they are, under PGD and under three corruptions, with every signal of logits; the
images and weights of DEMUR_SHARED, and with --quick the shipped classifier on 600 Fashion-MNIST images. Compared are
the plan, what was run, the manifest, records, facts and pictures as they are; and results, report and tables as they
are written of copies in which the times of every run are those of the first, but for the moment at which that is. Every
run is in a folder of its own, for results tell how often labels were opened beside them. Ray is left out where it is
not installed. The last line is JSON, and the exit status 1 where anything differs.
"""

import argparse
import importlib.util
import json
import os
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch

import demur.analysis
import demur.report
from common.ray_nodes import two_nodes
from demur import seal
from demur.pipeline.plan.plan_file import Plan, read_plan
from demur.pipeline.run.index_run import write_index
from demur.pipeline.run.loop import run_plan
from demur.pipeline.run.merged_parts import merge_parts
from demur.pipeline.run.part_run import Part, freeze_run, measure_part
from demur.pipeline.run.resources import Resources

ROOMS = ("plan.toml", "run.json", "manifest.json", "records/*", "parts/*", "facts/*", "thumbs/*")
DERIVED = ("results.json", "report.html", "summary.md", "junit.xml", "tables/*")
TIMES = ("timings/*.json", "log.jsonl")
MOMENT = re.compile(rb"[0-9]{4}-[0-9]{2}-[0-9]{2}[ T][0-9]{2}:[0-9]{2}( UTC|:[0-9.]+[+]00:00)")


class Silent:
    """Progress that nobody watches."""

    def start(self, rows: int) -> None: ...

    def advance(self, rows: int, what: str, left: float | None = None) -> None: ...

    def say(self, what: str) -> None: ...


def plan(*, quick: bool) -> Plan:
    """The audit of the promise, or a small one of what is shipped."""
    use = [
        "clean",
        "pgd(eps=0.0314, steps=10)",
        "gaussian_noise(severity=3)",
        "contrast(severity=3)",
        "shot_noise(severity=3)",
    ]
    signals = [
        *("msp", "entropy", "margin", "max_logit", "energy", "doctor", "pnorm", "tempered", "temperature_scaled"),
        *("maxlogit_pnorm", "relative_u"),
    ]
    given = {"conditions.use": use, "epsilon.use": [], "attribution.maps": [], "attribution.regions": []}
    if quick:
        return read_plan(None, (), {**given, "data.limit": 600, "conditions.attacked": 100})
    shared = os.environ["DEMUR_SHARED"]
    weights = f"{shared}/models/cifar10_resnet20.safetensors?mean=.485,.456,.406&std=.229,.224,.225"
    addresses = {
        "model.address": f"zoo:resnet20@{weights}",
        "data.address": f"parquet:{shared}/data/cifar10/test.parquet",
    }
    return read_plan(
        None, (), {**given, **addresses, "data.limit": 2000, "conditions.attacked": 500, "signals.use": signals}
    )


def in_parts(of: Plan, out: Path, count: int, *, indexed: bool = False) -> None:
    """Both phases of an audit in parts, one after the other; by an index in as many parts, where one is made."""
    parts = [Part(number=each, count=count) for each in range(1, count + 1)]
    folders = [out.with_name(f"{out.name}-part-{part.number}") for part in parts]
    index = out.with_name("index") if indexed else None
    one = Resources(workers=1, threads=1, index=index)
    for part in parts if index is not None else ():
        write_index(of, part, index, Silent(), resources=Resources(workers=1, threads=1))
    for frozen in (None, out):
        for part, folder in zip(parts, folders, strict=True):
            measure_part(of, part, folder, Silent(), frozen=frozen, resources=one)
        merge_parts(folders, out)
        if frozen is None:
            freeze_run(out, Silent(), resources=one)
    run_plan(of, out, Silent(), resources=one)


def files(run: Path, rooms: tuple[str, ...]) -> dict[str, bytes]:
    return {
        str(path.relative_to(run)): path.read_bytes() for room in rooms for path in run.glob(room) if path.is_file()
    }


def derived(run: Path, times: Path) -> dict[str, bytes]:
    """What is worked out of a copy of a run that took the times of another."""
    place = times.with_name("compared")  # one path for all, which results have, and a ledger of openings of its own
    shutil.rmtree(place, ignore_errors=True)
    copy = shutil.copytree(run, place / "run")
    seal.write_sealed(copy, files(times, TIMES))
    shutil.copyfile(times / "timings/times.jsonl", copy / "timings/times.jsonl")
    demur.report.write(copy, demur.analysis.write_results(copy, by="audit"))
    return {name: MOMENT.sub(b"a moment", content) for name, content in files(copy, DERIVED).items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--parts", type=int, default=1)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    of, out = plan(quick=given.quick), given.out or Path(tempfile.mkdtemp())
    ways: dict[str, Callable[[Path], object]] = {
        "one process": lambda run: run_plan(of, run, Silent(), resources=Resources(workers=1, threads=1)),
        "two processes": lambda run: run_plan(of, run, Silent(), resources=Resources(workers=2, threads=1)),
        f"{given.parts} part(s)": lambda run: in_parts(of, run, given.parts),
        f"{given.parts} part(s) by an index": lambda run: in_parts(of, run, given.parts, indexed=True),
    }
    if importlib.util.find_spec("ray"):
        ways["Ray on two nodes"] = lambda run: on_ray(of, run)
    runs, seconds = {}, {}
    for name, way in ways.items():
        began, runs[name] = time.monotonic(), out / name.replace(" ", "-") / "run"
        way(runs[name])
        seconds[name] = round(time.monotonic() - began, 1)
        print(f"{name}: {seconds[name]} s", flush=True)
    sys.exit(compared(runs, seconds))


def on_ray(of: Plan, run: Path) -> None:
    with two_nodes(cores=1) as address:
        run_plan(of, run, Silent(), resources=Resources(engine="ray", address=address))


def compared(runs: dict[str, Path], seconds: dict[str, float]) -> bool:
    """Print what differs between the first run and each other; whether anything does."""
    first = next(iter(runs.values()))
    whole = {**files(first, ROOMS), **derived(first, first)}
    differing = {}
    for name, run in runs.items():
        found = {**files(run, ROOMS), **derived(run, first)}
        differing[name] = sorted(each for each in whole.keys() | found.keys() if whole.get(each) != found.get(each))
        print(f"{name}: {len(found)} files, {len(differing[name])} differ {' '.join(differing[name][:8])}")
    records = sum(name.startswith("records/") for name in whole)
    print(json.dumps({"files": len(whole), "shards": records, "seconds": seconds, "differing": differing}))
    return any(differing.values())


if __name__ == "__main__":
    main()
