"""What the process of an audit holds for each image, phase by phase, from data to report.

Small grey images under noise, each with the faint pattern of its class, lie in files that demur reads. A linear net
that compares them with the patterns is audited in a process of its own: clean, and one corruption on a sample. Beside
it this process reads how much memory it has, every few milliseconds, and puts each reading down to the phase that the
run says it was in (`timings/times.jsonl`). Two audits, of a few and of many images, tell how much one image more takes:
the difference of their highest readings in a phase, by the difference of their images. What a phase gives back and the
allocator keeps counts on, so a phase that needs less than the one before it shows that one.

    python benchmarks/audit_memory.py [--quick] [--images N] [--few N] [--classes C] [--side S] [--keep DIR]

The last line is JSON: bytes per image of each phase, all of them (`rss`), those of this process alone (`anon`), and
those of files that the system can take back (`file`).
"""

import argparse
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

NOISE, FAINT, COPIES, AT_ONCE = 0.2, 0.15, 50, 10_000
READINGS = {"VmRSS": "rss", "RssAnon": "anon", "RssFile": "file"}
PAUSE = 0.01

AUDIT = """
import sys, time
from pathlib import Path
import demur
from audit_memory import Net, plan
address, run, began, classes, side = *sys.argv[1:4], *map(int, sys.argv[4:])
subject = demur.Classifier(Net(classes, side).eval(), classes=tuple(f"kind {k}" for k in range(classes)))
Path(began).write_text(str(time.monotonic()))
demur.audit(subject, address, out=run, plan=plan(), risk=0.2, threads=1)
"""


@dataclass(frozen=True)
class Size:
    """How large an audit is."""

    images: int
    classes: int
    side: int


def plan() -> dict[str, Any]:
    """What differs from the usual plan: one corruption on a sample, scores of logits."""
    return {
        "conditions.use": ["clean", "gaussian_noise(severity=1)"],
        "conditions.corrupted": 2_000,
        "signals.use": ["msp", "max_logit", "energy", "entropy", "margin"],
    }


def patterns(classes: int, side: int) -> np.ndarray:
    """One pattern of −1 and 1 for each class."""
    return np.random.default_rng(1).choice(np.array([-1.0, 1.0], np.float32), (classes, side, side))


class Net(nn.Module):
    """How much an image agrees with each pattern."""

    def __init__(self, classes: int, side: int) -> None:
        super().__init__()
        self.compare = nn.Linear(side * side, classes)
        weight = torch.from_numpy(patterns(classes, side).reshape(classes, -1))
        with torch.no_grad():
            self.compare.weight.copy_(weight)
            self.compare.bias.copy_(-0.5 * weight.sum(dim=1))

    def forward(self, x: Tensor) -> Tensor:
        return self.compare(x.flatten(1))


def pieces(size: Size) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pixels and labels, some at a time; each piece begins with images of the one before it, half of them changed."""
    drawn, known = np.random.default_rng(2), patterns(size.classes, size.side)
    before: tuple[np.ndarray, np.ndarray] | None = None
    for start in range(0, size.images, AT_ONCE):
        labels = drawn.integers(0, size.classes, min(AT_ONCE, size.images - start))
        images = 0.5 + FAINT * known[labels] + drawn.normal(0, NOISE, (len(labels), size.side, size.side))
        pixels = (images.clip(0, 1) * 255).round().astype(np.uint8)
        if before is not None:
            count = min(COPIES, len(labels))
            pixels[:count], labels[:count] = before[0][-count:], before[1][-count:]
            pixels[: count // 2, 0, 0] ^= 1
        before = pixels, labels
        yield pixels, labels


def write_images(folder: Path, size: Size) -> str:
    """Write the images, and say at which address: IDX holds no class beyond the 256th, NPZ any."""
    if size.classes > 256:
        pixels, labels = (np.concatenate(parts) for parts in zip(*pieces(size), strict=True))
        np.savez(folder / "images.npz", images=pixels, labels=labels)
        return f"npz:{folder / 'images.npz'}"
    names = [folder / f"t10k-{name}-ubyte" for name in ("images-idx3", "labels-idx1")]
    with names[0].open("wb") as images, names[1].open("wb") as labels:
        images.write(struct.pack(">BBBBIII", 0, 0, 8, 3, size.images, size.side, size.side))
        labels.write(struct.pack(">BBBBI", 0, 0, 8, 1, size.images))
        for pixels, own in pieces(size):
            images.write(pixels.tobytes())
            labels.write(own.astype(np.uint8).tobytes())
    return f"idx:{folder}"


def reading(process: int) -> dict[str, int]:
    """Bytes that a process holds; nothing once it is gone."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return {}
    told = (line.partition(":") for line in lines)
    return {READINGS[name]: int(value.split()[0]) * 1024 for name, _, value in told if name in READINGS}


