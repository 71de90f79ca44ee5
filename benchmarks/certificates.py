"""What a certificate is worth with few labels, and whether it keeps what it says: redraws of rows with a known truth.

    python benchmarks/certificates.py [--quick]

The shipped classifier scores its 10,000 bundled images; these are the world, so that the risk and the coverage of every
threshold are known. Each redraw takes tune, certify and test rows out of it, with replacement, as many as an audit with
`m` certify labels has. A violation is a certified threshold whose true risk is above the one promised, or whose true
coverage is below its bound. Every table is one function; the last line is one line of JSON.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import bdtr

from demur.adapters import load_model
from demur.data import open_data
from demur.metrics.binomial import power_start, sample_for
from demur.policies import Calibration, Look, ThresholdGrid
from demur.policies.coverage_bound import bound_coverage
from demur.policies.fixed_sequence import Start, ThresholdSequence, fixed_sequence, sequence_from, starts

RISK, DELTA = 0.02, 0.05
FIRST = Look(1)
LEVELS = {"single at δ": DELTA, "single, first look": FIRST.spent(DELTA), "joint, first look": FIRST.risk_level(DELTA)}

Floats = NDArray[np.float64]
Rule = Callable[[int, float, float], tuple[Start, ...]]


@dataclass(frozen=True, eq=False)
class World:
    """All images there are, from the surest on: how likely each is answered wrong; its score is its place."""

    wrong: Floats

    @property
    def risks(self) -> Floats:
        """The true risk of answering the surest one, two and so on."""
        return np.cumsum(self.wrong) / np.arange(1, len(self.wrong) + 1)

    @property
    def oracle(self) -> float:
        """The largest coverage with at most the risk."""
        return float(np.flatnonzero(self.risks <= RISK).max(initial=-1) + 1) / len(self.wrong)

    def draw(self, rng: np.random.Generator, rows: int) -> Calibration:
        place = rng.integers(0, len(self.wrong), rows)
        return Calibration(place.astype(np.float64), rng.random(rows) < self.wrong[place])

    def coverage(self, threshold: float) -> float:
        return min(float(np.floor(threshold)) + 1, len(self.wrong)) / len(self.wrong)

    def risk(self, threshold: float) -> float:
        return float(self.risks[int(self.coverage(threshold) * len(self.wrong) + 0.5) - 1])


def shipped() -> World:
    """The shipped model on its bundled test images, msp."""
    data = open_data("fashion")
    model = load_model("fashion", classes=data.classes, input_shape=data.input_shape)
    scores, wrong, rows = [], [], iter(data.read(range(len(data))))
    with torch.no_grad():
        while batch := [row for _, row in zip(range(500), rows, strict=False)]:
            confidence = torch.log_softmax(model(torch.stack([row.image for row in batch])).double(), dim=1)
            scores.append((-confidence.amax(dim=1)).numpy())
            wrong.append(confidence.argmax(dim=1).numpy() != np.array([row.label for row in batch]))
    order = np.argsort(np.concatenate(scores), kind="stable")
    return World(np.concatenate(wrong)[order].astype(np.float64))


def dirty(world: World, share: float, top: float) -> World:
    """The same, with so many of the surest wrong."""
    wrong = world.wrong.copy()
    wrong[: int(top * len(wrong))] = share
    return World(wrong)


def before(m: int, risk: float, level: float) -> tuple[Start, ...]:
    """The rule of starts that this one replaced: n₀ answers, whatever the number of labels."""
    first = power_start(risk, level)
    counts = (first, 3 * first) if 6 * first <= m else (first,)
    return tuple(Start(min(1.0, count / m), level / len(counts)) for count in counts)


def half(m: int, risk: float, level: float) -> tuple[Start, ...]:
    """Half of the labels, at least as many as one error needs: the simpler rule that was weighed and not taken."""
    first, one = power_start(risk, level), sample_for(1, risk, level)
    return before(m, risk, level) if 6 * first <= m else (Start(min(m, max(one, min(first, m / 2))) / m, level),)


def rows_beside(m: int) -> tuple[int, int]:
    """The tune and test rows of an audit that has `m` certify rows."""
    if m / 0.8 < 600:
        return round(m / 4), 0
    return (round(0.4 * m), round(0.6 * m)) if m / 0.5 < 3000 else (round(0.375 * m), m)


def climb(sequence: ThresholdSequence, certify: Calibration) -> float | None:
    """`fixed_sequence` for all thresholds at once, of scores that do not move."""
    thresholds = np.array(sequence.thresholds)
    answered = np.searchsorted(np.sort(certify.scores), thresholds, side="right")
    wrong = np.searchsorted(np.sort(certify.scores[certify.wrong]), thresholds, side="right")
    failed = np.where(answered > 0, bdtr(wrong, np.maximum(answered, 1), RISK), 1.0) > sequence.level
    passed = int(np.argmax(failed)) if failed.any() else len(failed)
    return float(thresholds[passed - 1]) if passed else None


@dataclass(frozen=True)
class Outcome:
    """One redraw: the certified threshold, None where refused, and the bound on its coverage."""

    threshold: float | None
    low: float = 0.0


def certify(world: World, rng: np.random.Generator, m: int, level: float, rule: Rule = starts) -> Outcome:
    """One redraw of an audit with `m` certify labels."""
    many, unlabelled = rows_beside(m)
    tune, rows = world.draw(rng, many), world.draw(rng, m)
    grid = ThresholdGrid.of(tune.scores)
    sequences = [sequence_from(grid, start) for start in rule(m, RISK, level)]
    reached = [threshold for each in sequences if (threshold := climb(each, rows)) is not None]
    if not reached:
        return Outcome(None)
    several = len({threshold for each in sequences for threshold in each.thresholds})
    test = world.draw(rng, unlabelled) if unlabelled else None
    bound = bound_coverage(max(reached), FIRST.coverage_level(DELTA), rows, several, test)
    return Outcome(max(reached), bound.low)


def summary(world: World, found: list[Outcome]) -> dict[str, float]:
    """Coverage as a share of the oracle's, refusals, and violations of either promise and of one of the two."""
    issued = [(each.threshold, each.low) for each in found if each.threshold is not None]
    broken = [world.risk(threshold) > RISK for threshold, _ in issued]
    short = [world.coverage(threshold) < low for threshold, low in issued]
    return {
        "coverage": sum(world.coverage(threshold) for threshold, _ in issued) / len(found) / world.oracle,
        "refused": 1 - len(issued) / len(found),
        "violations": sum(broken) / len(found),
        "bound violations": sum(short) / len(found),
        "either": sum(one or other for one, other in zip(broken, short, strict=True)) / len(found),
        "bound": float(np.mean([low for _, low in issued])) / world.oracle if issued else 0.0,
    }


