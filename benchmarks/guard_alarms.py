"""What the alarms of a guard find, what they miss, how soon, and how often they are wrong.

    python benchmarks/guard_alarms.py [--quick] [--images N] [--streams N]

A guard of the shipped model is fitted on the bundled images at a risk of 2 %, and every corruption at every severity is
put before it on its untouched test images: which share goes to a person, which share of the answers is wrong. Streams
are drawn from these decisions, 1,000 clean images and then the corrupted ones, 100 of the answers labelled before the
change: in how many streams the workload alarm is raised within 5,000 images and the harm alarm within 1,500 labels,
and after how many in half of them.

Then figures that need no model. False alarms: the reference of 4,000 images is drawn anew for every stream, and the
stream lies on the boundary of the null, 100,000 images long; also where neighbours are alike, with sequences as units
and, to show what that is for, with images. Streams are followed against their own true null, whose product bounds the
evidence from above; those that reach the threshold there are followed again with the alarm itself. Delays: of the
changes that the alarms are to find.
"""

import argparse
import contextlib
import json
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch

import demur
from demur.alarms import Reference, reference_of
from demur.alarms.betting_process import Wealth
from demur.alarms.detectable_rise import chance_at_most, detection, share_beyond, smallest_share
from demur.alarms.workload_test import WorkloadTest
from demur.guard import Guard
from demur.metrics.binomial import clopper_pearson
from demur.policies.policy import Floats
from demur.randomness import Keys
from demur.records import read
from demur.registry import names, resolve

ALPHA, TOLERANCE, RISK = 0.01, 0.03, 0.02
THRESHOLD = 1 / ALPHA
QUIET, QUIET_LABELS, IMAGES, LABELS = 1000, 100, 5000, 1500


def fitted(folder: Path) -> tuple[Guard, Reference, set[str]]:
    """A guard of the shipped model, its reference, and the ids of images that had no part in it."""
    plan = {
        "conditions.use": ["clean"],
        "signals.use": ["msp"],
        "policies.use": [f"certified(risk={RISK})"],
        "proof.images": 0,
        "guard_attack.images": 0,
    }
    with contextlib.chdir(folder):
        guard = demur.fit_guard("fashion", "fashion", out=folder / "guard", plan=plan)
        (run,) = (path.parent for path in (folder / "runs").glob("*/run.json"))
    clean = read(run, "clean")
    test = clean.filter(clean["split"] == "test")["sample_id"].to_list()
    return guard, reference_of(folder / "guard"), set(test)


