"""Audits on Ray that lose workers and a node, or the process that leads them; each must end as if nothing had been.

    python -m tests.scale.chaos [--runs 20] [--seed 0] [--out FOLDER]

runs so many audits of either kind on two nodes of this machine, and prints a line for each; the last line is JSON.
"""

import argparse
import json
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from demur.files import read_json
from demur.pipeline.run.merged_parts import planned_shards
from tests import tiny
from tests.scale import slow_audit
from tests.scale.ray_nodes import Nodes, kill_one

KILLS = 6
PATIENCE = 400.0


def workers_lost(out, nodes, rng):
    """Run an audit while processes that measure are killed, and one node is lost; what was done to it."""
    done = {"worker": 0, "its process": 0, "node": 0, "idle": 0}
    audit, began, lost_at = slow_audit.started(out, nodes.address), time.monotonic(), rng.randrange(1, 4)
    while audit.poll() is None:
        _wait(audit, rng.uniform(1.0, 3.0))
        _check_time(audit, began)
        hits = done["worker"] + done["its process"]
        if hits >= lost_at and not done["node"]:
            nodes.lose(rng)
            done["node"] = 1
        elif hits < KILLS and audit.poll() is None:
            done[kill_one(nodes, rng) or "idle"] += 1
    return done, audit


def leader_lost(out, nodes, rng):
    """Run an audit whose leading process is killed up to four times, and the same command again."""
    done, began = {"leader": 0}, time.monotonic()
    while True:
        audit = slow_audit.started(out, nodes.address)
        if done["leader"] < 4:
            _wait(audit, rng.uniform(4.0, 14.0))
            if audit.poll() is None:
                audit.send_signal(signal.SIGKILL)
                audit.wait()
                done["leader"] += 1
                continue
        while audit.poll() is None:
            _wait(audit, 1.0)
            _check_time(audit, began)
        return done, audit


def _wait(audit, seconds):
    until = time.monotonic() + seconds
    while audit.poll() is None and time.monotonic() < until:
        time.sleep(0.05)


def _check_time(audit, began):
    if time.monotonic() - began > PATIENCE:
        audit.kill()


def differences(out, whole):
    """What an audit left otherwise than an undisturbed one: files, and shards that are missing or there twice."""
    ours = tiny.hashes(out)
    found = sorted(name for name in whole.keys() | ours.keys() if whole.get(name) != ours.get(name))
    entries = [entry["shard"] for entry in read_json(out / "manifest.json")] if not found else []
    planned = sorted(planned_shards(read_json(out / "run.json"))) if not found else []
    return found or ([] if sorted(entries) == planned else ["shards are not those of the plan, each once"])


def runs(kind, count, seed, folder, nodes, whole):
    """Disturb so many audits; a line of each, and how many ended as they should."""
    disturb, good = {"workers": workers_lost, "leader": leader_lost}[kind], 0
    for at in range(count):
        out, began = folder / f"{kind}-{seed + at}", time.monotonic()
        done, audit = disturb(out, nodes, random.Random(f"{kind} {seed + at}"))
        wrong = differences(out, whole) if audit.returncode == 0 else [audit.stderr.read()[-600:]]
        if not wrong and not (
            done["node"] and done["worker"] + done["its process"] if kind == "workers" else done["leader"]
        ):
            wrong = ["it ended before it was disturbed, which shows nothing"]
        good += not wrong
        told = ", ".join(f"{name} {number}" for name, number in done.items())
        print(
            f"{kind} seed {seed + at}: {told}; {time.monotonic() - began:.0f} s; {wrong or 'as undisturbed'}",
            flush=True,
        )
    return good


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default="workers,leader")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    folder = given.out or Path(tempfile.mkdtemp())
    whole = tiny.hashes(slow_audit.run(folder / "undisturbed"))
    nodes = Nodes()
    try:
        good = {kind: runs(kind, given.runs, given.seed, folder, nodes, whole) for kind in given.kinds.split(",")}
    finally:
        nodes.end()
    print(
        json.dumps(
            {
                "runs": given.runs,
                "seed": given.seed,
                "tasks": len(list((folder / "undisturbed/records").iterdir())),
                "as_undisturbed": good,
            }
        )
    )
    sys.exit(any(count != given.runs for count in good.values()))


if __name__ == "__main__":
    main()
