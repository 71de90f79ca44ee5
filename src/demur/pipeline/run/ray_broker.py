"""The process between an audit and a Ray cluster: it alone imports Ray, submits tasks and hands on what became of them.

Ray prints to its driver's terminal, sets signal handlers and environment, and ends a driver whose cluster is gone. All
that befalls this process, whose end an audit tells in a sentence. Nothing here imports torch.
"""

import pickle
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from socket import create_connection
from typing import Any

from demur.pipeline.run.ray_task import Post

AHEAD = 1000
"""Tasks that are submitted at once, most of which wait: an autoscaler goes by them."""

_WITHIN = 0.1
"""Seconds after which there is a look at what else there is to submit."""

_EVERY = 5.0
"""Seconds between two looks at how many tasks the cluster has room for."""

_PATIENCE = 900.0
"""Seconds to wait for a node of a cluster on which a task has room at all; an autoscaler may start one."""

_REACHABLE = 5.0


@dataclass(frozen=True, kw_only=True)
class Need:
    """Where Ray is and what each task needs.

    Attributes:
        address: of a cluster; None to start one on this machine.
        cores: that one on this machine has; None for as many as there are.
        most: tasks that are submitted at once.
        threads: processors of a task.
        gpus: of a task, parts of one among them.
        memory: bytes of a task; 0 where it is not asked about.
    """

    address: str | None
    cores: int | None
    most: int
    threads: int
    gpus: float
    memory: int

    def room(self, resources: dict[str, float]) -> int:
        """How many tasks a node with such resources has room for."""
        asked = {"CPU": self.threads, "GPU": self.gpus, "memory": self.memory}
        return min(int(resources.get(name, 0) / amount + 1e-6) for name, amount in asked.items() if amount)


def serve(descriptor: int) -> None:
    """Answer at a pipe: `joined` or `refused`, then of each task what became of it, until the pipe is closed."""
    channel: Connection[Any, Any] = Connection(descriptor)
    need: Need = channel.recv()
    try:
        why = _joined(need)
    except BaseException as error:  # noqa: BLE001 - Ray also raises SystemExit, and the pipe tells it
        why = _first_line(error)
    if why:
        channel.send(("refused", why))
        return
    import ray

    channel.send(("joined", max(map(need.room, _nodes().values()), default=0)))

    with suppress(EOFError, OSError):
        Broker(need, channel).run()
    ray.shutdown()


def _joined(need: Need) -> str:
    """Connect to Ray, started here if it is nowhere; why that is not possible."""
    import ray

    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if need.address is None:
        ray.init(address="local", num_cpus=need.cores, include_dashboard=False, **quiet)
        return ""
    if "://" in need.address:
        return "it leads to a gateway of Ray, and tasks are submitted from within the cluster"
    host, _, port = need.address.rpartition(":")
    if host:
        try:
            create_connection((host.strip("[]"), int(port)), _REACHABLE).close()
        except (OSError, ValueError) as error:
            return f"nobody answers there ({error})"
    ray.init(address=need.address, **quiet)
    return ""


def _nodes() -> dict[str, dict[str, float]]:
    """What each node has, by the name that Ray has for it."""
    import ray

    return {node["NodeID"]: node["Resources"] for node in ray.nodes() if node["Alive"]}


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return " ".join(line.strip() for line in lines[:4])[:400].rstrip(" .")