def decided(guard: Guard, x: torch.Tensor, y: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Whether each image is answered, and whether the answer is wrong."""
    parts = [guard(part) for part in torch.split(x, 256)]
    accepted = np.concatenate([part.accepted for part in parts])
    return accepted, np.concatenate([part.predicted for part in parts]) != y.numpy()


def parallel(reference: Reference, streams: int) -> WorkloadTest:
    return WorkloadTest.of(reference.images, np.full(streams, reference.abstained), reference.several, TOLERANCE)


def workload_delays(
    reference: Reference, before: float, after: float, quiet: int, streams: int, longest: int
) -> Floats:
    """When each stream's workload alarm is raised, counted from the change; infinite where it is not."""
    draw, test = np.random.default_rng(0), parallel(reference, streams)
    found = np.full(streams, np.inf)
    for t in range(quiet + longest):
        test = test.after((draw.random(streams) < (before if t < quiet else after)).astype(float))
        found[(test.evidence >= THRESHOLD) & np.isinf(found)] = t + 1 - quiet
        if np.isfinite(found).all():
            break
    return found


def harm_delays(before: float, after: float, quiet: int, streams: int, longest: int) -> Floats:
    """When each stream's harm alarm is raised, in labels from the change; infinite where it is not."""
    draw, wealth = np.random.default_rng(1), Wealth.start(np.full((streams, 1), RISK))
    found = np.full(streams, np.inf)
    for t in range(quiet + longest):
        wealth = wealth.after((draw.random(streams) < (before if t < quiet else after)).astype(float))
        found[(wealth.total[:, 0] >= THRESHOLD) & np.isinf(found)] = t + 1 - quiet
        if np.isfinite(found).all():
            break
    return found


def median(found: Floats) -> int | None:
    middle = float(np.median(found[found > 0])) if (found > 0).any() else np.inf
    return int(middle) if np.isfinite(middle) else None


def conditions(severities: Sequence[int]) -> Iterator[tuple[str, int | None]]:
    yield "clean", None
    for name in sorted(names("corruption")):
        yield from ((name, severity) for severity in severities)


def table(guard: Guard, reference: Reference, data: tuple, severities: Sequence[int], streams: int) -> list[dict]:
    """A row for each corruption and severity."""
    x, y, ids = data
    clean_accepted, clean_wrong = decided(guard, x, y)
    clean = float(1 - clean_accepted.mean()), float(clean_wrong[clean_accepted].mean())
    rows = []
    for name, severity in conditions(severities):
        image = x if severity is None else resolve("corruption", name)(severity=severity)(x, Keys.of(0, ids, name))
        accepted, wrong = decided(guard, image, y)
        answers, errors = int(accepted.sum()), int(wrong[accepted].sum())
        rows.append(row(reference, clean, (name, severity), (float(1 - accepted.mean()), answers, errors), streams))
        print(line(rows[-1]), flush=True)
    return rows


def row(reference: Reference, clean: tuple, condition: tuple, counts: tuple, streams: int) -> dict:
    abstained, answers, errors = counts
    risk = clopper_pearson(errors, answers)
    work = workload_delays(reference, clean[0], abstained, QUIET, streams, IMAGES)
    harm = harm_delays(clean[1], risk.value, QUIET_LABELS, streams, LABELS) if answers else np.full(streams, np.inf)
    return {
        "condition": condition[0],
        "severity": condition[1],
        "to_a_person": abstained,
        "answers": answers,
        "risk": risk.value,
        "risk_low": risk.low,
        "risk_high": risk.high,
        "workload_found": float(np.isfinite(work).mean()),
        "workload_median": median(work),
        "harm_found": float(np.isfinite(harm).mean()),
        "harm_median_labels": median(harm),
    }


def line(found: dict) -> str:
    """A row of a table in Markdown."""
    name = found["condition"] if found["severity"] is None else f"{found['condition']} {found['severity']}"
    risk = f"{100 * found['risk']:.1f} ({100 * found['risk_low']:.1f} to {100 * found['risk_high']:.1f})"
    work, harm = (
        f"{100 * found[f'{kind}_found']:.0f} %" + (f", {found[key]:,}" if found[key] else "")
        for kind, key in (("workload", "workload_median"), ("harm", "harm_median_labels"))
    )
    return f"| {name} | {100 * found['to_a_person']:.1f} | {risk} | {work} | {harm} | {verdict(found)} |"


def verdict(found: dict) -> str:
    """What is harm is what is so beyond chance; an alarm counts where half of the streams have it."""
    harmful, harmless = found["risk_low"] > RISK, found["risk_high"] <= RISK
    loud, said = found["workload_found"] >= 0.5, found["harm_found"] >= 0.5
    if harmful:
        return ("harm, found" if said else "**harm, missed**") + ("" if loud else ", workload quiet")
    return ("no harm" if harmless else "undecided") + (", more work" if loud else "")


class Boundary:
    """Streams at the boundary of the null, each with a reference of its own.

    With `alike` images come in sequences of so many; with `unlike` some are of 5 images, half of which go to a person,
    and some of 100, of which fewer do, so that the share of all images is that of the boundary.
    """

    def __init__(
        self, share: float, images: int, streams: int, alike: int | None = None, *, unlike: bool = False
    ) -> None:
        self.share, self.images, self.streams, self.alike, self.unlike = share, images, streams, alike, unlike
        self.abstained = np.random.default_rng(2).binomial(images, share, streams)

    def units(self, length: int, *, sequences: bool) -> Iterator[tuple[Floats, Floats | float]]:
        """The share and weight of each unit; images of one sequence have a chance in common, as unlike as can be."""
        draw, target = np.random.default_rng(3), self.share + TOLERANCE
        if self.unlike:
            yield from self._unlike(length, draw, weighted=sequences)
            return
        if self.alike is None:
            yield from (((draw.random(self.streams) < target).astype(float), 1.0) for _ in range(length))
            return
        for _ in range(length // self.alike):
            common = draw.beta(target, 1 - target, self.streams)
            images = (draw.random((self.alike, self.streams)) < common).astype(float)
            if sequences:
                yield images.mean(axis=0), 1.0
            else:
                yield from ((image, 1.0) for image in images)

    def _unlike(self, length: int, draw: np.random.Generator, *, weighted: bool) -> Iterator[tuple[Floats, Floats]]:
        rest = ((self.share + TOLERANCE) * 24 - 0.8 * 5 * 0.5) / 20
        for _ in range(length // 24):
            short = draw.random(self.streams) < 0.8
            chance = np.where(short, 0.5, rest)
            count = np.where(short, 5, 100)
            shares = draw.binomial(count, draw.beta(chance, 1 - chance)) / count
            yield shares, count / 100 if weighted else np.ones(self.streams)

    def false_alarms(self, length: int, *, sequences: bool) -> int:
        """How many streams raise the alarm, ever."""
        whole = WorkloadTest.of(self.images, self.abstained, 1, TOLERANCE)
        upper = whole.wealth.bets.nulls
        cell = (upper < self.share + TOLERANCE).sum(axis=1)
        rows = np.arange(self.streams)
        one = Wealth.start(upper[rows, cell][:, None])
        factor, suspects = whole.factors[rows, cell], np.zeros(self.streams, bool)
        for share, weight in self.units(length, sequences=sequences):
            one = one.after(share, weight)
            suspects |= factor * one.total[:, 0] >= THRESHOLD
        if not suspects.any():
            return 0
        test, raised = (
            WorkloadTest.of(self.images, self.abstained[suspects], 1, TOLERANCE),
            np.zeros(suspects.sum(), bool),
        )
        for share, weight in self.units(length, sequences=sequences):
            test = test.after(share[suspects], np.broadcast_to(weight, self.streams)[suspects])
            raised |= test.evidence >= THRESHOLD
        return int(raised.sum())


def harm_false_alarms(length: int, streams: int) -> int:
    """How many streams of labels at the risk raise the harm alarm, ever."""
    draw, wealth, raised = np.random.default_rng(4), Wealth.start(np.full((streams, 1), RISK)), np.zeros(streams, bool)
    for _ in range(length):
        wealth = wealth.after((draw.random(streams) < RISK).astype(float))
        raised |= wealth.total[:, 0] >= THRESHOLD
    return int(raised.sum())


def validity(length: int, streams: int) -> dict:
    """False alarms among streams at the boundary."""
    plain, alike = Boundary(0.2, 4000, streams), Boundary(0.2, 4000, streams, 25)
    unlike = Boundary(0.2, 4000, streams, unlike=True)
    return {
        "streams": streams,
        "images": length,
        "workload": plain.false_alarms(length, sequences=False),
        "workload_small_reference": Boundary(0.2, 400, streams).false_alarms(length // 4, sequences=False),
        "sequences_as_units": alike.false_alarms(length, sequences=True),
        "short_sequences_harder_by_images": unlike.false_alarms(length, sequences=True),
        "short_sequences_harder_each_alike": unlike.false_alarms(length, sequences=False),
        "images_of_sequences_as_units": alike.false_alarms(length // 10, sequences=False),
        "harm": harm_false_alarms(length // 2, streams),
    }


def sequence_delays(
    reference: Reference, after: float, lengths: Sequence[int], longest: int, quiet: int, streams: int
) -> Floats:
    """When each stream's workload alarm is raised, in images from a change from 20 in 100; infinite where it is not.

    Sequences have these lengths, each as likely; their images have a chance in common, as unlike as can be.
    """
    draw, test = np.random.default_rng(5), parallel(reference, streams)
    found, seen = np.full(streams, np.inf), np.zeros(streams)
    while np.isinf(found).any() and seen.min() < quiet + 100_000:
        chance = np.where(seen < quiet, 0.2, after)
        count = draw.choice(lengths, streams)
        test = test.after(draw.binomial(count, draw.beta(chance, 1 - chance)) / count, count / longest)
        seen += count
        found[(test.evidence >= THRESHOLD) & np.isinf(found)] = (seen - quiet)[
            (test.evidence >= THRESHOLD) & np.isinf(found)
        ]
    return found


def sequence_harm_delays(after: float, chosen: int, streams: int) -> Floats:
    """When each stream's harm alarm is raised, in sequences of which so many answers are labelled; wrong ones alike."""
    draw, wealth = np.random.default_rng(6), Wealth.start(np.full((streams, 1), RISK))
    found = np.full(streams, np.inf)
    for t in range(4000):
        shares = draw.binomial(chosen, draw.beta(after, 1 - after, streams)) / chosen
        wealth = wealth.after(shares)
        found[(wealth.total[:, 0] >= THRESHOLD) & np.isinf(found)] = t + 1
        if np.isfinite(found).all():
            break
    return found


def delays(reference: Reference, streams: int) -> dict:
    """Medians of the changes that are to be found, and what is said beforehand."""
    like = Reference(**{**vars(reference), "abstained": round(0.2 * reference.images)})
    test = WorkloadTest.of(like.images, like.abstained, 1, TOLERANCE)
    said = {"quiet": 10_000, "before": 0.2, "alpha": ALPHA}
    return {
        "reference_images": like.images,
        "harm_2_to_4_from_the_start_labels": median(harm_delays(0.02, 0.04, 0, 4 * streams, 4000)),
        "harm_2_to_4_after_3000_quiet_labels": median(harm_delays(0.02, 0.04, 3000, 4 * streams, 4000)),
        "harm_2_to_4_a_tenth_missing_questions": median(harm_delays(0.018, 0.036, 0, 4 * streams, 4000)),
        "harm_2_to_4_sequences_of_5_labels": median(sequence_harm_delays(0.04, 5, 4 * streams)),
        "sequences_of_25_20_to_30_images": median(sequence_delays(like, 0.3, (25,), 25, 10_000, streams)),
        "sequences_of_5_to_100_20_to_30_images": median(
            sequence_delays(like, 0.3, (5, 20, 50, 100), 100, 10_000, streams)
        ),
        "sequences_of_25_at_longest_100_20_to_30_images": median(
            sequence_delays(like, 0.3, (25,), 100, 10_000, streams)
        ),
        "workload_20_to_30_after_10000_quiet": median(workload_delays(like, 0.2, 0.3, 10_000, streams, 5000)),
        "workload_20_to_30_said": detection(test, 0.3, **said).images,
        "workload_20_to_25_chance_at_most": chance_at_most(test, 0.25, alpha=ALPHA),
        "smallest_share_within_1500": smallest_share(test, 1500, **said),
        "share_beyond": share_beyond(test, alpha=ALPHA),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="some corruptions at severity 3, fewer and shorter streams"
    )
    parser.add_argument("--images", type=int, help="test images that are corrupted, 2,000 unless quick")
    parser.add_argument("--streams", type=int, help="streams drawn for each figure, 60 unless quick")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    count = options.images or (300 if options.quick else 2000)
    streams = options.streams or (20 if options.quick else 60)
    with tempfile.TemporaryDirectory() as folder:
        guard, reference, test = fitted(Path(folder))
    source = demur.open_data("fashion")
    rows = [row for row in source.read(range(len(source))) if row.sample_id in test][:count]
    data = (
        torch.stack([row.image for row in rows]),
        torch.tensor([row.label for row in rows]),
        [row.sample_id for row in rows],
    )
    print(reference.sentence)
    print("| corruption | to a person, % | wrong among answers, % | workload alarm | harm alarm | |")
    print("|---|---|---|---|---|---|")
    found = table(guard, reference, data, (3,) if options.quick else (1, 2, 3, 4, 5), streams)
    report = {
        "benchmark": "guard_alarms",
        "validity": validity(2000 if options.quick else 100_000, 200 if options.quick else 1000),
        "delays": delays(reference, streams),
        "missed": sum(verdict(each).startswith("**") for each in found),
        "table": found,
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
