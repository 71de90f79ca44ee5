"""Guards of small nets and of the shipped model, made in a second without an audit."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from demur.adapters import load_model
from demur.classifier import BoundClassifier
from demur.data import open_data
from demur.evidence import Evidence
from demur.guard import Guard
from demur.guard.card import Card
from demur.guard.intake import Intake
from demur.pictures.decode_rules import Rules
from demur.policies import Certified, Tolerance
from demur.policies.fixed_sequence import Calibration
from demur.registry import build
from demur.signals import Fittable

CARD = Card(
    name="net", data="made up", data_sha256="0" * 64, plan_sha256="1" * 64, demur="0.1.0",
    created="2026-11-30T00:00:00+00:00", rows={}, class_mix={}, signals={}, chosen="fixed",
    statement="certified(risk=0.02)", void_when=("the model changes",),
)  # fmt: skip
SHAPE, CLASSES = (3, 12, 12), ("cat", "dog", "cow", "hen")


class Net(nn.Module):
    """Two convolutions and a linear head; dropout is in the way of it."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, stride=2, padding=1)
        self.second = nn.Conv2d(8, 12, 3, stride=2, padding=1)
        self.drop = nn.Dropout(0.2)
        self.head = nn.Linear(12, 4)

    def forward(self, x):
        maps = torch.relu(self.second(torch.relu(self.first(x))))
        return self.head(self.drop(maps.mean(dim=(2, 3))))


def small_net() -> BoundClassifier:
    """A net with weights of its own, large enough that answers differ; it normalises."""
    with torch.random.fork_rng():
        torch.random.default_generator.manual_seed(5)
        net = Net().eval()
    made = BoundClassifier(net, classes=CLASSES, input_shape=SHAPE, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.2))
    with torch.no_grad():
        net.head.bias.sub_(made(small_images(200)).mean(dim=0))
        net.head.weight.mul_(400)
        net.head.bias.mul_(400)
    return BoundClassifier(net, classes=CLASSES, input_shape=SHAPE, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.2))


def small_images(rows: int, seed: int = 0) -> torch.Tensor:
    """Smooth patterns in noise."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.random((rows, 3, 4, 4), np.float32))
    wide = nn.functional.interpolate(coarse, SHAPE[1:], mode="bilinear")
    return (0.8 * wide + 0.2 * torch.from_numpy(rng.random((rows, *SHAPE), np.float32))).clamp(0, 1)


def guard_of(
    classifier: BoundClassifier,
    reference: tuple[torch.Tensor, torch.Tensor],
    names: Sequence[str],
    risk: float = 0.1,
    policy=None,
) -> Guard:
    """A guard whose policy reads the first of the signals, fitted and certified on the reference.

    `policy` makes another policy of the scores, the wrong answers and the name of the signal.
    """
    x, y = reference
    with torch.no_grad():
        batches = [Evidence(classifier, part, check=False) for part in torch.split(x, 200)]
        made = {name: build("signal", name) for name in names}
        fitted = {name: each.fit(batches, y) if isinstance(each, Fittable) else each for name, each in made.items()}
        scores = torch.cat([fitted[names[0]](batch) for batch in batches]).numpy()
        wrong = (torch.cat([batch.logits.argmax(dim=1) for batch in batches]) != y).numpy()
    half = len(y) // 2
    parts = [Calibration(scores=scores[some], wrong=wrong[some]) for some in (slice(half), slice(half, None))]
    made_policy = Certified(risk=risk).fit(*parts).on(names[0]) if policy is None else policy(scores, wrong, names[0])
    return Guard(
        classifier=classifier,
        signals=fitted,
        policy=made_policy,
        tolerances={names[0]: Tolerance.measured(scores, np.abs(scores) * 1e-6)},
        temperature=1.3,
        intake=Intake(rules=Rules(), input_shape=classifier.input_shape),
        card=CARD,
    )


def small_guard(names: Sequence[str], rows: int = 1000, **given) -> Guard:
    """A guard of the small net; the less sure an answer, the more often it counts as wrong."""
    classifier, x = small_net(), small_images(rows)
    with torch.no_grad():
        logits = classifier(x)
    y, unsure = logits.argmax(dim=1), logits.softmax(dim=1).amax(dim=1)
    wrong = torch.from_numpy(np.random.default_rng(1).random(rows)) > unsure.sqrt()
    return guard_of(classifier, (x, torch.where(wrong, (y + 1) % len(CLASSES), y)), names, **given)


def shipped_guard(names: Sequence[str] = ("msp",), risk: float = 0.02) -> tuple[Guard, torch.Tensor]:
    """A guard of the shipped model, certified on 4,000 of the bundled images, and all 10,000 of them."""
    source = open_data("fashion")
    rows = list(source.read(range(len(source))))
    x, y = torch.stack([row.image for row in rows]), torch.tensor([row.label for row in rows])
    classifier = load_model("fashion", classes=source.classes, input_shape=source.input_shape)
    return guard_of(classifier, (x[:4000], y[:4000]), names, risk), x
