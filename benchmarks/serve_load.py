"""What a guard over HTTP costs beyond its model, and whether it loses anything under load, at its end, over time.

    python benchmarks/serve_load.py [--quick] [--guard FOLDER] [--soak SECONDS]

`demur serve` runs in a process of its own, with one thread of the model, on 127.0.0.1; the client is another process of
one thread and plain sockets, which costs as little as Python can. A guard is fitted on the bundled images unless one is
named. Measured:

(a) requests of one PNG each over 64 connections: what was lost, statuses, p50, p95, p99;
(b) one request at a time: p50 of the whole answer, of the model's pass, of the guard called directly, and the overhead;
(c) binary requests of 64 images each over 4 connections: images per second over the bare model's in batches of 64, and
    what share of a core the client takes for itself;
(d) SIGTERM under load: every request that was accepted is answered;
(e) a soak at a steady load: the slope of resident memory after a warm-up.

The last line is one object of JSON.
"""

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

import demur
from demur.containment import keep_freed_memory
from demur.guard import Guard
from demur.guard.golden_vectors import as_file

CONNECTIONS = 64
BOUNDARY = "demur-benchmark"
HEAD = "Inference-Header-Content-Length"


def form(picture: bytes) -> bytes:
    """A whole HTTP request to /predict."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="images"; filename="a.png"\r\n\r\n'.encode()
    body = head + picture + f"\r\n--{BOUNDARY}--\r\n".encode()
    kind = f"multipart/form-data; boundary={BOUNDARY}"
    return request("/predict", body, {"Content-Type": kind})


def infer(name: str, images: np.ndarray) -> bytes:
    """A whole HTTP request of a binary tensor."""
    content = images.astype("<f4").tobytes()
    parameters = {"binary_data_size": len(content)}
    tensor = {"name": "images", "datatype": "FP32", "shape": list(images.shape), "parameters": parameters}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    return request(f"/v2/models/{name}/infer", head + content, {HEAD: str(len(head))})


def request(path: str, body: bytes, headers: dict[str, str]) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


class Wire:
    """A kept connection: sends whole requests, reads whole answers."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.reader: asyncio.StreamReader | None = None
        self.writer: asyncio.StreamWriter | None = None

    async def ask(self, content: bytes) -> tuple[int, bytes]:
        """Status and body; 0 where nobody listens, −1 where it was sent and never answered."""
        sent = False
        try:
            if self.writer is None or self.reader is None or self.writer.is_closing():
                self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port)
            self.writer.write(content)
            sent = True
            head = (await self.reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])
            body = await self.reader.readexactly(length)
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            return -1 if sent else 0, b""
        if b"connection: close" in head:
            self.close()
        return int(head.split(b" ", 2)[1]), body

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
        self.writer = None


async def load(port: int, contents: Sequence[bytes], total: int, connections: int, stop: float = 1e9) -> dict[str, Any]:
    """Send so many requests over some connections, each the next once the last is answered."""
    left, statuses, times, bodies = iter(range(total)), Counter[int](), list[float](), 0
    end = time.perf_counter() + stop

    async def work() -> None:
        nonlocal bodies
        wire = Wire(port)
        for place in left:
            began = time.perf_counter()
            if began > end:
                break
            status, body = await wire.ask(contents[place % len(contents)])
            statuses[status] += 1
            bodies += status == 200 and len(body) > 0
            times.append(time.perf_counter() - began)
            if status == 503:
                await asyncio.sleep(0.05)
            if status == 0:
                break
        wire.close()

    began, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(work() for _ in range(connections)))
    took = time.perf_counter() - began
    quantiles = (
        {f"p{q}_ms": round(1000 * float(np.quantile(times, q / 100)), 3) for q in (5, 50, 95, 99)} if times else {}
    )
    return {
        "load_average": os.getloadavg()[0],
        "requests": sum(statuses.values()), "statuses": {str(k): v for k, v in sorted(statuses.items())},
        "answered": bodies, "per_second": round(sum(statuses.values()) / took, 1),
        "client_share_of_a_core": round((time.process_time() - cpu) / took, 3), **quantiles,
    }  # fmt: skip


@contextmanager
def server(guard: Path, folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A server in a process of its own, and its port."""
    command = [sys.executable, "-m", "demur", "serve", f"bench={guard}", "--port", "0", *options]
    with (folder / "server.log").open("a") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            line = process.stdout.readline() if process.stdout else ""
            if not line:
                raise SystemExit((folder / "server.log").read_text())
            yield process, int(line.rstrip().rpartition(":")[2])
        finally:
            process.terminate()
            process.wait(60)


def median_ms(work: Callable[[int], object], rounds: int) -> float:
    """Median milliseconds of a call, after a few that do not count."""
    times = []
    for place in range(rounds + 20):
        began = time.perf_counter()
        work(place)
        times.append(time.perf_counter() - began)
    return 1000 * float(np.median(times[20:]))


def core_ms(work: Callable[[int], object], rounds: int) -> float:
    """Milliseconds of a core that a call takes."""
    began = time.process_time()
    for place in range(rounds):
        work(place)
    return 1000 * (time.process_time() - began) / rounds


def seconds_of_core(process: "subprocess.Popen[str]") -> float:
    """Seconds of a core that a process has used: where others keep the cores busy, they say more than a clock."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def one_at_a_time(
    process: "subprocess.Popen[str]", port: int, guard: Guard, x: torch.Tensor, pictures: Sequence[bytes], rounds: int
) -> dict[str, float]:
    """(b): the guard and the model in this process, in turn with the server in its own."""
    contents, module = [form(each) for each in pictures], guard.classifier.as_module()

    def bare(place: int) -> None:
        with torch.no_grad():
            module(x[place % len(x)][None])

    model = median_ms(bare, rounds)
    direct = median_ms(lambda place: guard.read([pictures[place % len(pictures)]]), rounds)
    asyncio.run(load(port, contents, 50, 1))
    spent = seconds_of_core(process)
    served = asyncio.run(load(port, contents, rounds, 1))
    spent = seconds_of_core(process) - spent
    return {
        "load_average": served["load_average"], "server_core_ms": round(1000 * spent / rounds, 3),
        "served_p5_ms": served["p5_ms"],
        "model_ms": round(model, 3), "guard_ms": round(direct, 3), "served_p50_ms": served["p50_ms"],
        "served_p99_ms": served["p99_ms"], "overhead_ms": round(served["p50_ms"] - model, 3),
    }  # fmt: skip


