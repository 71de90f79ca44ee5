"""Are the 95 % intervals honest? Simulated data sets with a known truth, alone and in groups, counted.

    python benchmarks/interval_coverage.py [--quick]

In each data set images are right with a probability that a hidden difficulty decides, and a uncertainty score follows
the difficulty with noise. In groups the difficulty has a part that all images of a group share. The truth is computed
on a very large sample of the same law. Printed is the share of data sets whose interval holds the truth, beside the
band in which that share lies with probability 95 % if the interval is exact. Then AUROC with few errors, from both
sides, and what is read off the worst of many classes that are truly alike.
"""

import argparse
import json
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, norm

from demur.metrics import auroc, proportion
from demur.metrics.binomial import clopper_pearson
from demur.metrics.delong import auroc_gain, auroc_interval
from demur.metrics.estimate import Estimate

Rows = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_], NDArray[np.int64]]


def draw(generator: np.random.Generator, groups: int, size: int, shared: float) -> Rows:
    """Two uncertainty scores, wrong, and the group of each image; `shared` is the group's part in the difficulty."""
    units = np.repeat(np.arange(groups), size)
    own, common = generator.normal(size=groups * size), generator.normal(size=groups)[units]
    difficulty = np.sqrt(1 - shared) * own + np.sqrt(shared) * common
    wrong = generator.random(len(units)) < 1 / (1 + np.exp(2.0 - 1.5 * difficulty))
    uncertainty = difficulty + 0.8 * generator.normal(size=len(units))
    other = difficulty + 1.2 * generator.normal(size=len(units))
    return uncertainty, other, wrong, units


def measures(grouped: bool) -> dict[str, Callable[[Rows], Estimate]]:  # noqa: FBT001 - a two-way table
    return {
        "accuracy": lambda rows: proportion(~rows[2], rows[3] if grouped else None),
        "auroc": lambda rows: auroc_interval(rows[0], rows[2], rows[3] if grouped else None),
        "auroc gain": lambda rows: auroc_gain(rows[0], rows[1], rows[2], rows[3] if grouped else None),
    }


def truth(shared: float, size: int) -> dict[str, float]:
    uncertainty, other, wrong, _ = draw(np.random.default_rng(1), 2_000_000 // size, size, shared)
    return {
        "accuracy": float(1 - wrong.mean()),
        "auroc": float(auroc(uncertainty, wrong)),
        "auroc gain": float(auroc(uncertainty, wrong)) - float(auroc(other, wrong)),
    }


def few_errors(errors: int, known: float, sets: int) -> dict[str, float]:
    """AUROC of 1,000 images, few of them wrong, by scores of two normal distributions."""
    generator, wrong = np.random.default_rng(0), np.arange(1000) < errors
    shift = float(np.sqrt(2) * norm.ppf(known))
    found = [auroc_interval(generator.normal(size=1000) + shift * wrong, wrong) for _ in range(sets)]
    return {
        "held": float(np.mean([each.low <= known <= each.high for each in found])),
        "truth below": float(np.mean([each.low > known for each in found])),
        "truth above": float(np.mean([each.high < known for each in found])),
    }


def worst_of_many(classes: int, n: int, known: float, bar: float, sets: int) -> dict[str, float]:
    """The interval of the worst class, and how often a gate that all classes truly pass fails."""
    right = np.random.default_rng(0).binomial(n, known, (sets, classes)).min(axis=1)
    found = [clopper_pearson(int(count), n, classes) for count in right]
    return {
        "held": float(np.mean([each.low <= known <= each.high for each in found])),
        "gate fails": float(np.mean([each.high < bar for each in found])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="1,000 data sets instead of 4,000")
    parser.add_argument("--sets", type=int, help="how many simulated data sets")
    arguments = parser.parse_args()
    sets = arguments.sets or (1000 if arguments.quick else 4000)
    low, high = (float(binom.ppf(tail, sets, 0.95)) / sets for tail in (0.025, 0.975))
    figures: dict[str, object] = {"sets": sets, "band": [low, high]}
    print(f"{sets} data sets; an exact 95 % interval holds the truth in {low:.3f} to {high:.3f} of them")
    for title, groups, size, shared in (("1,000 images alone", 1000, 1, 0.0), ("100 groups of 10", 100, 10, 0.5)):
        known, generator = truth(shared, size), np.random.default_rng(0)
        asked = measures(grouped=size > 1)
        held = dict.fromkeys(asked, 0)
        for _ in range(sets):
            rows = draw(generator, groups, size, shared)
            for name, measure in asked.items():
                found = measure(rows)
                held[name] += found.low <= known[name] <= found.high
        for name, count in held.items():
            inside = low <= count / sets <= high
            print(f"  {title:<20} {name:<12} {count / sets:.3f}  {'inside the band' if inside else 'OUTSIDE the band'}")
            figures[f"{title}: {name}"] = count / sets
    for errors, known in ((10, 0.7), (10, 0.95), (10, 0.99), (30, 0.95), (30, 0.99), (100, 0.99), (300, 0.9)):
        figures[f"auroc {known} of {errors} errors"] = _told(
            f"AUROC {known}, {errors} errors", few_errors(errors, known, sets)
        )
    for classes, n, known in ((10, 400, 0.75), (200, 10, 0.75), (200, 50, 0.75), (200, 20, 0.92)):
        title = f"worst of {classes} classes of {n}, right {known}"
        figures[title] = _told(title, worst_of_many(classes, n, known, 0.7, sets))
    print(json.dumps(figures))


def _told(title: str, found: dict[str, float]) -> dict[str, float]:
    print(f"  {title:<40} {', '.join(f'{name} {share:.3f}' for name, share in found.items())}")
    return found


if __name__ == "__main__":
    main()
