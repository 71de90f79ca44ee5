"""What analysis and report cost where there are many classes: seconds, memory, bytes, and time until the page is ready.

A linear net compares noisy 3×8×8 patterns with one pattern for each class; classes come in families of ten that look
alike, so that it confuses some of them. The audit goes through the public API and is not timed. Analysis and report are
then made in a process of their own each, whose peak memory is all of it; the page is opened in a headless Chromium
where there is one.

    python benchmarks/many_classes.py [--quick] [--classes N] [--images N] [--attacked N] [--out DIR]

With `--out` the run folder stays, and is continued rather than made anew.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import demur

SHAPE, FAMILY, NOISE, ALIKE = (3, 8, 8), 10, 0.36, 0.2
CONDITIONS = (
    "clean",
    "fgsm(eps=[1/255, 4/255])",
    "pgd(eps=2/255, steps=5)",
    "pgd(eps=2/255, keep='worst', steps=5)",
    "gaussian_noise(severity=[1, 3])",
    "gaussian_blur(severity=[1, 3])",
    "low_light(severity=[1, 3])",
)
ONCE = """
import json, sys, time
from pathlib import Path
from demur.analysis import write_results
from demur.report import write
import demur.report.page
run, began = Path(sys.argv[1]), time.process_time()
results = write_results(run)
analysed = time.process_time()
write(run, results)
seconds = {"analysis": analysed - began, "report": time.process_time() - analysed}
status = Path("/proc/self/status").read_text()  # getrusage would count what the parent held when it forked
peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
print(json.dumps(seconds | {"peak_mb": peak}))
"""


def patterns(classes: int) -> np.ndarray:
    """One pattern of −1 and 1 per class; the classes of a family differ in a fifth of the pixels from its own."""
    draw = np.random.default_rng(1)
    families = draw.choice([-1.0, 1.0], (1 + classes // FAMILY, *SHAPE))
    own = families[np.arange(classes) // FAMILY]
    return np.where(draw.uniform(size=own.shape) < ALIKE, -own, own)


def images_and_labels(rows: int, classes: int) -> tuple[Tensor, Tensor]:
    """Patterns, some faint, under noise."""
    draw = np.random.default_rng(2)
    labels = draw.integers(0, classes, rows)
    faint = draw.uniform(0.03, 0.25, (rows, 1, 1, 1))
    images = 0.5 + faint * patterns(classes)[labels] + draw.normal(0, NOISE, (rows, *SHAPE))
    return torch.from_numpy(images.clip(0, 1).astype(np.float32)), torch.from_numpy(labels)


class Net(nn.Module):
    """How much an image agrees with each pattern."""

    def __init__(self, classes: int, sharpness: float = 0.6) -> None:
        super().__init__()
        self.compare = nn.Linear(int(np.prod(SHAPE)), classes)
        weight = torch.from_numpy(patterns(classes).reshape(classes, -1).astype(np.float32))
        with torch.no_grad():
            self.compare.weight.copy_(sharpness * weight)
            self.compare.bias.copy_(-sharpness * weight.sum(dim=1) / 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.compare(x.flatten(1))


def make_run(out: Path, classes: int, images: int, attacked: int) -> Path:
    """The run folder of an audit of so many classes; one that is there is continued."""
    names = tuple(f"kind {k:04d}" for k in range(classes))
    plan = {
        "conditions.use": list(CONDITIONS),
        "conditions.attacked": attacked,
        "epsilon.use": ["ray"],
        "epsilon.images": attacked,
    }
    subject = demur.Classifier(Net(classes).eval(), classes=names)
    data = images_and_labels(images, classes)
    return demur.audit(subject, data, out=out, plan=plan, risk=0.1, say=print).folder or out


def measure(run: Path) -> dict[str, float]:
    """Analysis and report of a run in a process of their own."""
    done = subprocess.run([sys.executable, "-c", ONCE, str(run)], check=True, capture_output=True, text=True)
    figures = json.loads(done.stdout)
    return {name: round(value, 2) for name, value in figures.items()} | {
        f"{name.partition('.')[0]}_mb": round((run / name).stat().st_size / 1e6, 3)
        for name in ("report.html", "results.json")
    }


def ready(page: Path) -> float | None:
    """Seconds until the page says that it is ready; None without a browser."""
    if not (shutil.which("chromedriver") and shutil.which("chromium")):
        return None
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from tests.report.webdriver import chromium

    with chromium() as browser:
        browser.screen(1280, 900)
        began = time.monotonic()
        browser.open(page.resolve())
        return round(time.monotonic() - began, 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="100 classes, 1,500 images, 200 attacked")
    parser.add_argument("--classes", type=int)
    parser.add_argument("--images", type=int)
    parser.add_argument("--attacked", type=int)
    parser.add_argument("--out", type=Path, help="keep the run folder here")
    arguments = parser.parse_args()
    classes, images, attacked = (100, 1500, 200) if arguments.quick else (1000, 5000, 1000)
    with tempfile.TemporaryDirectory() as scratch:
        run = make_run(
            arguments.out or Path(scratch) / "run",
            arguments.classes or classes,
            arguments.images or images,
            arguments.attacked or attacked,
        )
        accuracy = json.loads((run / "results.json").read_text())["accuracy"]["value"]
        figures = measure(run) | {"ready_s": ready(run / "report.html")}
    print(f"accuracy {accuracy:.3f}; " + ", ".join(f"{name} {value}" for name, value in figures.items()))
    print(json.dumps({"classes": arguments.classes or classes, "images": arguments.images or images} | figures))


if __name__ == "__main__":
    main()
