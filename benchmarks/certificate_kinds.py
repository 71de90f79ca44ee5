"""What the kinds of certificates keep and answer: groups, weights, classes, sites, a fixed coverage; simulated.

    python benchmarks/certificate_kinds.py [--quick]

In each redraw uncertainty is uniform, an answer is wrong with a probability that falls from the least sure to the
surest, and a policy is fitted on tune and certify rows drawn anew. The truth of a threshold is read off the same law:
off its formula, or off a very large sample. A violation is a certificate whose statement is not true. Printed beside it
is the share of the images that certificates answer, on average with 0 where they are refused.
"""

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from demur.policies import Calibration, Capacity, Certified, CertifiedByClass, CertifiedBySite, Look, Refusal
from demur.policies.average_loss import control_average_loss
from demur.policies.by_class import Classes
from demur.policies.by_site import SiteRows
from demur.policies.group_means import climb_by_betting

Fit = Callable[[np.random.Generator], Any]
Floats = NDArray[np.float64]
DELTA = 0.05


def profile(uncertainty: Floats) -> Floats:
    """10 % of all answers are wrong, hardly any of the surest."""
    return 0.6 * np.exp(-6 * (1 - uncertainty))


def share_wrong(threshold: float) -> float:
    """Of all images the share answered at a threshold and wrong, under `profile`."""
    return 0.1 * (math.exp(-6 * (1 - min(threshold, 1.0))) - math.exp(-6))


MOST = 12
"""The largest group of the law "small"."""


def grouped(generator: np.random.Generator, groups: int, size: int, law: str = "equal") -> Calibration:
    """Groups whose error probabilities share a gamma factor, intra-group correlation .1.

    Sizes are equal, or geometric ("unequal"), in "worse are larger" with a mean that follows the factor, and in "small"
    binomial with that mean, none above 12.
    """
    factor = generator.gamma(1.11, 1 / 1.11, groups)
    match law:
        case "equal":
            sizes = np.full(groups, size)
        case "small":
            sizes = 1 + generator.binomial(MOST - 1, np.minimum(0.9, size / MOST * factor))
        case _:
            mean = size * factor if law == "worse are larger" else np.full(groups, float(size))
            sizes = generator.geometric(1 / (1 + mean))
    units = np.repeat(np.arange(groups), sizes)
    uncertainty = generator.random(len(units))
    wrong = generator.random(len(units)) < np.minimum(1, profile(uncertainty) * factor[units])
    return Calibration(uncertainty, wrong, units)


def weighted(generator: np.random.Generator, rows: int) -> Calibration:
    """Half of the images weigh a quarter, and the sure ones among the heavy are wrong twice as often."""
    uncertainty, heavy = generator.random(rows), generator.random(rows) < 0.5
    wrong = generator.random(rows) < profile(uncertainty) * np.where(heavy, 1.33, 0.67)
    return Calibration(uncertainty, wrong, weights=np.where(heavy, 1.0, 0.25))


@dataclass(frozen=True)
class Truth:
    """What a threshold truly does, from a very large sample: weighted coverage and risk by ascending threshold."""

    scores: Floats
    coverage: Floats
    risk: Floats

    @classmethod
    def of(cls, rows: Calibration, weights: Floats) -> "Truth":
        order = np.argsort(rows.scores)
        answered, wrong = np.cumsum(weights[order]), np.cumsum((weights * rows.wrong)[order])
        return cls(rows.scores[order], answered / answered[-1], wrong / answered)

    def at(self, threshold: float) -> tuple[float, float]:
        place = max(0, int(np.searchsorted(self.scores, threshold, side="right")) - 1)
        return float(self.coverage[place]), float(self.risk[place])

    def best(self, risk: float) -> float:
        fine = np.flatnonzero(self.risk <= risk)
        return float(self.coverage[fine[-1]]) if len(fine) else 0.0


def by_group(rows: Calibration) -> Floats:
    """Weights by which each group counts equally."""
    units = np.asarray(rows.groups)
    return 1 / np.bincount(units)[units]


def tally(found: list[tuple[bool, float, bool]]) -> dict[str, float]:
    """Of redraws (issued, coverage, violated): the shares and the mean coverage."""
    issued, coverage, violated = (np.asarray(column, float) for column in zip(*found, strict=True))
    return {"coverage": coverage.mean(), "refused": 1 - issued.mean(), "violated": violated.mean()}


def judged(answer: Any, truth: Truth, risk: float | None = None) -> tuple[bool, float, bool]:
    """One redraw: a certificate is violated where the true risk is above the one it states."""
    if answer is None or isinstance(answer, Refusal):
        return False, 0.0, False
    coverage, true = truth.at(answer if isinstance(answer, float) else answer.threshold)
    return True, coverage, true > (answer.risk if risk is None else risk)


