"""Modules of which 1 in 100 is defective: a bright spot, told by its brightness, or by nobody."""

import numpy as np
import torch
from torch import nn

from demur.classifier import BoundClassifier
from demur.pipeline.plan.plan_file import read_plan
from demur.pipeline.run.loop import run_plan
from tests import tiny

CLASSES = ("defect", "ok")
ROWS = 2_400
SHARE = 0.01


class Always(nn.Module):
    """Says “ok” to every image, equally sure."""

    def __init__(self):
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([0.0, 3.0]))

    def forward(self, x):
        return self.logits + 0 * x.flatten(1).sum(dim=1, keepdim=True)


class Spot(nn.Module):
    """Says “defect” where the middle is bright, and is unsure where it is neither bright nor dark."""

    def __init__(self, edge=0.5):
        super().__init__()
        self.edge = nn.Parameter(torch.tensor(edge))

    def forward(self, x):
        bright = 20 * (x[:, 0, 4, 4] - self.edge)
        return torch.stack([bright, -bright], dim=1)


def source(rows=ROWS, share=SHARE, seed=0):
    draw = np.random.default_rng(seed)
    defective = draw.permutation(rows) < round(share * rows)
    images = draw.uniform(0.2, 0.4, (rows, 1, 8, 8))
    images[:, 0, 4, 4] = np.clip(np.where(defective, 0.75, 0.25) + draw.normal(0, 0.08, rows), 0, 1)
    labels = torch.from_numpy(np.where(defective, 0, 1))
    return tiny.from_tensors(torch.from_numpy(images.astype(np.float32)), labels, classes=CLASSES, name="modules")


def run(out, model, of=None, **changes):
    """Audit some modules into a folder."""
    keys = {"conditions.use": ["clean"], "policies.use": ["certified(risk=0.02)"], "model.trust_labels": True}
    plan = read_plan(None, (), keys | {key.replace("__", "."): value for key, value in changes.items()})
    bound = BoundClassifier(model.eval(), classes=CLASSES, input_shape=tiny.SHAPE)
    return run_plan(plan, out, tiny.Quiet(), of or source(), bound)
