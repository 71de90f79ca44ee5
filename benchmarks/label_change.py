"""The label change rate against a loop over copies of the model, in one process.

The loop holds one copy of the net for each mutant, as published code does, and runs every image through every copy.
Ours asks the same mutants at the same batch size, and then again with sequential stopping. Both nets get their images
in the same memory layout. Runs alternate; times are CPU seconds of this process. Scoring is compared by itself, and
then with what comes before it: ours is charged for the fitting, which tries mutants until enough are fit for use, the
loop for the making of its copies alone, as if somebody had told it which mutants to take.

    python benchmarks/label_change.py [--quick] [--images N] [--mutants N] [--threads N]

Uses resnet20 on CIFAR-10 from the folder in DEMUR_SHARED, or the shipped classifier on Fashion-MNIST without it.
"""

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from common.nets import fashion, resnet20
from demur.classifier import BoundClassifier
from demur.evidence import Evidence
from demur.metrics import auroc
from demur.signals.early_stopping import open_share
from demur.signals.label_change_rate import FittedLabelChangeRate, LabelChangeRate, auroc_by_mutants
from demur.signals.mutants import applied
from demur.signals.softmax_scores import MSP

BATCH, GAMMA = 128, 0.01


@dataclass(frozen=True)
class Reference:
    """Evidence batch by batch, anew each time."""

    classifier: BoundClassifier
    images: Tensor

    def __iter__(self) -> Iterator[Evidence]:
        for part in torch.split(self.images, BATCH):
            yield Evidence(self.classifier, part)


def copies(fitted: FittedLabelChangeRate, seen: Evidence, module: nn.Module) -> list[nn.Module]:
    """One net for each mutant."""
    made = []
    for number in fitted.numbers:
        spoilt = copy.deepcopy(module)
        for layer, weight in applied(seen.filters, fitted.mutation.mutant(seen.filters, number)).items():
            spoilt.get_submodule(layer).weight.data = weight
        made.append(spoilt)
    return made


def naive(classifier: BoundClassifier, spoilt: list[nn.Module], images: Tensor) -> Tensor:
    """What each copy answers, (mutants, rows)."""
    parts = [classifier.prepare(part) for part in torch.split(images, BATCH)]
    return torch.stack([torch.cat([net(part).argmax(dim=1) for part in parts]) for net in spoilt])


def seconds(work: Callable[[], Tensor]) -> tuple[float, Tensor]:
    began = time.process_time()
    found = work()
    return time.process_time() - began, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer images and mutants, under a minute")
    parser.add_argument("--images", type=int, help="how many images are scored")
    parser.add_argument("--mutants", type=int, help="how many mutants")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    images = arguments.images or (128 if arguments.quick else 1000)
    mutants = arguments.mutants or (20 if arguments.quick else 100)
    known = 64 if arguments.quick else 250
    with torch.no_grad():
        figures = measure(images, mutants, known, pairs=1 if arguments.quick else 2)
    print(json.dumps(figures))


