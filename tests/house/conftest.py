"""A real audit small enough to run several times."""

from collections.abc import Callable

import pytest
import torch

import demur
from demur.analysis import write_results
from demur.api import SpokenProgress
from demur.pipeline.plan.plan_file import read_plan
from demur.pipeline.run.loop import run_plan

PLAN = {
    "conditions.use": ["clean", "pgd(eps=0.1, steps=3)", "pgd(eps=0.1, keep='worst', steps=3)", "fmn(steps=5)",
                       "gaussian_noise(severity=3)"],
    "policies.use": ["certified(risk=0.3, delta=0.1)", "certified", "rule"],
    "epsilon.use": ["ray"], "epsilon.images": 24, "epsilon.curves": 4,
    "attribution.maps": ["grad_cam", "smooth_grad(n=2)"], "attribution.regions": ["grad_cam"], "attribution.images": 24,
    "lipschitz.images": 4,
}  # fmt: skip


@pytest.fixture(scope="session")
def pictures():
    """96 real images: the first of each hundred."""
    source = demur.open_data("fashion")
    rows = list(source.read(range(0, 9600, 100)))
    labels = torch.tensor([row.label for row in rows])
    return demur.from_tensors(torch.stack([row.image for row in rows]), labels, classes=source.classes, name="few")


@pytest.fixture(scope="session")
def shipped(pictures):
    return demur.load_model("fashion", classes=pictures.classes, input_shape=pictures.input_shape)


@pytest.fixture(scope="session")
def audited(pictures, shipped) -> Callable[..., demur.Results]:
    """An audit of the shipped classifier on these images, with some keys of the plan changed."""

    def run(out, **changes):
        plan = read_plan(None, (), {**PLAN, **{key.replace("__", "."): value for key, value in changes.items()}})
        return write_results(run_plan(plan, out, SpokenProgress(lambda _: None), pictures, shipped))

    return run
