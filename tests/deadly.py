"""A net that ends its process when it meets a marked image, and an audit of it in a process of its own."""

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

import torch

from demur.pipeline.run.resources import Resources
from tests import tiny

LOST = (3, 77)
"""Rows whose image is marked."""

PLAN = {
    "conditions": ("clean", "fgsm(eps=0.05)", "low_light(severity=3)"),
    "policies": ("rule(confidence=0.6)",),
    "attacked": 60,
    "checks": {"preprocessing": 0},
}

MARK = (torch.arange(64).reshape(1, 8, 8) % 3) / 4 + 0.25
DARK = 0.3
"""What the brightness of no other image falls below but under `low_light`."""


def segfault():
    """What a kernel does that reads where nothing is."""
    ctypes.string_at(0)


def kill():
    """What the kernel of the machine does where memory is too little."""
    os.kill(os.getpid(), signal.SIGKILL)


class Deadly(tiny.Net):
    """Ends whatever process it is in."""

    def __init__(self, when, how):
        super().__init__()
        self.when, self.how = when, how

    def forward(self, x):
        if bool(self.meets(x.detach()).any()):
            self.how()
        return super().forward(x)

    def meets(self, x):
        """Which images end it: those that look like the mark, as they are, in the dark or where gradients are asked."""
        likeness = torch.nn.functional.cosine_similarity((x - x.mean((1, 2, 3), keepdim=True)).flatten(1), FLAT)
        dark = x.mean((1, 2, 3)) < DARK
        asked = {"always": ~dark, "dark": dark, "gradient": ~dark & torch.is_grad_enabled(), "never": dark & ~dark}
        return (likeness > 0.9) & asked[self.when]


FLAT = (MARK - MARK.mean()).flatten()[None]


def source(rows=160):
    """Patterns, and among them images that are marked."""
    images, labels = tiny.images_and_labels(rows)
    for row in LOST:
        images[row] = MARK + row / 1000
    return tiny.from_tensors(images, labels, classes=tiny.CLASSES, name="tiny")


def audit(folder, when, how, workers=1, **changes):
    """Audit it in this process."""
    model = tiny.BoundClassifier(Deadly(when, how).eval(), classes=tiny.CLASSES, input_shape=tiny.SHAPE)
    resources = Resources(workers=workers, threads=1)
    return tiny.run(folder, of=source(), model=model, resources=resources, **(PLAN | changes))


def audited(folder, when, how="segfault", workers=1):
    """Audit it in a process of its own; how that ended and what it said."""
    words = [sys.executable, "-m", "tests.deadly", str(folder), when, how, str(workers)]
    own = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    root = Path(__file__).parents[1]
    return subprocess.run(words, env=own, cwd=root, capture_output=True, text=True, timeout=240, check=False)


if __name__ == "__main__":
    folder, when, how, workers = sys.argv[1:]
    from tests import deadly

    deadly.audit(Path(folder), when, getattr(deadly, how), int(workers))
