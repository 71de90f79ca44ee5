"""The smallest change along the gradient's sign: rays in batches against a bisection image by image, in one process.

The bisection is what people write: one image at a time, one gradient, then ε = 2 halved until the answer is right
again, then the interval halved down to 10⁻⁵. It calls the bare net, normalised, at whichever number of threads is
faster for it, is spared images that are wrong already, and takes the gradient of the same loss, in float64: in float32
that of a confident answer is mostly rounding. Ours is asked for the first flip that a scan of 16 sizes can see,
narrowed to 10⁻⁵, and confirms each. Both nets get their images in the same memory layout (channels last). Runs
alternate; times are of the clock, CPU seconds stand beside them.

Where the answer flips and returns the two may differ: the bisection ends at some flip, ours at the first in sight.
Rays on which they differ are walked in small steps to see whether that is why.

    python benchmarks/minimal_epsilon.py [--quick] [--images N] [--threads N] [--rounds N] [--root NAME]

Uses resnet20 on CIFAR-10 from the folder in DEMUR_SHARED, or the shipped classifier on Fashion-MNIST without it.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from common.nets import Subject, fashion, resnet20
from demur.attacks.core.line_search import ROOTS
from demur.attacks.core.losses import cross_entropy
from demur.attacks.core.objective import Objective
from demur.attacks.core.projections import of_length_one
from demur.attacks.ray import Ray, RayOutcome, run_ray
from demur.classifier import BoundClassifier

TOLERANCE, BATCH, WALK = 1e-5, 128, 400


@dataclass
class Bisected:
    """What the bisection found (rows,): NaN where nothing flips; and its forwards."""

    eps: Tensor
    bracket: Tensor
    narrow: Tensor


def bisected(net: nn.Module, x: Tensor, y: Tensor) -> Bisected:
    """Each image alone."""
    found = Bisected(torch.full((len(x),), torch.nan), *torch.zeros(2, len(x)))
    for row in range(len(x)):
        eps, bracket, narrow = _bisected(net, x[row : row + 1], y[row : row + 1])
        found.eps[row], found.bracket[row], found.narrow[row] = eps, bracket, narrow
    return found


def _bisected(net: nn.Module, image: Tensor, label: Tensor) -> tuple[float, int, int]:
    leaf = image.clone().requires_grad_()
    logits = net(leaf)
    if logits.argmax(dim=1) != label:
        return 0.0, 0, 0
    (gradient,) = torch.autograd.grad(cross_entropy(logits, label).sum(), leaf)
    way = gradient.sign()

    @torch.no_grad()
    def right(eps: float) -> bool:
        return bool(net((image + eps * way).clamp(0, 1)).argmax(dim=1) == label)

    eps, bracket, narrow = 2.0, 1, 0
    if right(eps):
        return torch.nan, bracket, narrow
    while not right(eps):
        eps, bracket = eps / 2, bracket + 1
        if eps < TOLERANCE / 4:
            return eps, bracket, narrow
    low, high = eps, 2 * eps
    while high - low > TOLERANCE:
        middle, narrow = (low + high) / 2, narrow + 1
        low, high = (middle, high) if right(middle) else (low, middle)
    return high, bracket, narrow


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds of the clock, and of all threads together."""
    clock, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock, time.process_time() - cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer images, one round, under a minute")
    parser.add_argument("--images", type=int, help="how many images")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, help="how often each is timed")
    parser.add_argument("--root", choices=tuple(ROOTS), default="chandrupatla")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    images, rounds = given.images or (100 if given.quick else 500), given.rounds or (1 if given.quick else 3)
    subject = resnet20(images) or fashion(images)
    print(f"{subject.name}, {images} images, {given.threads} threads")
    print(json.dumps(measure(subject, Ray(tolerance=TOLERANCE, root=given.root), rounds, given.threads)))


def measure(subject: Subject, ray: Ray, rounds: int, threads: int) -> dict[str, object]:
    net = subject.scaled()
    model = classifier(subject)

    def bisection() -> Bisected:
        return bisected(net, subject.x, subject.y)

    def rays() -> RayOutcome:
        return run_ray(ray, Objective(model, ray.loss), subject.x, subject.y, subject.keys, batch=BATCH)

    alone = best_threads(net, subject, threads)
    theirs, ours = bisection(), rays()
    works = {"bisection": bisection, "ray": rays}
    slow, fast, ratios = [], [], []
    for turn in range(rounds):
        pair = {}
        for name in ("bisection", "ray") if turn % 2 == 0 else ("ray", "bisection"):
            torch.set_num_threads(alone if name == "bisection" else threads)
            pair[name] = timed(works[name])
        torch.set_num_threads(threads)
        slow.append(pair["bisection"])
        fast.append(pair["ray"])
        ratios.append(slow[-1][0] / fast[-1][0])
        told = (f"{name} {clock:.2f} s ({cpu:.2f} CPU)" for name, (clock, cpu) in pair.items())
        print(f"  {', '.join(told)}: {ratios[-1]:.1f}×")
    return {
        "model": subject.name,
        "images": len(subject.x),
        "threads": threads,
        "threads_bisection": alone,
        "speedup": round(statistics.median(ratios), 2),
        "speedup_cpu": round(statistics.median(s[1] / f[1] for s, f in zip(slow, fast, strict=True)), 2),
        "images_per_second": round(len(subject.x) / statistics.median(f[0] for f in fast), 1),
        "images_per_second_bisection": round(len(subject.x) / statistics.median(s[0] for s in slow), 1),
        **passes(ours, theirs),
        **agreement(model, subject, ours, theirs),
    }


