"""What passes a guard: four attackers of each, with what each of them knows.

    python benchmarks/guards_attacked.py [--quick] [--part digits|signals|cost] [--table FILE]

`digits`: two guards of an ordinary net and one of an adversarially trained one, both learned here in about a minute.
`signals`: every signal as a guard of resnet20 on CIFAR-10, which needs DEMUR_SHARED; --table writes the result as a
page. `cost`: the passes of the joint attack, what it begins with included, beside those of the unguarded ensemble.

A guard withholds an answer whose score is above its bound; the bound lets 95 % of calibration rows pass, which are
none of those attacked and none that a signal was fitted to. Shares are of all attacked images, those answered wrong
without an attack among them, with exact 95 % intervals.
"""

import argparse
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from common import nets
from demur.attacks.core.objective import Objective
from demur.attacks.ensemble import Ensemble, run_ensemble
from demur.attacks.guarded.attackers import attack_guard
from demur.attacks.guarded.guard_points import GuardAttackOutcome
from demur.attacks.guarded.guarded_classifier import GuardedClassifier
from demur.classifier import BoundClassifier, ensemble
from demur.data import open_data
from demur.evidence import Evidence
from demur.metrics import auroc
from demur.metrics.binomial import clopper_pearson
from demur.randomness import Keys
from demur.registry import build
from demur.signals import Fittable, Signal, needs_of
from demur.training.adversarial import PGDTraining
from demur.training.batches import gather
from demur.training.learning_loop import learn
from demur.training.standard import Standard

ABSTENTION = 0.05
BATCH = 128


@dataclass(frozen=True)
class Rows:
    """Images with labels and keys."""

    x: Tensor
    y: Tensor
    keys: Keys

    def part(self, first: int, end: int) -> "Rows":
        return Rows(self.x[first:end], self.y[first:end], self.keys.rows(range(first, min(end, len(self.x)))))


@dataclass(frozen=True)
class Batches:
    """Evidence of some rows, batch by batch, made anew each time it is iterated."""

    classifier: BoundClassifier
    rows: Rows
    layers: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Evidence]:
        for images in torch.split(self.rows.x, BATCH):
            yield Evidence(self.classifier, images, self.layers, features=True, check=False)


