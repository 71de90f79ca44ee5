"""The patterns of `tests.tiny` with a net that has pixels inside, objects marked on most images, and every section."""

import torch
from torch import Tensor, nn

from demur.classifier import BoundClassifier
from demur.pipeline.plan.plan_tables import AttributionPlan, EpsilonPlan, LipschitzPlan
from demur.pipeline.run.loop import run_plan
from tests import tiny

NONE = {"epsilon": EpsilonPlan(use=()), "attribution": AttributionPlan(), "lipschitz": LipschitzPlan()}
EVERY = {
    "epsilon": EpsilonPlan(use=("ray", "fmn(norm='l2', steps=10)"), images=150, curves=12),
    "attribution": AttributionPlan(maps=("grad_cam", "gradient"), regions=("grad_cam", "marked", "centred"), images=90),
    "lipschitz": LipschitzPlan(images=6),
}


class Net(nn.Module):
    """Two edge maps, then how much they agree with each pattern."""

    def __init__(self) -> None:
        super().__init__()
        self.edges = nn.Conv2d(1, 2, 3, padding=1)
        self.compare = tiny.Net().compare
        with torch.no_grad():
            self.edges.weight.zero_()
            self.edges.weight[0, 0, 1, 1], self.edges.weight[1, 0, 1, 1] = 1, -1
            self.edges.bias.copy_(torch.tensor([0.0, 1.0]))

    def forward(self, x: Tensor) -> Tensor:
        light, dark = self.edges(x).relu().split(1, dim=1)
        return self.compare((light - dark + 1) / 2).flatten(1)


def classifier() -> BoundClassifier:
    return BoundClassifier(Net().eval(), classes=tiny.CLASSES, input_shape=tiny.SHAPE)


def mask(row: int) -> Tensor:
    """The middle of two images in three; a third is not marked."""
    found = torch.zeros(8, 8, dtype=torch.bool)
    if row % 3:
        found[2:6, 1:7] = True
    return found


class Marked:
    """A source most of whose images say where their object is."""

    def __init__(self, whole) -> None:
        self._whole = whole
        self.address, self.classes, self.input_shape = whole.address, whole.classes, whole.input_shape

    def __len__(self):
        return len(self._whole)

    def read(self, positions):
        for row in self._whole.read(positions):
            yield type(row)(row.sample_id, row.image, row.label, box=(1, 2, 7, 6) if int(row.sample_id) % 3 else None)


def source():
    return Marked(tiny.source())


def run(out, of=None, conditions=("clean", "fgsm(eps=0.1)"), **changes):
    """Audit the patterns with every section into a folder."""
    resources = changes.pop("resources", None)
    plan = tiny.plan(conditions=conditions, **(EVERY | changes))
    return run_plan(plan, out, tiny.Quiet(), of or source(), classifier(), resources=resources)
