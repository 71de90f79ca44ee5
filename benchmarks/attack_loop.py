"""What the attack harness costs over the bare floor of the same model, in one process.

The floor of PGD-20 is what no implementation without early exit can save: one clean forward, 20 forward+backward passes
and one verifying forward of the same model in the same memory layout. Runs alternate; ratios are medians of pairs.
Times are CPU seconds of this process, all threads together, so that a busy machine blurs both sides less.

    python benchmarks/attack_loop.py [--quick] [--images N] [--threads N]

Uses resnet20 on CIFAR-10 from the folder in DEMUR_SHARED, or the shipped classifier on Fashion-MNIST without it (eps of
the first part is then .05).
"""

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from demur.adapters import load_model
from demur.attacks.core.attack_state import Outcome
from demur.attacks.core.harness import run
from demur.attacks.core.losses import cross_entropy
from demur.attacks.core.objective import Objective
from demur.attacks.pgd import PGD
from demur.classifier import BoundClassifier
from demur.data import open_data
from demur.randomness import Keys

STEPS, BATCH = 20, 128


@dataclass(frozen=True)
class Setting:
    """A model with images, and the sizes of change to attack at."""

    name: str
    classifier: BoundClassifier
    x: Tensor
    y: Tensor
    keys: Keys
    sizes: tuple[float, float]


def setting(images: int) -> Setting:
    shared = os.environ.get("DEMUR_SHARED")
    if shared:
        folder = Path(shared)
        source = open_data(f"parquet:{folder}/data/cifar10/test.parquet")
        address = f"zoo:resnet20@{folder}/models/cifar10_resnet20.safetensors?mean=.485,.456,.406&std=.229,.224,.225"
        name, sizes = "resnet20 on CIFAR-10", (2 / 255, 0.5 / 255)
    else:
        source, address, name, sizes = open_data("fashion"), "fashion", "fashion", (0.05, 0.0125)
    classifier = load_model(address, classes=source.classes, input_shape=source.input_shape)
    rows = list(source.read(range(images)))
    return Setting(
        name=name,
        classifier=classifier,
        x=torch.stack([row.image for row in rows if row.image is not None]),
        y=torch.tensor([row.label for row in rows]),
        keys=Keys.of(0, [row.sample_id for row in rows], "benchmark"),
        sizes=sizes,
    )


def floor(given: Setting, eps: float) -> None:
    """PGD-20 as a bare loop on full batches."""
    model, stride = given.classifier, 2.5 * eps / STEPS
    for x, y in zip(given.x.split(BATCH), given.y.split(BATCH), strict=True):
        with torch.no_grad():
            model.logits(x)
        low, high = (x - eps).clamp(min=0), (x + eps).clamp(max=1)
        point = x
        for _ in range(STEPS):
            leaf = point.detach().requires_grad_()
            (gradient,) = torch.autograd.grad(cross_entropy(model.logits(leaf), y).sum(), leaf)
            point = (point + stride * gradient.sign()).clamp(low, high)
        with torch.no_grad():
            model.logits(point)


def harness(given: Setting, eps: float, keep: str) -> Outcome:
    attack = PGD(eps=eps, steps=STEPS)
    return run(attack, Objective(given.classifier), given.x, given.y, given.keys, keep=keep, batch=BATCH)


def alternate(ours: Callable[[], object], bare: Callable[[], object], pairs: int) -> tuple[float, list[float]]:
    """Median of the ratios of alternated runs, and the ratios."""
    ratios = []
    for pair in range(pairs):
        first, second = (ours, bare) if pair % 2 else (bare, ours)
        times = {}
        for work in (first, second):
            began = time.process_time()
            work()
            times[work] = time.process_time() - began
        ratios.append(times[ours] / times[bare])
    return statistics.median(ratios), ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer images and pairs, under a minute")
    parser.add_argument("--images", type=int, help="how many images, the first of the set")
    parser.add_argument("--pairs", type=int, help="how many alternated pairs of runs")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    images = arguments.images or (128 if arguments.quick else 512)
    pairs = arguments.pairs or (3 if arguments.quick else 7)
    given = setting(images)
    given.classifier.as_module().requires_grad_(requires_grad=False)
    large, small = given.sizes
    harness(given, large, "first")
    floor(given, large)
    print(f"{given.name}, {images} images, PGD-{STEPS}, {pairs} alternated pairs, {arguments.threads} threads")
    figures: dict[str, object] = {"model": given.name, "images": images, "pairs": pairs}
    full, ratios = alternate(lambda: harness(given, large, "worst"), lambda: floor(given, large), pairs)
    print(f"  no early exit          {full:.3f} of the floor   ({', '.join(f'{ratio:.3f}' for ratio in ratios)})")
    figures["no_early_exit"] = round(full, 4)
    for eps in (large, small):
        active, ratios = alternate(lambda: harness(given, eps, "first"), lambda: floor(given, eps), pairs)  # noqa: B023
        ours, full_walk = harness(given, eps, "first"), harness(given, eps, "worst")
        found = (1 - float(ours.fooled.float().mean()), float((full_walk.step < 0).float().mean()))
        passes = float(ours.forwards.sum() + ours.backwards.sum()) / (images * (2 * STEPS + 2))
        listed = ", ".join(f"{ratio:.3f}" for ratio in ratios)
        print(f"  active set, {eps * 255:.3g}/255  {active:.3f} of the floor   ({listed})")
        print(
            f"    robust accuracy {found[0]:.4f}, without early exit {found[1]:.4f}; passes {passes:.3f} of the floor's"
        )
        key = f"{eps * 255:.3g}/255"
        figures[key] = {
            "active_set": round(active, 4),
            "passes": round(passes, 4),
            "robust_accuracy": round(found[0], 4),
            "robust_accuracy_without_early_exit": round(found[1], 4),
        }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