@dataclass(frozen=True)
class Guards:
    """A classifier, and the rows that guards of it are made from and attacked on."""

    classifier: BoundClassifier
    fit: Rows
    calibration: Rows
    attacked: Rows
    points: dict[float, Mapping[str, Tensor]] = field(default_factory=dict)

    def guarded(self, name: str, fits: int, calibrates: int) -> GuardedClassifier:
        """The classifier guarded by one signal at the abstention wanted."""
        signal, reference = build("signal", name), self.fit.part(0, fits)
        layers = needs_of(signal).layers
        with torch.no_grad():
            if isinstance(signal, Fittable):
                signal = signal.fit(Batches(self.classifier, reference, layers), reference.y)
            scores = self._scores(signal, self.calibration.part(0, calibrates), layers)
        kept = scores.sort().values[: len(scores) - int(ABSTENTION * len(scores))]
        return GuardedClassifier(self.classifier, {name: signal}, {name: float(kept[-1])}, layers=layers)

    def _scores(self, signal: Signal, rows: Rows, layers: tuple[str, ...]) -> Tensor:
        return torch.cat([signal(evidence) for evidence in Batches(self.classifier, rows, layers)])

    def attack(
        self, guarded: GuardedClassifier, eps: float, images: int, steps: int
    ) -> Mapping[str, GuardAttackOutcome]:
        """What the four attackers find; the points of those that know nothing of the guard are searched once."""
        rows, known = self.attacked.part(0, images), self.points.get(eps)
        cut = None if known is None else {name: x[:images] for name, x in known.items()}
        found = attack_guard(guarded, rows.x, rows.y, rows.keys, eps=eps, steps=steps, batch=BATCH, oblivious=cut)
        if known is None and images == len(self.attacked.x):
            self.points[eps] = {name: found[name].x for name in ("minimal", "confident")}
        return found

    def row(self, name: str, eps: float, images: int, steps: int, fits: int, calibrates: int) -> dict[str, Any]:
        """The figures of one guard."""
        began = time.process_time()
        guarded = self.guarded(name, fits, calibrates)
        clean = self._clean(guarded, images)
        found = self.attack(guarded, eps, images, steps)
        row: dict[str, Any] = {"guard": name, "eps": eps, "images": images, **clean}
        for attacker, outcome in found.items():
            share = clopper_pearson(int(outcome.found.sum()), images)
            row[attacker] = [round(share.value, 4), round(share.low, 4), round(share.high, 4)]
            row[f"wrong {attacker}"] = round(float(outcome.wrong.float().mean()), 4)
            row[f"auroc {attacker}"] = self._auroc(guarded, outcome)
        either = found["joint"].found | found["score_free"].found
        share = clopper_pearson(int(either.sum()), images)
        row["either"] = [round(share.value, 4), round(share.low, 4), round(share.high, 4)]
        joint = found["joint"]
        row["passes"] = round(float((joint.forwards + joint.backwards).float().mean()))
        row["zero_gradient"] = round(float(joint.zero_score_gradient.float().mean()), 4)
        row["seconds"] = round(time.process_time() - began, 1)
        return row

    def _clean(self, guarded: GuardedClassifier, images: int) -> dict[str, float]:
        name, rows = next(iter(guarded.signals)), self.attacked.part(0, images)
        with torch.no_grad():
            scores = self._scores(guarded.signals[name], rows, guarded.layers)
            answers = torch.cat([self.classifier.logits(part).argmax(dim=1) for part in torch.split(rows.x, BATCH)])
        accepted, wrong = scores <= guarded.bounds[name], answers != rows.y
        self.points[-1.0] = {**self.points.get(-1.0, {}), name: scores}
        return {
            "abstention": round(float((~accepted).float().mean()), 4),
            "clean_wrong_accepted": round(float((accepted & wrong).float().mean()), 4),
        }

    def _auroc(self, guarded: GuardedClassifier, outcome: GuardAttackOutcome) -> float:
        """How well the score tells wrong answers under attack from clean images."""
        name = next(iter(guarded.signals))
        clean, attacked = self.points[-1.0][name], outcome.scores[name][outcome.wrong]
        positive = torch.cat([torch.zeros(len(clean)), torch.ones(len(attacked))]).bool()
        return round(float(auroc(torch.cat([clean, attacked]).numpy(), positive.numpy())), 4)


