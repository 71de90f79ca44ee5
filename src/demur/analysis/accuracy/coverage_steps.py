"""Where the coverage goes: from all images to those that are answered, and what would move each step."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import polars as pl

from demur.analysis.quantity import Quantity, Table
from demur.analysis.robustness.attack_tables import is_sized
from demur.analysis.run_folder import Flags, Floats, Run, score, share
from demur.metrics import coverage_at_risk
from demur.policies import CertifiedPair, ClassThreshold
from demur.records import wrong

Lever: TypeAlias = Literal["model", "signal", "labels", "camera"]
StepName: TypeAlias = Literal["all", "perfect_order", "signal", "certified"]


class CoverageStep(Table):
    """One step on clean test images: `images` are answered, `lost` fewer than in the step before (negative: more).

    `lever` is what would move the step; null for the first, which answers everything.
    """

    name: StepName
    images: int
    lost: int
    coverage: Quantity
    lever: Lever | None
    sentence: str


class ConditionStep(Table):
    """One condition at the certified threshold, beside the same images as they are.

    Of `n` images `clean` are answered when clean; under the condition `lost` of these are not, `gained` others are, and
    `images` are answered in all: clean − lost + gained.
    """

    condition: str
    kind: Literal["attack", "corruption"]
    sentence: str
    n: int
    clean: int
    lost: int
    gained: int
    images: int
    coverage: Quantity
    lever: Lever


class CoverageLoss(Table):
    """Why so few images are answered at a tolerable `risk`, step by step on `n` clean test images.

    The steps add up: n less everything lost is what is answered. The best of a perfect order and of a signal are read
    off the test labels, so no threshold chosen beforehand can be expected to reach them.
    """

    signal: str
    risk: float
    n: int
    issued: bool
    steps: tuple[CoverageStep, ...]
    conditions: tuple[ConditionStep, ...]


@dataclass(frozen=True)
class _Aim:
    """The share of wrong answers that is tolerable, by which signal, and what holding to it means."""

    risk: float
    signal: str
    weak: bool = False


def coverage_loss(run: Run) -> CoverageLoss | None:
    """Every step; None where no risk was asked for or there is no clean test image."""
    aim, test = _aim(run), run.rows("clean", "test")
    if aim is None or test.is_empty():
        return None
    return CoverageLoss(
        signal=aim.signal,
        risk=aim.risk,
        n=len(test),
        issued=run.guard is not None,
        steps=tuple(_steps(run, aim, test)),
        conditions=() if run.guard is None else tuple(_condition(run, entry) for entry in _others(run)),
    )


def _aim(run: Run) -> _Aim | None:
    """Of the certified policy, or of the one that was refused; none of one about each class, whose share is of all."""
    if isinstance(run.guard, ClassThreshold):
        return None
    if run.guard is not None:
        return _Aim(run.guard.certificate.risk, run.guard.signal)
    entry = next((entry for entry in run.policy_facts if "refusal" in entry), None)
    if entry is None:
        return None
    refusal = entry["refusal"]
    if refusal.get("kind") == "class":
        return None
    return _Aim(refusal["risk"], entry["signal"], weak=refusal["reason"] == "model_too_weak")


def _steps(run: Run, aim: _Aim, test: pl.DataFrame) -> Iterator[CoverageStep]:
    errors, everything = wrong(test), np.ones(len(test), bool)
    answered: Mapping[StepName, Flags] = {
        "perfect_order": _best(_perfect(errors), errors, aim.risk),
        "signal": _best(score(test, aim.signal), errors, aim.risk),
        "certified": ~everything if run.guard is None else run.accepts(run.guard, test),
    }
    yield _step("all", everything, 0, test, None, "All images")
    before = len(test)
    for name, (lever, sentence) in _words(run, aim).items():
        images = int(answered[name].sum())
        yield _step(name, answered[name], before - images, test, lever, sentence)
        before = images


def _step(
    name: StepName, answered: Flags, lost: int, rows: pl.DataFrame, lever: Lever | None, said: str
) -> CoverageStep:
    images, coverage = int(answered.sum()), share(answered, rows)
    return CoverageStep(name=name, images=images, lost=lost, coverage=coverage, lever=lever, sentence=said)


def _words(run: Run, aim: _Aim) -> Mapping[StepName, tuple[Lever, str]]:
    held: Lever = "model" if aim.weak else "labels"
    at = "both certified thresholds" if isinstance(run.guard, CertifiedPair) else "the certified threshold"
    last = f"Answered at {at}" if run.guard is not None else "Answered: nothing could be certified"
    return {
        "perfect_order": ("model", "Were every wrong answer less sure than every right one"),
        "signal": ("signal", f"The most that {aim.signal} could answer, its threshold read off these labels"),
        "certified": (held, last),
    }


def _perfect(errors: Flags) -> Floats:
    """A score that every wrong answer has more of than every right one."""
    order = np.argsort(errors, kind="stable")
    ranks = np.empty(len(errors))
    ranks[order] = np.arange(len(errors))
    return ranks


def _best(uncertainty: Floats, errors: Flags, risk: float) -> Flags:
    """The most that an order answers at a share of wrong answers of at most the risk."""
    most = round(coverage_at_risk(uncertainty, errors, risk=risk) * len(errors))
    return uncertainty <= np.sort(uncertainty)[most - 1] if most else np.zeros(len(errors), bool)


def _others(run: Run) -> list[Mapping[str, Any]]:
    """Every condition but the clean one whose points are of the size that it is named by."""
    return [entry for entry in run.conditions() if entry["kind"] != "clean" and not is_sized(entry)]


def _condition(run: Run, entry: Mapping[str, Any]) -> ConditionStep:
    """The same images, clean and under the condition, at the same threshold."""
    assert run.guard is not None
    rows, clean = run.rows(entry["name"], "test"), run.rows("clean", "test")
    before = dict(zip(clean["sample_id"], run.accepts(run.guard, clean), strict=True))
    first = np.array([before[name] for name in rows["sample_id"]], bool)
    after = run.accepts(run.guard, rows)
    return ConditionStep(
        condition=entry["name"],
        kind=entry["kind"],
        sentence=entry["sentence"],
        n=len(rows),
        clean=int(first.sum()),
        lost=int((first & ~after).sum()),
        gained=int((~first & after).sum()),
        images=int(after.sum()),
        coverage=share(after, rows),
        lever="camera" if entry["kind"] == "corruption" else "model",
    )
