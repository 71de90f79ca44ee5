"""Small trained nets on real images, sound ones and ones with a planted fault, and an audit of each in seconds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.nn import functional

from demur.attacks.core.projections import project
from demur.classifier import BoundClassifier
from demur.data import from_tensors, open_data
from demur.pipeline.plan.plan_file import Plan
from demur.pipeline.plan.plan_tables import Conditions, ModelPlan, Policies
from demur.pipeline.run.loop import run_plan
from tests.tiny import Quiet

TRAIN, HELD_OUT = 900, 360
ATTACKED = 48


Change: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Images:
    """Images (rows, channels, height, width) in [0, 1] with labels below `classes`."""

    x: Tensor
    y: Tensor
    classes: int

    def part(self, begin: int, end: int) -> "Images":
        return replace(self, x=self.x[begin:end], y=self.y[begin:end])


@cache
def digits() -> Images:
    """8×8 grey digits."""
    from sklearn.datasets import load_digits

    found = load_digits()
    order = torch.randperm(len(found.target), generator=torch.Generator().manual_seed(0))
    x = torch.from_numpy(found.images).float()[:, None] / 16
    return Images(x[order], torch.from_numpy(found.target).long()[order], 10)


@cache
def fashion() -> Images:
    """14×14 grey clothes."""
    rows = list(open_data("fashion").read(range(TRAIN + HELD_OUT)))
    x = functional.avg_pool2d(torch.stack([row.image for row in rows]), 2)
    return Images(x, torch.tensor([row.label for row in rows]), 10)


@cache
def coloured() -> Images:
    """12×12 clothes, each in a colour of its own on a dark ground of another."""
    grey = fashion()
    ink, paper = torch.rand(2, len(grey.x), 3, 1, 1, generator=torch.Generator().manual_seed(1))
    shade = grey.x[:, :, 1:13, 1:13]
    return Images(0.3 * paper * (1 - shade) + (0.5 + 0.5 * ink) * shade, grey.y, 10)


@cache
def easy() -> Images:
    """12×12 noise, the lower half brighter in one class of two: no net errs on it."""
    draw = torch.Generator().manual_seed(2)
    y = torch.randint(2, (TRAIN + HELD_OUT,), generator=draw)
    x = 0.2 + 0.2 * torch.rand(len(y), 1, 12, 12, generator=draw)
    x[:, :, 6:] += 0.4 * y[:, None, None, None]
    return Images(x, y, 2)


@cache
def thousand() -> Images:
    """10×10 patterns of a thousand classes under noise."""
    draw = torch.Generator().manual_seed(3)
    y = torch.randint(1000, (TRAIN + HELD_OUT,), generator=draw)
    return Images((patterns(1000)[y] + 0.25 * torch.randn(len(y), 1, 10, 10, generator=draw)).clamp(0, 1), y, 1000)


@cache
def patterns(classes: int) -> Tensor:
    """One picture of each class, grey values around the middle, (classes, 1, 10, 10)."""
    return 0.5 + 0.2 * torch.randn(classes, 1, 10, 10, generator=torch.Generator().manual_seed(4)).clamp(-2, 2)


class Nearest(nn.Module):
    """How near an image is to the picture of each class."""

    def __init__(self, pictures: Tensor, sharpness: float = 10.0) -> None:
        super().__init__()
        self.register_buffer("pictures", pictures.flatten(1))
        self.sharpness = sharpness

    def forward(self, x: Tensor) -> Tensor:
        squares = self.pictures.square().sum(dim=1) / 2
        return self.sharpness * (x.flatten(1) @ self.pictures.T - squares)


def merged(images: Images, classes: int) -> Images:
    """The same images in fewer classes."""
    return replace(images, y=images.y % classes, classes=classes)


def cnn(channels: int, classes: int, side: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, 12, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(12, 24, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(24 * ((side + 3) // 4) ** 2, classes),
    )


def mlp(channels: int, classes: int, side: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(channels * side * side, 64), nn.Tanh(), nn.Dropout(0.3), nn.Linear(64, classes)
    )


def normed(channels: int, classes: int, side: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, 12, 3, stride=2, padding=1),
        nn.BatchNorm2d(12),
        nn.ReLU(),
        nn.Conv2d(12, 24, 3, padding=1),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(96, classes),
    )


def hardened(net: nn.Module, x: Tensor, y: Tensor, eps: float) -> Tensor:
    """Five steps of PGD from the images."""
    radius, delta = torch.full((len(x),), eps), torch.zeros_like(x)
    for _ in range(5):
        at = (x + delta).requires_grad_()
        (gradient,) = torch.autograd.grad(functional.cross_entropy(net(at), y), at)
        delta = project(at.detach() + 0.4 * eps * gradient.sign(), x, radius, "linf") - x
    return x + delta


@cache
def trained(
    data: Callable[[], Images], build: Callable[..., nn.Module], classes: int = 10, steps: int = 150, eps: float = 0.0
) -> nn.Module:
    """A net after some steps of Adam on the first images; with `eps`, on attacked ones."""
    images = merged(data(), classes).part(0, TRAIN)
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(0)
        net = build(images.x.shape[1], classes, images.x.shape[2]).train()
        learn = torch.optim.Adam(net.parameters(), lr=5e-3)
        for _ in range(steps):
            rows = torch.randint(len(images.x), (128,))
            x, y = images.x[rows], images.y[rows]
            x = hardened(net, x, y, eps) if eps else x
            learn.zero_grad()
            functional.cross_entropy(net(x), y).backward()
            learn.step()
    return net.eval()


class Altered(nn.Module):
    """A net with something done to its images, and something to its outputs."""

    def __init__(self, net: nn.Module, begin: Change, end: Change) -> None:
        super().__init__()
        self.net, self.begin, self.end = net, begin, end

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.net(self.begin(x)))


def same(x: Tensor) -> Tensor:
    return x


def altered(net: nn.Module, *, begin: Change = same, end: Change = same) -> nn.Module:
    return Altered(net, begin, end).eval()


PLAN = ("clean", "fgsm(eps={eps})", "pgd(eps={eps}, keep='worst', steps=20)")
SWEEP = (*PLAN, "pgd(eps=[{eps}, {double}], steps=10)", "fmn(steps=50)")
DEFAULT = (*PLAN, "ensemble(eps={eps}, preset='quick')")


@dataclass(frozen=True)
class Setup:
    """A net, the images it is audited on, what it declares, and how it is attacked."""

    data: Callable[[], Images]
    net: Callable[[], nn.Module]
    classes: int = 10
    eps: float = 0.05
    declared: Mapping[str, Any] = field(default_factory=dict)
    images: Change = same
    labels: Change = same
    conditions: tuple[str, ...] = PLAN
    trusted: bool = False
    begin: int = TRAIN
    attacked: int = ATTACKED
    groups: Callable[[int], list[str]] | None = None

    def plan(self) -> Plan:
        sizes = {"eps": self.eps, "double": 2 * self.eps}
        return Plan(
            model=ModelPlan(trust_labels=self.trusted),
            conditions=Conditions(use=tuple(text.format(**sizes) for text in self.conditions), attacked=self.attacked),
            policies=Policies(use=("certified(risk=0.2)",)),
        )

    def run(self, out: Path) -> Path:
        held_out = merged(self.data(), self.classes).part(self.begin, self.begin + HELD_OUT)
        names = [f"class {k}" for k in range(self.classes)]
        classifier = BoundClassifier(
            self.net(), classes=names, input_shape=tuple(held_out.x.shape[1:]), **self.declared
        )
        groups = None if self.groups is None else self.groups(len(held_out.x))
        x, y = self.images(held_out.x), self.labels(held_out.y)
        source = from_tensors(x, y, classes=names, groups=groups, name="setup")
        return run_plan(self.plan(), out, Quiet(), source, classifier)
