"""An audit that keeps no processor busy: in helpers its net waits, so that there is time to lose one.

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
    """The net of the patterns, which waits at every batch where it helps to measure."""

    def forward(self, x):
        time.sleep(0.1 * (sys.argv[0] == "-c"))  # so helpers are started
        return super().forward(x)


def classifier():
    return BoundClassifier(Net().eval(), classes=tiny.CLASSES, input_shape=tiny.SHAPE)


def run(out, resources=None):
    return tiny.run(out, tiny.source(ROWS), classifier(), resources=resources, conditions=CONDITIONS, attacked=16)


def started(out, address):
    """The audit as a process of its own."""
    words = [sys.executable, "-m", "tests.scale.slow_audit", str(out), address]
    return subprocess.Popen(words, cwd=Path(__file__).parents[2], stderr=subprocess.PIPE, text=True)


if __name__ == "__main__":
    from tests.scale import slow_audit  # under this name helpers find its net

    where = sys.argv[2:]
    slow_audit.run(Path(sys.argv[1]), Resources(engine="ray", address=where[0]) if where else None)