def redraws(world: World, m: int, level: float, times: int, rule: Rule = starts) -> dict[str, float]:
    rng = np.random.default_rng(m)
    return summary(world, [certify(world, rng, m, level, rule) for _ in range(times)])


def few_labels(world: World, times: int) -> Iterator[dict[str, Any]]:
    """By the number of certify labels: coverage as a share of the oracle's, refusals, violations."""
    for m in (300, 400, 500, 600, 700, 800, 1000, 1500, 3000):
        for name, level in LEVELS.items():
            yield {"m": m, "level": name, **redraws(world, m, level, times)}


def dirty_tops(world: World, times: int) -> Iterator[dict[str, Any]]:
    """Where some of the surest answers are wrong: the rule of starts before, half of the labels, and now."""
    worlds = {
        "shipped": world,
        "5 % of the surest 1 %": dirty(world, 0.05, 0.01),
        "10 % of the surest 1 %": dirty(world, 0.1, 0.01),
        "3 % of the surest 3 %": dirty(world, 0.03, 0.03),
        "2 % of the surest 10 %": dirty(world, 0.02, 0.1),
        "0.8 % of the surest 80 %": dirty(world, 0.008, 0.8),
    }
    for m in (500, 600, 700, 800, 1000):
        for name, each in worlds.items():
            found = {
                key: redraws(each, m, LEVELS["joint, first look"], times, rule)
                for key, rule in (("before", before), ("half", half), ("now", starts))
            }
            yield {
                "m": m,
                "world": name,
                **{f"{key} {what}": found[key][what] for key in found for what in ("coverage", "refused")},
                "violations": found["now"]["violations"],
            }