def throughput(
    process: "subprocess.Popen[str]", port: int, guard: Guard, x: torch.Tensor, total: int
) -> dict[str, float]:
    """(c): images per second, batches of 64."""
    batch, module = x[:64], guard.classifier.as_module()

    def bare(_: int) -> None:
        with torch.no_grad():
            module(batch)

    alone = 64_000 / median_ms(bare, 100)
    keep_freed_memory()  # as the server does; without it a pass may take twice as long, for memory that is faulted in
    kept, core = 64_000 / median_ms(bare, 100), core_ms(bare, 100)
    content = infer("bench", batch.numpy())
    asyncio.run(load(port, [content], 20, 4))
    spent = seconds_of_core(process)
    found = asyncio.run(load(port, [content], total, 4))
    spent = seconds_of_core(process) - spent
    images = 64 * found["per_second"]
    return {
        "bare_images_per_second": round(alone), "served_images_per_second": round(images),
        "ratio": round(images / alone, 3), "bare_memory_kept_images_per_second": round(kept),
        "ratio_memory_kept": round(images / kept, 3), "server_core_ms_per_batch": round(1000 * spent / total, 3),
        "bare_core_ms_per_batch": round(core, 3), "load_average": found["load_average"],
        "client_share_of_a_core": found["client_share_of_a_core"],
        "statuses": found["statuses"],
    }  # fmt: skip


async def drained(process: "subprocess.Popen[str]", port: int, contents: Sequence[bytes]) -> dict[str, Any]:
    """(d): SIGTERM in the middle of a load that nobody ends."""
    work = asyncio.create_task(load(port, contents, 10**9, CONNECTIONS, 30))
    await asyncio.sleep(1.5)
    process.send_signal(signal.SIGTERM)
    found = await work
    statuses = found["statuses"]
    return {
        "statuses": statuses, "unanswered": statuses.get("-1", 0), "refused_at_the_end": statuses.get("0", 0),
        "exit": await asyncio.to_thread(process.wait, 30),
    }  # fmt: skip


def memory(process: "subprocess.Popen[str]") -> float:
    """Resident memory in MiB."""
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


async def soak(
    process: "subprocess.Popen[str]", port: int, contents: Sequence[bytes], seconds: float
) -> dict[str, float]:
    """(e): the slope of resident memory over the second half of a steady load."""
    work: Awaitable[dict[str, Any]] = asyncio.create_task(load(port, contents, 10**9, 16, seconds))
    times, sizes, began = list[float](), list[float](), time.perf_counter()
    while time.perf_counter() - began < seconds - 0.5:
        await asyncio.sleep(0.25)
        times.append(time.perf_counter() - began)
        sizes.append(memory(process))
    found = await work
    half = len(times) // 2
    slope = float(np.polyfit(times[half:], sizes[half:], 1)[0])
    return {
        "seconds": seconds, "requests": found["requests"], "statuses": found["statuses"],
        "mib_after_warm_up": round(sizes[half], 1), "mib_at_the_end": round(sizes[-1], 1),
        "mib_per_million_requests": round(slope * seconds / max(1, found["requests"]) * 1e6, 1),
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer requests")
    parser.add_argument("--guard", type=Path, help="folder of a guard; where left out one of the bundled images")
    parser.add_argument("--data", default="fashion", help="address of images of its model")
    parser.add_argument("--soak", type=float, help="seconds of (e)")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    quick = options.quick
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        place = options.guard or folder / "guard"
        if options.guard is None:
            demur.fit_guard("fashion", "fashion", out=place, plan={"conditions.use": ["clean"]})
        guard = Guard.load(place)
        source = demur.open_data(options.data)
        x = torch.stack([row.image for row in source.read(range(256))])
        pictures = [as_file(image)[1] for image in x]
        contents = [form(each) for each in pictures]
        found: dict[str, Any] = {}
        with server(place, folder, "--state", str(folder / "state")) as (process, port):
            found["one_at_a_time"] = one_at_a_time(process, port, guard, x, pictures, 200 if quick else 2000)
            print(json.dumps(found["one_at_a_time"]))
            found["load"] = asyncio.run(load(port, contents, 1000 if quick else 10_000, CONNECTIONS))
            print(json.dumps(found["load"]))
            found["throughput"] = throughput(process, port, guard, x, 60 if quick else 600)
            print(json.dumps(found["throughput"]))
            found["soak"] = asyncio.run(soak(process, port, contents, options.soak or (5 if quick else 60)))
            print(json.dumps(found["soak"]))
            found["drain"] = asyncio.run(drained(process, port, contents))
            print(json.dumps(found["drain"]))
    print(json.dumps({"benchmark": "serve_load", "quick": quick, **found}))


if __name__ == "__main__":
    main()
