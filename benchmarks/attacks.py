"""What attacks cost and find, beside other libraries and beside our own most thorough plan, in one process.

    python benchmarks/attacks.py [--quick] [--part balls|nearest|plans|overhead]

`balls`: PGD-20 and PGD-40 of the same settings on an undefended net, the accuracy left and its price. `nearest`: the
median smallest change that DDN and FMN find on a robust net. `plans`: the default ensemble and its verdict alone
beside the thorough one, paired over 500 images of two robust nets. `overhead`: each attack against as many bare
passes.

Everybody's rows are counted by the same wrapping module and what everybody returns is judged alike. Seconds are CPU
seconds of this process, all threads together; libraries are imported before the clock starts, runs alternate and
ratios are medians of rounds. Other libraries attack batches of 128 as their users would, and everybody's net gets its
images in the same memory layout, the one demur chooses on a CPU (channels last). With DEMUR_SHARED the nets are
resnet20 on CIFAR-10 and a robust net on MNIST, else those on Fashion-MNIST; one robust net is trained here, once, in
about two minutes.
"""

import argparse
import dataclasses
import json
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from common import nets, peers
from common.counting import Count, alternate
from common.judge import broken, distances
from common.nets import Subject
from demur.attacks.core.attack_state import Keep
from demur.attacks.core.harness import run
from demur.attacks.core.losses import cross_entropy
from demur.attacks.core.objective import Objective
from demur.attacks.ensemble import Ensemble, run_ensemble
from demur.classifier import BoundClassifier
from demur.registry import build, names, resolve

BATCH = 128
STRIDE = 0.25
"""Step over eps of every PGD: 2/255 in a ball of 8/255, as is usual."""
NEAREST = {"ddn": "ddn(steps={})", "fmn-l2": "fmn(norm='l2', steps={})", "fmn-linf": "fmn(steps={})"}


@dataclass
class Entrant:
    """Somebody's attack, ready to be run again and again."""

    name: str
    count: Count
    attack: Callable[[], Tensor]
    found: Tensor = field(default_factory=lambda: torch.empty(0))

    def __call__(self) -> None:
        self.count.reset()
        self.found = self.attack()


def ours(subject: Subject, text: str, keep: Keep, batch: int = BATCH) -> Entrant:
    """An attack of demur's, by name."""
    attack = build("attack", text)
    classifier, count = subject.classifier()
    objective = Objective(classifier, attack.loss)
    return Entrant(
        "demur", count, lambda: run(attack, objective, subject.x, subject.y, subject.keys, keep=keep, batch=batch).x
    )


def theirs(subject: Subject, name: str, attack: peers.Run) -> Entrant:
    """A peer's attack, batch after batch."""
    model, count = subject.plain()
    parts = list(zip(subject.x.split(BATCH), subject.y.split(BATCH), strict=True))
    return Entrant(name, count, lambda: torch.cat([attack(model, x, y) for x, y in parts]))


def race(
    entrants: Sequence[Entrant], rounds: int, what: str, judge: Callable[[Tensor], float]
) -> dict[str, dict[str, float]]:
    """Run everybody in turn; seconds, passes, and what `judge` says of the images found."""
    seconds = alternate({entrant.name: entrant for entrant in entrants}, rounds)
    first, table = entrants[0], {}
    for entrant in entrants:
        pairs = zip(seconds[first.name], seconds[entrant.name], strict=True)
        table[entrant.name] = {
            "seconds": round(statistics.median(seconds[entrant.name]), 3),
            "forwards": entrant.count.forwards,
            "backwards": entrant.count.backwards,
            what: round(judge(entrant.found), 5),
            "our_share_of_seconds": round(statistics.median(own / other for own, other in pairs), 3),
            "our_share_of_passes": round(first.count.passes / entrant.count.passes, 3),
        }
        row = table[entrant.name]
        print(
            f"    {entrant.name:<13}{row['seconds']:>8.2f} s {row['forwards']:>9,} forwards {row['backwards']:>9,} "
            f"backwards   {what} {row[what]:.4f}   our share: {row['our_share_of_seconds']:.2f} of its seconds, "
            f"{row['our_share_of_passes']:.2f} of its passes"
        )
    return table