class DigitsNet(nn.Module):
    """Two convolutions and two linear layers on 8×8 digits."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 64, 3, stride=2, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(1024, 128), nn.ReLU(),
        )  # fmt: skip
        self.linear = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.body(x))


def digits_guards(*, robust: bool, images: int) -> Guards:
    """A net on 1,000 digits, ordinary or adversarially trained at .1, and the other rows."""
    source = open_data("digits")
    rows = list(source.read(range(1797)))
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(0)).tolist()
    rows = [rows[k] for k in order]
    x, y = torch.stack([row.image for row in rows]), torch.tensor([row.label for row in rows])
    keys = Keys.of(0, [row.sample_id for row in rows], "guards attacked")
    every = Rows(x, y, keys)
    learned = gather(source, order[:1000], y[:1000])
    named = {"epochs": 20, "batch": 64, "mirror": False, "shift": 0, "learning_rate": 0.05}
    recipe = PGDTraining(eps=0.1, steps=4, **named) if robust else Standard(**named)
    net = DigitsNet()
    nets_state = learn(recipe, fresh_digits(), learned, 0)
    net.load_state_dict(nets_state)
    classifier = BoundClassifier(net.eval(), classes=source.classes, input_shape=(1, 8, 8))
    held = every.part(1000, 1797)
    return Guards(classifier, held.part(0, 0), held.part(0, 400), held.part(400, 400 + images))


def fresh_digits() -> nn.Module:
    """The same first weights every time."""
    torch.random.default_generator.manual_seed(0)
    return DigitsNet()


def digits(quick: bool) -> list[dict[str, Any]]:  # noqa: FBT001 - every part takes it
    """The same guards on an ordinary and on a robust net."""
    table, images = [], 64 if quick else 256
    for robust in (False, True):
        guards = digits_guards(robust=robust, images=images)
        right = guards.classifier(guards.attacked.x).argmax(dim=1) == guards.attacked.y
        kind = "adversarially trained" if robust else "ordinary"
        print(f"  {kind} net, {float(right.float().mean()):.1%} of {images} images right")
        for name in ("entropy", "feature_squeezing(bits=2, median=2, strength=0)"):
            for eps in (0.2,) if quick else (0.1, 0.2):
                table.append({"net": kind, **guards.row(name, eps, images, 20 if quick else 50, 0, 400)})
                print("   ", line(table[-1]), flush=True)
    return table


EVERY: Mapping[str, tuple[int, int, int]] = {
    "msp": (200, 0, 1000),
    "entropy": (200, 0, 1000),
    "margin": (200, 0, 1000),
    "max_logit": (200, 0, 1000),
    "energy": (200, 0, 1000),
    "doctor": (200, 0, 1000),
    "pnorm": (200, 0, 1000),
    "maxlogit_pnorm": (200, 1000, 1000),
    "tempered(temperature=2)": (200, 0, 1000),
    "temperature_scaled": (200, 1000, 1000),
    "relative_u": (200, 1000, 1000),
    "stack(signals=[msp, knn, energy])": (200, 1000, 1000),
    "knn": (200, 1000, 1000),
    "mahalanobis": (200, 1000, 1000),
    "vim": (200, 1000, 1000),
    "activation_entropy(layers=['layer1', 'layer2', 'layer3'])": (200, 500, 500),
    "conductance": (200, 1000, 1000),
    "odin": (200, 0, 1000),
    "tta": (200, 0, 1000),
    "feature_squeezing": (100, 0, 400),
    "label_change_rate(mutants=20)": (50, 300, 400),
}
"""Every signal with how many images are attacked, learned from and calibrated on: fewer where one costs many passes."""

MADE: Mapping[str, tuple[int, int, int]] = {
    "mc_dropout(n=10)": (50, 0, 400),
    "ensemble_disagreement": (100, 0, 1000),
}
"""Signals that need another net: one with dropout .2 before its head, and the mean of resnet20 and resnet56."""


def cifar_guards(kind: str, images: int) -> Guards:
    """Guards of resnet20, or of what is made of it."""
    subject = nets.resnet20(2500)
    if subject is None:
        raise SystemExit("The part `signals` needs the weights and images of DEMUR_SHARED.")
    classifier = BoundClassifier(
        subject.network.eval(), classes=subject.classes, input_shape=(3, 32, 32), mean=subject.mean, std=subject.std
    )
    if kind == "mc_dropout(n=10)":
        classifier = classifier.altered(with_dropout, "resnet20 with dropout")
    if kind == "ensemble_disagreement":
        address = (
            f"zoo:resnet56@{nets.SHARED}/models/cifar10_resnet56.safetensors?mean=.485,.456,.406&std=.229,.224,.225"
        )
        other = nets.load_model(address, classes=subject.classes, input_shape=(3, 32, 32))
        classifier = ensemble([classifier, other])
    every = Rows(subject.x, subject.y, subject.keys)
    return Guards(classifier, every.part(500, 1500), every.part(1500, 2500), every.part(0, images))


def with_dropout(module: nn.Module) -> None:
    """Dropout before the head, in place."""
    module.linear = nn.Sequential(nn.Dropout(0.2), module.linear).eval()


def signals(quick: bool, only: list[str] | None = None) -> list[dict[str, Any]]:  # noqa: FBT001
    """Every signal as a guard of resnet20."""
    table = []
    plain = cifar_guards("", 16 if quick else 200)
    chosen = {name: EVERY[name] for name in ("msp", "knn")} if quick else {**EVERY, **MADE}
    for name, (images, fits, calibrates) in chosen.items():
        if only and name not in only:
            continue
        for eps in (2 / 255,):
            guards = cifar_guards(name, images) if name in MADE else plain
            size = 16 if quick else images
            table.append(
                guards.row(
                    name,
                    eps,
                    size,
                    10 if quick else 30,
                    300 if quick else fits,
                    calibrates // 4 if quick else calibrates,
                )
            )
            print("   ", line(table[-1]), flush=True)
    return table


def line(row: Mapping[str, Any]) -> str:
    """The figures of one guard in words."""
    said = " ".join(f"{name} {row[name][0]:.3f}" for name in ("minimal", "confident", "joint", "score_free"))
    return (
        f"{row['guard']:<50} eps {row['eps']:.4f} n {row['images']}  {said}  {row['passes']} passes {row['seconds']} s"
    )


def cost(quick: bool) -> list[dict[str, Any]]:  # noqa: FBT001
    """Passes of the joint attack beside those of the ensemble."""
    images, table = 32 if quick else 128, list[dict[str, Any]]()
    plain = digits_guards(robust=False, images=images)
    subjects = [("digits", plain, 0.1), ("digits", plain, 0.2)]
    if nets.SHARED:
        subjects.append(("resnet20", cifar_guards("", images), 2 / 255))
    for name, guards, eps in subjects:
        rows = guards.attacked
        whole = run_ensemble(Ensemble(eps=eps), Objective(guards.classifier), rows.x, rows.y, rows.keys, batch=BATCH)
        unguarded = float((whole.outcome.forwards + whole.outcome.backwards).float().mean())
        joint = attack_guard(guards.guarded("entropy", 0, 400), rows.x, rows.y, rows.keys, eps=eps, batch=BATCH)[
            "joint"
        ]
        guarded = float((joint.forwards + joint.backwards).float().mean())
        table.append({"net": name, "eps": eps, "ensemble": unguarded, "joint": guarded, "ratio": guarded / unguarded})
        print(f"  {name}: joint {guarded:.0f} passes, ensemble {unguarded:.0f}, ratio {guarded / unguarded:.2f}")
    return table


PARTS = {"digits": digits, "signals": signals, "cost": cost}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few images and steps, under a minute")
    parser.add_argument("--part", choices=PARTS, action="append", help="one part only; may be given again")
    parser.add_argument("--only", action="append", help="of `signals`, this one alone; may be given again")
    parser.add_argument("--table", type=Path, help="where the rows of `signals` go as lines of a Markdown table")
    arguments = parser.parse_args()
    figures = {}
    for part in arguments.part or [name for name in PARTS if name != "signals" or nets.SHARED]:
        print(part)
        figures[part] = signals(arguments.quick, arguments.only) if part == "signals" else PARTS[part](arguments.quick)
    if arguments.table and "signals" in figures:
        arguments.table.write_text(markdown(figures["signals"]))
    print(json.dumps(figures))


def markdown(rows: list[dict[str, Any]]) -> str:
    """One line for each guard and radius."""
    return "".join(f"{cells(row)}\n" for row in rows)


def cells(row: Mapping[str, Any]) -> str:
    """The columns of the page."""
    low, high = row["either"][1:]
    shares = " | ".join(f"{100 * row[name][0]:.1f}" for name in ("minimal", "confident", "joint", "score_free"))
    return (
        f"| `{row['guard']}` | {row['images']} | {100 * row['abstention']:.1f} | {100 * row['wrong joint']:.1f} "
        f"| {shares} | **{100 * row['either'][0]:.1f}** ({100 * low:.1f}–{100 * high:.1f}) |"
    )


if __name__ == "__main__":
    main()
