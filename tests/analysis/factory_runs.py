"""A factory's modules: patterns with a site, an age, a second label and a weight; Turin has a bad camera."""

import numpy as np
import torch
from tests import tiny

from demur.analysis import analyse
from demur.classifier import BoundClassifier
from demur.data import Row
from demur.pipeline.plan.plan_file import read_plan
from demur.pipeline.run.loop import run_plan

CLASSES = ("functional", "scratched", "defective")
ROWS = 1500
PLAN = {
    "conditions.use": ["clean", "gaussian_noise(severity=2)"],
    "policies.use": ["certified(risk=0.1)"],
    "data.positive": "defective",
    "data.prevalence": "positive=.02",
    "costs": {"defective as functional": 10.0, "abstained": 0.25},
}


class Modules:
    """Known of every image: a site; of most an age; of half a second label; of all a weight."""

    address, classes, input_shape = "modules", CLASSES, tiny.SHAPE

    def __init__(self, rows=ROWS):
        draw = np.random.default_rng(7)
        images, self.labels = tiny.images_and_labels(rows, seed=3)
        self.sites = draw.choice(["Hamburg", "Leipzig", "Turin"], rows, p=[0.5, 0.35, 0.15])
        self.ages = draw.integers(18, 90, rows)
        self.second = np.where(draw.uniform(size=rows) < 0.1, draw.integers(0, 3, rows), self.labels.numpy())
        grain = torch.from_numpy(draw.normal(0, 0.5, tuple(images.shape)).astype("float32"))
        turin = torch.from_numpy(self.sites == "Turin")[:, None, None, None]
        self.images = torch.where(turin, (images + grain).clamp(0, 1), images)

    def __len__(self):
        return len(self.labels)

    def read(self, positions):
        for at in positions:
            meta = {"site": str(self.sites[at]), "age": float(self.ages[at]) if at % 10 else None}
            second = int(self.second[at]) if at % 2 else None
            yield Row(
                f"{at:06d}",
                self.images[at],
                int(self.labels[at]),
                meta=meta,
                label2=second,
                weight=0.5 + 0.5 * (at % 2),
            )


def run(out, **changes):
    """Audit the modules into a folder."""
    plan = read_plan(None, (), PLAN | {key.replace("__", "."): value for key, value in changes.items()})
    model = BoundClassifier(tiny.Net().eval(), classes=CLASSES, input_shape=tiny.SHAPE)
    return run_plan(plan, out, tiny.Quiet(), Modules(), model)


def results(out, **changes):
    return analyse(run(out, **changes))