def audited(folder: Path, size: Size) -> dict[str, Any]:
    """An audit in a process of its own: seconds, what it held before it began, the highest reading of each phase."""
    address, run = write_images(folder, size), folder / "run"
    command = [sys.executable, "-c", AUDIT, address, str(run), str(folder / "began"), str(size.classes), str(size.side)]
    environment = {**os.environ, "POLARS_MAX_THREADS": os.environ.get("POLARS_MAX_THREADS", "2")}
    with (folder / "errors").open("wb") as errors:
        process = subprocess.Popen(command, cwd=Path(__file__).parent, env=environment, stderr=errors)
        readings = []
        while process.poll() is None:
            readings.append((time.monotonic(), reading(process.pid)))
            time.sleep(PAUSE)
    if process.returncode or not (run / "report.html").exists():
        sys.exit((folder / "errors").read_text())
    began = float((folder / "began").read_text())
    spans = phases(run, began)
    found: dict[str, dict[str, int]] = {}
    for at, held in readings:
        name = next((name for name, start, stop in spans if start <= at < stop), "between")
        if held and held["rss"] > found.get(name, {"rss": 0})["rss"]:
            found[name] = held
    seconds = {name: round(sum(stop - start for own, start, stop in spans if own == name), 1) for name in found}
    seconds |= {"imports": round(began - readings[0][0], 1), "report": round(readings[-1][0] - spans[-1][1], 1)}
    return {"phases": found, "seconds": seconds}


def phases(run: Path, began: float) -> list[tuple[str, float, float]]:
    """Which phase the audit was in from when to when, in its order; shards of a condition are one."""
    conditions = [each["kind"] for each in json.loads((run / "run.json").read_text())["conditions"]]
    found, last = [("imports", 0.0, began)], began
    for line in (run / "timings" / "times.jsonl").read_text().splitlines():
        told = json.loads(line)
        name, stop = told["name"], began + told["since"]
        if name[0] == "c" and name[1:4].isdigit():
            name = f"{conditions[int(name[1:4])]} rows"
        found.append((name, max(last, stop - told["seconds"]), stop))
        last = stop
    return [*found, ("report", last, float("inf"))]


def per_image(few: dict[str, Any], many: dict[str, Any], images: int) -> dict[str, dict[str, int]]:
    """Bytes that one image more takes, by phase."""
    return {
        name: {key: round((held[key] - few["phases"][name][key]) / images) for key in held}
        for name, held in many["phases"].items()
        if name in few["phases"]
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="24,000 images beside 4,000")
    parser.add_argument("--images", type=int, default=400_000)
    parser.add_argument("--few", type=int, default=100_000, help="images of the audit that it is compared with")
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--side", type=int, default=12, help="pixels; prints of near-duplicates have up to 32")
    parser.add_argument("--keep", type=Path, help="where the folders are left")
    chosen = parser.parse_args()
    counts = (4_000, 24_000) if chosen.quick else (chosen.few, chosen.images)
    with tempfile.TemporaryDirectory() as scratch:
        results = []
        for count in counts:
            folder = (chosen.keep or Path(scratch)) / str(count)
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            results.append(audited(folder, Size(count, chosen.classes, chosen.side)))
    found = per_image(*results, counts[1] - counts[0])
    print(f"{'phase':<18}{'seconds':>9}{'rss MB':>8}{'bytes per image: rss':>22}{'anon':>8}{'file':>8}")
    for name, each in found.items():
        held = round(results[1]["phases"][name]["rss"] / 1e6)
        seconds = results[1]["seconds"][name]
        print(f"{name:<18}{seconds:>9}{held:>8}{each['rss']:>22}{each['anon']:>8}{each['file']:>8}")
    peak = max(held["rss"] for held in results[1]["phases"].values())
    size = {"images": counts[1], "few": counts[0], "classes": chosen.classes, "side": chosen.side}
    print(json.dumps({**size, "peak_mb": round(peak / 1e6), "bytes": found, "seconds": results[1]["seconds"]}))


if __name__ == "__main__":
    main()
