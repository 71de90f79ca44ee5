"""Two nodes of Ray on this machine, and ways to lose parts of them."""

import os
import random
import signal
from contextlib import suppress
from pathlib import Path

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_worker_niceness", "0")  # else workers are nice by 15, and a busy machine forgets them
os.environ.setdefault("RAY_raylet_start_wait_time_s", "180")  # a busy machine starts a node in more than 30 seconds

CORES = 2


class Nodes:
    """A head that measures nothing, and two nodes with two processors each; of which one may be lost and come back."""

    def __init__(self, count=2):
        from ray.cluster_utils import Cluster

        self.cluster = Cluster(
            initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **_SMALL}
        )
        self.nodes = [self._added() for _ in range(count)]
        self.address = self.cluster.address

    def _added(self):
        return self.cluster.add_node(num_cpus=CORES, **_SMALL)

    def lose(self, rng):
        """End a node at once, with all that it runs, and start another in its place."""
        node = self.nodes.pop(rng.randrange(len(self.nodes)))
        self.cluster.remove_node(node, allow_graceful=False)
        self.nodes.append(self._added())

    def measuring(self):
        """The processes that a task or its model runs in, (pid, command)."""
        raylets = {node.all_processes["raylet"][0].process.pid for node in self.nodes}
        return [(pid, words) for pid, words in _descendants(raylets) if _measures(words)]

    def end(self):
        self.cluster.shutdown()


_SMALL = {"object_store_memory": 100 * 2**20}


def _measures(words):
    return words.startswith("ray::demur") or "demur.pipeline.run.helper" in words


def _descendants(pids):
    """The processes that come from some, (pid, command)."""
    parents = {}
    for place in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            parents[int(place.name)] = int((place / "stat").read_text().rpartition(")")[2].split()[1])
    found = set(pids)
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    for pid in sorted(found - set(pids)):
        with suppress(OSError):
            yield pid, (Path("/proc") / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode()


def kill_one(nodes, rng: random.Random):
    """End one process that measures, if there is any; what it was."""
    found = nodes.measuring()
    if not found:
        return None
    pid, words = rng.choice(found)
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    return "worker" if words.startswith("ray::") else "its process"