def balls(quick: bool) -> dict[str, Any]:  # noqa: FBT001 - every part takes it
    """PGD inside L∞ balls."""
    subject = nets.resnet20(32 if quick else 256) or nets.fashion(128 if quick else 512)
    unit = 1 / 255 if subject.x.shape[1] == 3 else 1 / 100
    settings = [(2.0, 20)] if quick else [(size, steps) for steps in (20, 40) for size in (0.5, 2.0, 8.0)]
    figures: dict[str, Any] = {"net": subject.name, "images": len(subject.x)}
    for size, steps in settings:
        ball = peers.Ball(eps=size * unit, steps=steps, step=STRIDE * size * unit)
        model, _ = subject.plain()
        print(f"  {subject.name}, {len(subject.x)} images, PGD-{steps}, eps {ball.eps:.5f}")
        text = f"pgd(eps={ball.eps!r}, steps={steps}, step={ball.step!r})"
        entrants = [ours(subject, text, "first")]
        entrants += [theirs(subject, peer, peers.pgd(peer, ball)) for peer in peers.installed()]

        def left(found: Tensor, eps: float = ball.eps) -> float:
            return 1 - float(broken(model, subject.x, found, subject.y, eps).float().mean())  # noqa: B023

        figures[f"PGD-{steps}, eps {ball.eps:.5f}"] = race(entrants, 1 if quick else 3, "robust accuracy", left)
    return figures


def nearest(quick: bool) -> dict[str, Any]:  # noqa: FBT001
    """The median smallest change, and the share of images that fell."""
    images, steps = (48, 20) if quick else (256, 100)
    subject = nets.robust_mnist(images) or nets.fashion(images)
    model, _ = subject.plain()
    figures: dict[str, Any] = {"net": subject.name, "images": images, "steps": steps}
    for attack, text in NEAREST.items():
        order = math.inf if attack == "fmn-linf" else 2
        made = [(peer, peers.nearest(peer, attack, steps)) for peer in peers.installed()]
        entrants = [ours(subject, text.format(steps), "nearest")]
        entrants += [theirs(subject, peer, run) for peer, run in made if run]
        print(f"  {subject.name}, {images} images, {attack} in {steps} steps")

        def median(found: Tensor, order: float = order) -> float:
            return float(distances(model, subject.x, found, subject.y, order).median())

        figures[attack] = race(entrants, 1 if quick else 3, "median", median)
        for entrant in entrants:
            fell = distances(model, subject.x, entrant.found, subject.y, order).isfinite().float().mean()
            figures[attack][entrant.name]["success"] = round(float(fell), 4)
    return figures


def plans(quick: bool) -> dict[str, Any]:  # noqa: FBT001
    """Whether the default ensemble misses what the thorough one breaks, and at which share of its price."""
    if quick:
        return {"fashion": paired(nets.fashion(48), 0.05)}
    robust, figures = nets.robust_mnist(500), {}
    if robust:
        figures["mnist"] = paired(robust, 0.3)
    figures["fashion"] = paired(nets.robust_fashion(500), 0.1)
    return figures


def paired(subject: Subject, eps: float) -> dict[str, Any]:
    print(f"  {subject.name}, {len(subject.x)} images, eps {eps:g}")
    model, _ = subject.plain()
    figures: dict[str, Any] = {"eps": eps, "images": len(subject.x)}
    fell: dict[str, Tensor] = {}
    for name, ensemble in (
        ("thorough", Ensemble(eps=eps, preset="thorough")),
        ("standard", Ensemble(eps=eps)),
        ("verdict", Ensemble(eps=eps, curve=False)),
        ("quick", Ensemble(eps=eps, preset="quick")),
    ):
        classifier, count = subject.classifier()
        found = run_ensemble(ensemble, Objective(classifier), subject.x, subject.y, subject.keys, batch=BATCH)
        fell[name] = broken(model, subject.x, found.outcome.x, subject.y, eps)
        figures[name] = {
            "robust_accuracy": round(1 - float(fell[name].float().mean()), 4),
            "missed": int((fell["thorough"] & ~fell[name]).sum()),
            "found_besides": int((fell[name] & ~fell["thorough"]).sum()),
            "passes": count.passes,
            "share_of_passes": round(count.passes / figures.get("thorough", {"passes": count.passes})["passes"], 4),
            "seconds": round(sum(found.seconds), 1),
            "passes_by_stage": {
                stage: int(spent.clamp(min=0).sum()) for stage, spent in zip(found.stages, found.passes.T, strict=True)
            },
        }
        row = figures[name]
        print(
            f"    {name:<9} robust accuracy {row['robust_accuracy']:.4f}, misses {row['missed']} that thorough breaks, "
            f"breaks {row['found_besides']} more; {row['passes']:,} passes, {row['share_of_passes']:.3f} of thorough's"
        )
    return figures