def groups_table(redraws: int) -> dict[str, Any]:
    """Certified coverage: many groups by the automatic choice, beside one image of each."""
    rows = (
        (300, 10, 0.05, "equal"), (100, 20, 0.10, "equal"), (800, 10, 0.02, "equal"), (600, 1, 0.05, "equal"),
        (150, 20, 0.05, "equal"), (200, 10, 0.05, "equal"), (300, 10, 0.05, "unequal"),
        (300, 10, 0.05, "worse are larger"),
    )  # fmt: skip
    figures = {}
    for groups, size, risk, law in rows:
        large = grouped(np.random.default_rng(1), 200_000 // size, size, law)
        truth, policy = Truth.of(large, by_group(large)), Certified(risk=risk, delta=DELTA)
        draw, level = partial(_drawn, groups, size, law), Look().risk_level(DELTA)
        fits: dict[str, Fit] = {
            "automatic": lambda generator, draw=draw, policy=policy: policy.fit(*draw(generator)),
            "one of each": lambda generator, draw=draw, policy=policy: policy.fit(*_singles(*draw(generator))),
            "betting": lambda generator, draw=draw, risk=risk, level=level: _bet(*draw(generator), risk, level),
            "one of each at .05": lambda generator, draw=draw, risk=risk: _alone(*draw(generator), risk),
            "betting at .05": lambda generator, draw=draw, risk=risk: _bet(*draw(generator), risk, DELTA),
        }
        figures[f"{groups} groups of {size}, {law}, risk {risk}"] = {
            "oracle": truth.best(risk),
            **{name: _redrawn(fit, truth, risk, redraws) for name, fit in fits.items()},
        }
    return figures


def _drawn(groups: int, size: int, law: str, generator: np.random.Generator) -> tuple[Calibration, Calibration]:
    return grouped(generator, max(20, groups // 2), size, law), grouped(generator, groups, size, law)


def _singles(tune: Calibration, certify: Calibration) -> tuple[Calibration, Calibration]:
    return tune, certify.one_per_group()


def _alone(tune: Calibration, certify: Calibration, risk: float) -> Any:
    """One image of each group, at a level of .05 for the risk: a single look that says nothing of coverage."""
    return Certified(risk=risk, delta=DELTA * DELTA / Look().risk_level(DELTA)).fit(tune, certify.one_per_group())


def _bet(tune: Calibration, certify: Calibration, risk: float, level: float) -> float | None:
    """Bets on the means of groups whatever their number."""
    return climb_by_betting(tune, certify, risk, level).threshold


def _redrawn(fit: Fit, truth: Truth, risk: float, redraws: int) -> dict[str, float]:
    generator = np.random.default_rng(0)
    return tally([judged(fit(generator), truth, risk) for _ in range(redraws)])


def image_risk_table(redraws: int) -> dict[str, Any]:
    """The share wrong of all images where worse groups are larger: guaranteed only where that was asked for."""
    groups, size, risk = 800, 4, 0.05
    large = grouped(np.random.default_rng(1), 60_000, size, "small")
    image, group = Truth.of(large, np.ones(len(large))), Truth.of(large, by_group(large))
    draw = partial(_drawn, groups, size, "small")
    plain, asked = Certified(risk=risk, delta=DELTA), Certified(risk=risk, delta=DELTA, largest_group=MOST)
    return {
        "each group equally": _redrawn(lambda generator: plain.fit(*draw(generator)), group, risk, redraws),
        "the same, judged per image": _redrawn(lambda generator: plain.fit(*draw(generator)), image, risk, redraws),
        "each image equally": _redrawn(lambda generator: asked.fit(*draw(generator)), image, risk, redraws),
    }


def weights_table(redraws: int) -> dict[str, Any]:
    """Weighted images by betting."""
    large = weighted(np.random.default_rng(1), 400_000)
    truth = Truth.of(large, np.asarray(large.weights))
    figures = {}
    for m, risk in ((1000, 0.05), (2000, 0.02), (5000, 0.02)):
        policy = Certified(risk=risk, delta=DELTA)
        fit = partial(_weighted_fit, policy, m)
        figures[f"{m} images, risk {risk}"] = {"oracle": truth.best(risk), **_redrawn(fit, truth, risk, redraws)}
    return figures


def _weighted_fit(policy: Certified, m: int, generator: np.random.Generator) -> Any:
    return policy.fit(weighted(generator, m // 2), weighted(generator, m))


FACTORS = {"plain": 1.0, "hard": 1.6, "easy": 0.4}
SHARES = (0.6, 0.1, 0.3)


def by_class_table(redraws: int) -> dict[str, Any]:
    """Three classes, the hard one rare, certified together."""
    figures, factors = {}, np.array(list(FACTORS.values()))
    for m, risk in ((2000, 0.05), (4000, 0.02)):
        policy, generator, found = CertifiedByClass(risk=risk, delta=DELTA), np.random.default_rng(0), []
        for _ in range(redraws):
            labels = generator.choice(3, m, p=SHARES)
            scores = generator.random(m)
            wrong = generator.random(m) < profile(scores) * factors[labels]
            tune = Calibration(generator.random(m // 2), np.zeros(m // 2, bool))
            answer = policy.fit(tune, Calibration(scores, wrong), Classes(tuple(FACTORS), labels))
            issued = not isinstance(answer, Refusal)
            lost = max(factors) * share_wrong(answer.threshold) if issued else 0.0
            found.append((issued, min(answer.threshold, 1.0) if issued else 0.0, lost > risk))
        figures[f"{m} images, {risk} of each class"] = {"oracle": _oracle(risk / max(factors)), **tally(found)}
    return figures


def _oracle(loss: float) -> float:
    """The largest coverage at which so many of all images are answered wrong."""
    return min(1.0, 1 + math.log(loss / 0.1 + math.exp(-6)) / 6)


def by_site_table(redraws: int) -> dict[str, Any]:
    """Three sites with thresholds of their own; one has too few labels to have a part in δ."""
    sizes, risk = {"a": 1500, "b": 700, "c": 60}, 0.05
    factors = {"a": 0.7, "b": 1.0, "c": 1.0}
    policy, generator, found = CertifiedBySite(risk=risk, delta=DELTA), np.random.default_rng(0), []
    names = np.repeat(list(sizes), list(sizes.values())).astype(object)
    factor = np.array([factors[name] for name in names])
    for _ in range(redraws):
        tune, certify = (_of_sites(generator, factor) for _ in range(2))
        answer = policy.fit(SiteRows(tune, names), SiteRows(certify, names))
        made = {} if isinstance(answer, Refusal) else {each.site: each.certificate.threshold for each in answer.sites}
        true = {site: factors[site] * share_wrong(at) / min(at, 1.0) for site, at in made.items()}
        answered = sum(min(at, 1.0) * sizes[site] for site, at in made.items()) / len(names)
        found.append((bool(made), answered, any(value > risk for value in true.values())))
    return {f"three sites, risk {risk}": tally(found)}


def _of_sites(generator: np.random.Generator, factor: Floats) -> Calibration:
    scores = generator.random(len(factor))
    return Calibration(scores, generator.random(len(factor)) < profile(scores) * factor)


def capacity_table(redraws: int) -> dict[str, Any]:
    """A coverage fixed beforehand: how often the risk that is stated is too low, and how far above the truth it is."""
    figures = {}
    for title, draw, large in _capacity_laws():
        for coverage in (0.5, 0.85):
            truth = Truth.of(large, np.ones(len(large)) if large.groups is None else by_group(large))
            generator, found, stated = np.random.default_rng(0), [], []
            for _ in range(redraws):
                answer = Capacity(coverage=coverage, delta=DELTA).fit(draw(generator), draw(generator))
                found.append(judged(answer, truth))
                stated.append(1.0 if isinstance(answer, Refusal) else answer.risk)
            true = truth.at(float(np.quantile(large.scores, coverage)))[1]
            figures[f"{title}, coverage {coverage}"] = {"truth": true, "stated": float(np.mean(stated)), **tally(found)}
    return figures


def _capacity_laws() -> list[tuple[str, Callable[[np.random.Generator], Calibration], Calibration]]:
    def images(generator: np.random.Generator, rows: int = 1000) -> Calibration:
        scores = generator.random(rows)
        return Calibration(scores, generator.random(rows) < profile(scores))

    return [
        ("1,000 images", images, images(np.random.default_rng(1), 400_000)),
        ("100 groups of 10", partial(grouped, groups=100, size=10), grouped(np.random.default_rng(1), 40_000, 10)),
    ]


def average_loss_table(redraws: int) -> dict[str, Any]:
    """The weaker kind: the mean loss over redraws, and how often a single draw lies above it."""
    figures = {}
    for m, loss in ((100, 0.02), (200, 0.02), (600, 0.02), (200, 0.05)):
        generator, losses = np.random.default_rng(0), []
        for _ in range(redraws):
            tune, certify = (_of_sites(generator, np.ones(rows)) for rows in (m, m))
            found = control_average_loss(tune, certify, loss)
            losses.append(0.0 if found is None else share_wrong(found.threshold))
        figures[f"{m} images, {loss}"] = {
            "mean loss": float(np.mean(losses)),
            "draws above": float(np.mean(np.asarray(losses) > loss)),
        }
    return figures


TABLES: dict[str, Callable[[int], dict[str, Any]]] = {
    "groups": groups_table,
    "image risk": image_risk_table,
    "weights": weights_table,
    "by class": by_class_table,
    "by site": by_site_table,
    "capacity": capacity_table,
    "average loss": average_loss_table,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20 redraws instead of 1,000")
    parser.add_argument("--redraws", type=int, help="how many redraws")
    parser.add_argument("--table", choices=sorted(TABLES), help="this table alone")
    arguments = parser.parse_args()
    redraws = arguments.redraws or (20 if arguments.quick else 1000)
    figures: dict[str, Any] = {"redraws": redraws}
    for name, table in TABLES.items():
        if arguments.table in {None, name}:
            begun = time.monotonic()
            figures[name] = _rounded(table(redraws))
            print(f"{name} ({time.monotonic() - begun:.1f} s)")
            for title, row in figures[name].items():
                print(f"  {title:<48} {json.dumps(row)}")
    print(json.dumps(figures))


def _rounded(found: Any) -> Any:
    return {key: _rounded(value) for key, value in found.items()} if isinstance(found, dict) else round(found, 4)


if __name__ == "__main__":
    main()
