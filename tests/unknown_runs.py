"""The patterns of `tiny`, and beside them images of none of the classes: boards, and some planted audited ones."""

import numpy as np
import torch

from demur.pipeline.run.loop import run_plan
from tests import tiny

PLANTED = 4
ROWS = 130
AUDITED = 600
CONDITIONS = ("clean", "pgd(eps=0.05, steps=4)", "gaussian_noise(severity=3)")


def images(rows=ROWS, planted=PLANTED):
    """Checkerboards of every strength, and at the front the first images that are audited."""
    y, x = np.mgrid[:8, :8]
    strength = np.linspace(0, 0.5, rows)[:, None, None]
    found = 0.5 + strength * (2 * ((x + y) % 2) - 1)
    found = torch.from_numpy(found[:, None].astype(np.float32))
    found[:planted] = tiny.images_and_labels(AUDITED)[0][:planted]
    return found


def source(rows=ROWS, planted=PLANTED, classes=("board",), labels=None, groups=None):
    labels = torch.zeros(rows, dtype=torch.int64) if labels is None else labels
    return tiny.from_tensors(images(rows, planted), labels, classes=classes, groups=groups, name="boards")


def plan(**changes):
    found = tiny.plan(**({"conditions": CONDITIONS, "attacked": 40} | changes))
    return found.model_copy(update={"data": found.data.model_copy(update={"unknown": "boards"})})


def run(out, unknown=None, of=None, model=None, **changes):
    """Audit the patterns into a folder, with images of none of the classes."""
    of, model = of or tiny.source(AUDITED), model or tiny.classifier()
    return run_plan(plan(**changes), out, tiny.Quiet(), of, model, unknown=unknown or source())