def overhead(quick: bool) -> dict[str, Any]:  # noqa: FBT001
    """The time of each attack, with rows that leave early, over the time of as many bare passes in full batches."""
    images, batch, steps, rounds = (128, 32, 4, 1) if quick else (256, 64, 8, 3)
    subject = (None if quick else nets.resnet20(images)) or nets.fashion(images)
    eps = 2 / 255 if subject.x.shape[1] == 3 else 0.02
    print(f"  {subject.name}, {images} images, batches of {batch}, {steps} steps")
    figures: dict[str, Any] = {"net": subject.name, "images": images}
    bare, _ = subject.classifier()
    for name in names("attack"):
        kind = resolve("attack", name)
        if not hasattr(kind, "advance"):  # attacks of several stages and other libraries' have no loop of ours
            continue
        fields = {field.name for field in dataclasses.fields(kind)}
        sizes = {"eps": repr(eps), "steps": steps, "rounds": 1, "inner": steps}
        given = [f"{key}={value}" for key, value in sizes.items() if key in fields]
        entrant = ours(subject, f"{name}({', '.join(given)})", "first" if "eps" in fields else "nearest", batch)
        entrant()
        spent = dataclasses.replace(entrant.count)
        works: dict[str, Callable[[], object]] = {name: entrant, "bare": lambda: passes(bare, subject, spent, batch)}  # noqa: B023
        seconds = alternate(works, rounds)
        ratio = statistics.median(own / other for own, other in zip(seconds[name], seconds["bare"], strict=True))
        figures[name] = round(ratio, 3)
        print(f"    {name:<13}{ratio:>7.3f} of {spent.forwards:,} forwards and {spent.backwards:,} backwards")
    return figures


def passes(classifier: BoundClassifier, subject: Subject, spent: Count, batch: int) -> None:
    """So many bare passes of full batches; what goes back more often than forward goes back through the same graph."""
    both, alone = min(spent.forwards, spent.backwards), max(0, spent.forwards - spent.backwards)
    with torch.no_grad():
        for rows in shares(alone, batch):
            classifier.logits(subject.x[:rows])
    again = round(max(0, spent.backwards - spent.forwards) / max(1, both))
    with classifier.frozen():
        for rows in shares(both, batch):
            leaf = subject.x[:rows].detach().requires_grad_()
            loss = cross_entropy(classifier.logits(leaf), subject.y[:rows]).sum()
            for turn in range(again + 1):
                torch.autograd.grad(loss, leaf, retain_graph=turn < again)


def shares(rows: int, batch: int) -> list[int]:
    """Full batches, and what is left."""
    return [batch] * (rows // batch) + [left for left in [rows % batch] if left]


PARTS = {"balls": balls, "nearest": nearest, "plans": plans, "overhead": overhead}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few images and steps, under a minute")
    parser.add_argument("--part", choices=PARTS, action="append", help="one part only; may be given again")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    absent = sorted(set(peers.PACKAGES) - set(peers.installed()))
    if absent:
        print(f"Not installed and left out: {', '.join(absent)}. To have them:\n{peers.INSTALL} benchmarks/attacks.py")
    peers.import_all()
    figures: dict[str, Any] = {"threads": arguments.threads, "peers": peers.installed()}
    for part in arguments.part or PARTS:
        print(part)
        figures[part] = PARTS[part](arguments.quick)
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