def measure(images: int, mutants: int, known: int, pairs: int) -> dict[str, object]:
    subject = resnet20(images + known) or fashion(images + known)
    model = BoundClassifier(
        subject.network,
        classes=subject.classes,
        input_shape=tuple(subject.x.shape[1:]),
        mean=subject.mean,
        std=subject.std,
    )
    signal = LabelChangeRate(gamma=GAMMA, mutants=mutants)
    fitting, fitted = seconds(lambda: signal.fit(Reference(model, subject.x[images:]), subject.y[images:]))
    x, y = subject.x[:images], subject.y[:images]
    print(
        f"{subject.name}, {images} images, {mutants} mutants of {fitted.tried} tried on {known} others: {fitting:.0f} s"
    )
    whole = Evidence(model, x)
    own, uncertainty = whole.logits.argmax(dim=1), MSP()(whole)
    began = time.process_time()
    spoilt = copies(fitted, whole, subject.network)
    copying = time.process_time() - began
    ratios, stopped, charged = [], [], []
    for _ in range(pairs):
        slow, answers = seconds(lambda: naive(model, spoilt, x))
        fast, changes = seconds(lambda: torch.cat([fitted.changes(seen) for seen in Reference(model, x)], dim=1))
        quick, counts = seconds(lambda: torch.stack(fitted.counts(Evidence(model, x))))
        ratios.append(slow / fast)
        stopped.append(slow / quick)
        charged.append((copying + slow) / (fitting + quick))
        print(
            f"  loop {slow:.1f} s, ours {fast:.1f} s ({slow / fast:.2f}×), stopping {quick:.1f} s ({slow / quick:.2f}×)"
        )
    print(
        f"  with all that comes before, {copying:.1f} s of copying and {fitting:.1f} s of fitting: "
        f"{statistics.median(charged):.2f}×, stopping"
    )
    different = int((changes != (answers != own)).sum())
    share, limit = changes.double().mean(dim=0), fitted.rule.limit / mutants
    expected = fitted.rule.expected(*counts, uncertainty)
    half = 0.5 / mutants
    agreement = float(((expected >= limit - half) == (share >= limit - half)).double().mean())
    asked = float(counts[1].double().mean())
    print(f"  answers that differ from the loop's: {different} of {changes.numel()}")
    print(f"  with stopping {asked:.1f} mutants on average, {agreement:.2%} decided as all {mutants} decide")
    wrong = own != y
    ranks = {
        "msp": auroc(uncertainty.numpy(), wrong.numpy()),
        "all mutants": auroc(share.numpy(), wrong.numpy()),
        "stopping": auroc(expected.numpy(), wrong.numpy()),
    }
    print("  AUROC of errors: " + ", ".join(f"{name} {value:.3f}" for name, value in ranks.items()))
    steps = [count for count in (10, 20, 30, 50, 70, 100) if count <= mutants]
    by_mutants = auroc_by_mutants(changes, wrong, steps)
    print("  by mutants: " + ", ".join(f"{count}: {value:.3f}" for count, value in by_mutants.items()))
    tested, open_still = sequential_test(fitted, changes, uncertainty)
    print(f"  Wald's test instead: {tested:.1f} mutants on average, {open_still:.0%} of images still open at the end")
    return {
        "model": subject.name,
        "images": images,
        "mutants": mutants,
        "tried": fitted.tried,
        "speedup": round(statistics.median(ratios), 3),
        "speedup_stopping": round(statistics.median(stopped), 3),
        "speedup_with_fitting": round(statistics.median(charged), 3),
        "fitting_s": round(fitting, 2),
        "copying_s": round(copying, 2),
        "different_answers": different,
        "mutants_asked": round(asked, 2),
        "agreement": round(agreement, 4),
        "auroc": {name: round(value, 4) for name, value in ranks.items()},
        "auroc_by_mutants": {count: round(value, 4) for count, value in by_mutants.items()},
        "sprt_mutants": round(tested, 2),
        "sprt_truncated": round(open_still, 4),
    }


def sequential_test(fitted: FittedLabelChangeRate, changes: Tensor, uncertainty: Tensor) -> tuple[float, float]:
    """Mutants that Wald's test asks on average, and the share of images it leaves open, from what all mutants said."""
    rule = type(fitted.rule)("sprt", len(changes), fitted.rule.limit)
    changed, asked = torch.zeros(2, changes.shape[1], dtype=torch.int64)
    for part in rule.blocks(range(len(changes))):
        rows = (~rule.enough(changed, asked, uncertainty)).nonzero()[:, 0]
        changed[rows] += changes[part.start : part.stop, rows].sum(dim=0)
        asked[rows] += len(part)
    return float(asked.double().mean()), open_share(rule, changed, asked)


if __name__ == "__main__":
    main()
