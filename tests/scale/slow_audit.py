"""An audit of half a minute that keeps no processor busy: its net waits, so that there is time to lose a worker.

As a program: `python -m tests.scale.slow_audit FOLDER [ADDRESS]`, on Ray where there is an address.
"""

import subprocess
import sys
import time
from pathlib import Path

from demur.classifier import BoundClassifier
from demur.pipeline.run.resources import Resources
from tests import tiny

ROWS = 600
NOISES = ("gaussian_noise", "shot_noise", "gaussian_blur", "contrast", "brightness", "low_light")
CONDITIONS = ("clean", "fgsm(eps=[0.05, 0.1])", *(f"{name}(severity=[1, 3, 5])" for name in NOISES[:5]))


class Net(tiny.Net):
    """The net of the patterns, which waits at every batch."""

    wait = 0.05

    def forward(self, x):
        time.sleep(self.wait)
        return super().forward(x)


class Prompt(Net):
    """The same that does not wait, for what there is to compare with."""

    wait = 0.0


def classifier(net=Net):
    return BoundClassifier(net().eval(), classes=tiny.CLASSES, input_shape=tiny.SHAPE)


def run(out, resources=None, net=Net):
    return tiny.run(out, tiny.source(ROWS), classifier(net), resources=resources, conditions=CONDITIONS, attacked=60)


def started(out, address):
    """The audit as a process of its own."""
    words = [sys.executable, "-m", "tests.scale.slow_audit", str(out), address]
    return subprocess.Popen(words, cwd=Path(__file__).parents[2], stderr=subprocess.PIPE, text=True)


if __name__ == "__main__":
    where = sys.argv[2:]
    run(Path(sys.argv[1]), Resources(engine="ray", address=where[0]) if where else None)