@dataclass
class Broker:
    """Tasks from a pipe to Ray and back."""

    need: Need
    channel: "Connection[Any, Any]"
    waiting: deque[tuple[int, bytes, Sequence[str]]] = field(default_factory=deque)
    open: dict[Any, int] = field(default_factory=dict)
    room: tuple[int, int] = (-1, 0)
    nodes: dict[str, dict[str, float]] = field(default_factory=dict)
    last_look: float = -_EVERY
    closed: bool = False

    def run(self) -> None:
        """Take the job, then tasks; until the pipe is closed."""
        import ray

        post, opening = self.channel.recv()
        self._send = _submission(self.need, post, ray.put(opening))
        threading.Thread(target=self._receive, daemon=True).start()
        self._since = time.monotonic()
        while not self.closed:
            self._look()
            self._submit()
            self._hand_on()

    def _receive(self) -> None:
        """Take tasks from the pipe at any time, so that who sends them never waits."""
        try:
            while (what := self.channel.recv()) is not None:
                self.waiting.append(what)
        except (EOFError, OSError):
            pass
        self.closed = True

    def _submit(self) -> None:
        while self.waiting and len(self.open) < self.need.most:
            number, work, vain = self.waiting.popleft()
            self.open[self._send(work, self._elsewhere(vain))] = number

    def _elsewhere(self, vain: Sequence[str]) -> str | None:
        """A node with room for a task that is none of those on which it was in vain; None to leave it to Ray."""
        rooms = {name: self.need.room(node) for name, node in self.nodes.items() if name not in vain} if vain else {}
        if not any(rooms.values()):
            return None
        return random.choices([*rooms], weights=[*rooms.values()])[0]  # noqa: S311 - only to spread tasks

    def _hand_on(self) -> None:
        """What became of tasks, as soon as one is done."""
        import ray

        if not self.open:
            time.sleep(_WITHIN)
            return
        done, _ = ray.wait(list(self.open), num_returns=1, timeout=_WITHIN)
        if done:
            done, _ = ray.wait(list(self.open), num_returns=len(self.open), timeout=0)
        for each in done:
            self.channel.send(("told", self.open.pop(each), _outcome(each)))

    def _look(self) -> None:
        """Tell how many tasks the cluster has room for, and on how many nodes; give up where there is none for long."""
        now = time.monotonic()
        if now - self.last_look < _EVERY:
            return
        self.last_look, self.nodes = now, _nodes()
        nodes = [*self.nodes.values()]
        rooms = [found for node in nodes if (found := self.need.room(node))]
        room = sum(rooms)
        if self.room != (room, len(rooms)):
            self.room = room, len(rooms)
            self.channel.send(("room", *self.room))
        self._since = now if room else self._since
        if not room and now - self._since >= (0 if self.need.address is None else _PATIENCE):
            self.channel.send(("refused", _no_room(self.need, nodes)))
            self.closed = True


def _no_room(need: Need, nodes: Sequence[dict[str, float]]) -> str:
    memory = f" and {need.memory >> 20} MiB" if need.memory else ""
    most = {name: max((node.get(name, 0) for node in nodes), default=0) for name in ("CPU", "GPU", "memory")}
    return (
        f"no node has room for a task of {need.threads} CPU, {need.gpus:g} GPU{memory}; the most that one has is "
        f"{most['CPU']:g} CPU, {most['GPU']:g} GPU and {int(most['memory']) >> 20} MiB"
    )


def _submission(need: Need, post: Post, opening: Any) -> Callable[[bytes, str | None], Any]:
    """What submits a task, to a node if one is named; the function travels so that a node without demur can say so."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    def task(post: bytes, opening: Sequence[Any], work: bytes) -> tuple[str, Any, str]:
        import pickle
        import platform

        node = ray.get_runtime_context().get_node_id()
        try:
            from demur.pipeline.run.ray_task import measure

            post_ = pickle.loads(post)  # noqa: S301 - of the process that leads this run
        except ImportError as error:
            return "refused", f"cannot import demur ({error})", node
        kind, content = measure(post_, lambda: ray.get(opening[0]), work)
        return kind, f"node {platform.node()} {content}" if isinstance(content, str) else content, node

    sent = pickle.dumps(post)
    options = {"num_cpus": need.threads, "num_gpus": need.gpus, "max_retries": 0, "name": "demur shard"}
    if need.memory:
        options["memory"] = need.memory
    remote = ray.remote(task)

    def submitted(work: bytes, node: str | None) -> Any:
        where = "DEFAULT" if node is None else NodeAffinitySchedulingStrategy(node, soft=True)
        return remote.options(**options, scheduling_strategy=where).remote(sent, [opening], work)

    return submitted


def _outcome(done: Any) -> tuple[str, Any, str]:
    """What became of a task: what it told, or by whose fault it could not, and on which node."""
    import ray
    from ray import exceptions

    try:
        return ray.get(done)
    except exceptions.OutOfMemoryError:
        return "memory", "", ""
    except exceptions.TaskCancelledError as error:
        return "lost", type(error).__name__, ""
    except exceptions.RayTaskError as error:
        return "raised", _last_line(error), ""
    except exceptions.RayError as error:
        return "lost", type(error).__name__, ""


def _last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1][:400]