def classifier(subject: Subject) -> BoundClassifier:
    channels, height, width = subject.x.shape[1:]
    return BoundClassifier(
        subject.network,
        classes=subject.classes,
        input_shape=(channels, height, width),
        mean=subject.mean,
        std=subject.std,
    )


def best_threads(net: nn.Module, subject: Subject, threads: int) -> int:
    """What suits an image at a time, of one thread and all."""
    few = min(10, len(subject.x))
    taken = {}
    for count in (1, threads):
        torch.set_num_threads(count)
        taken[count] = min(timed(lambda: bisected(net, subject.x[:few], subject.y[:few]))[0] for _ in range(2))
    torch.set_num_threads(threads)
    print(f"  bisection of {few} images: " + ", ".join(f"{n} threads {s:.2f} s" for n, s in taken.items()))
    return min(taken, key=lambda count: taken[count])


def passes(ours: RayOutcome, theirs: Bisected) -> dict[str, object]:
    """Forwards of images that were searched, by part; all cost a forward and a backward of the image besides."""
    searched = ours.outcome.step != 0
    flipped = searched & ours.outcome.fooled
    rest = ours.outcome.forwards - ours.scan - ours.refine
    figures = {
        "scan": ours.scan[searched].double().mean(),
        "refine": ours.refine[flipped].double().mean(),
        "confirm": (rest[flipped] - 1).double().mean(),
        "bracket_bisection": theirs.bracket[searched].mean(),
        "refine_bisection": theirs.narrow[flipped].mean(),
    }
    said = {name: round(float(value), 2) for name, value in figures.items()}
    print(
        f"  passes an image: scan {said['scan']}, refinement {said['refine']}, confirmation {said['confirm']}; ", end=""
    )
    print(f"bisection: bracket {said['bracket_bisection']}, refinement {said['refine_bisection']}")
    return said


def agreement(model: BoundClassifier, subject: Subject, ours: RayOutcome, theirs: Bisected) -> dict[str, object]:
    """On how many rays the two agree to the tolerances of both, and what the others look like in small steps."""
    out = ours.outcome
    flipped = out.fooled & (out.step > 0)
    same = (ours.high - theirs.eps).abs() <= 2.5 * TOLERANCE
    same |= (out.step == 0) & (theirs.eps == 0)
    same |= ~out.fooled & theirs.eps.isnan()
    others = (~same).nonzero().squeeze(1)
    crossings = torch.tensor(
        [crossed(model, subject, int(row), ours, theirs) for row in others.tolist()], dtype=torch.long
    )
    ours_first = (ours.high < theirs.eps)[others] | theirs.eps[others].isnan()
    several = crossings > 1
    print(
        f"  the same on {int(same[flipped].sum())} of {int(flipped.sum())} searched; of {len(others)} others "
        f"{int(several.sum())} flip more than once, ours is the smaller on {int(ours_first.sum())}; "
        f"{int((~several).sum())} are not explained"
    )
    return {
        "searched": int(flipped.sum()),
        "median_eps": round(float(out.linf[flipped].median()), 6),
        "agree": round(float(same[flipped].double().mean()), 4),
        "differ": len(others),
        "differ_several_crossings": int(several.sum()),
        "differ_ours_smaller": int(ours_first.sum()),
        "differ_unexplained": int((~several).sum()),
    }


@torch.no_grad()
def crossed(model: BoundClassifier, subject: Subject, row: int, ours: RayOutcome, theirs: Bisected) -> int:
    """How often the answer of an image changes between right and wrong up to a little beyond both ends."""
    image, label = subject.x[row : row + 1], subject.y[row : row + 1]
    with torch.enable_grad():
        _, gradient = Objective(model).climb(image, label)
    way = of_length_one(gradient.sign(), "linf")
    ends = torch.stack([ours.high[row], theirs.eps[row]]).nan_to_num(nan=1.0, posinf=1.0)
    t = torch.cat(
        [torch.linspace(0, 1.01 * float(ends.max()) + 2 * TOLERANCE, WALK)[:, None, None, None], ends.view(2, 1, 1, 1)]
    )
    t = t.sort(dim=0).values
    right = torch.cat(
        [model.logits((image + part * way).clamp(0, 1)).argmax(dim=1) == label for part in t.split(BATCH)]
    )
    return int((right[1:] != right[:-1]).sum())


if __name__ == "__main__":
    main()