def other_starts(world: World, times: int) -> Iterator[dict[str, Any]]:
    """What one start at other numbers of answers, or two that share the level, would give: shipped and a flat world."""
    worlds, level = {"shipped": world, "flat": dirty(world, 0.008, 0.8)}, LEVELS["joint, first look"]
    first = power_start(RISK, level)
    for m in (600, 700):
        low = starts(m, RISK, level)[0].coverage
        rules = {f"{count} answers": (Start(count / m, level),) for count in (340, 380, 410, 430, 450, first)}
        rules |= {
            f"now at {part:g} of the level, {first} at the rest": (
                Start(low, part * level),
                Start(first / m, level - part * level),
            )
            for part in (0.3, 0.5, 0.7)
        }
        for name, rule in {"now": starts(m, RISK, level), **rules}.items():
            line: dict[str, Any] = {"m": m, "start": name}
            for title, each in worlds.items():
                found = redraws(each, m, level, times, lambda *_, rule=rule: rule)
                line |= {f"{title} {what}": found[what] for what in ("coverage", "refused", "violations")}
            yield line


def repeated_looks(times: int, truth: float = 0.0205) -> Iterator[dict[str, Any]]:
    """Labels added after every refusal, a true risk of 2.05 % at every threshold: issued by look k, in error."""
    world, rng = World(np.full(10_000, truth)), np.random.default_rng(0)
    spending: Mapping[str, Callable[[int], float]] = {
        "without": lambda _: DELTA,
        "with": lambda number: Look(number).risk_level(DELTA),
    }
    first = {name: np.full(times, np.inf) for name in spending}
    for redraw in range(times):
        tune, every = world.draw(rng, 1000), world.draw(rng, 5000)
        grid = ThresholdGrid.of(tune.scores)
        for name, level in spending.items():
            for number in range(10, 0, -1):
                rows = Calibration(every.scores[: 500 * number], every.wrong[: 500 * number])
                begun = starts(len(rows), RISK, level(number))
                if any(climb(sequence_from(grid, start), rows) is not None for start in begun):
                    first[name][redraw] = number
    for looks in (1, 2, 3, 6, 10):
        yield {"looks": looks, **{name: float(np.mean(found <= looks)) for name, found in first.items()}}


def agreement(world: World, times: int) -> int:
    """How many redraws end elsewhere than the library's own climb, which must be none."""
    rng, differing = np.random.default_rng(1), 0
    for _ in range(times):
        tune, rows = world.draw(rng, 400), world.draw(rng, 1000)
        for start in starts(1000, RISK, LEVELS["joint, first look"]):
            sequence = sequence_from(ThresholdGrid.of(tune.scores), start)
            passed, _ = fixed_sequence(sequence, rows, RISK)
            differing += (None if passed is None else passed.threshold) != climb(sequence, rows)
    return differing


def show(title: str, rows: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    """Print a table as Markdown, and keep it."""
    found = list(rows)
    print(f"\n### {title}\n\n| {' | '.join(found[0])} |\n|{' --- |' * len(found[0])}")
    for row in found:
        print(f"| {' | '.join(f'{value:.3f}' if isinstance(value, float) else str(value) for value in row.values())} |")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a twentieth of the redraws, within a minute on one core")
    times = 100 if parser.parse_args().quick else 2000
    torch.set_num_threads(1)
    world = shipped()
    tables = {
        "few_labels": show(f"Few labels, r = {RISK:g}, oracle {world.oracle:.3f}", few_labels(world, times)),
        "dirty_tops": show("Dirty tops", dirty_tops(world, times)),
        "other_starts": show("Other starts", other_starts(world, times)),
        "repeated_looks": show("Repeated looks", repeated_looks(times)),
    }
    print(json.dumps({"redraws": times, "differing": agreement(world, 20), **tables}))


if __name__ == "__main__":
    main()
