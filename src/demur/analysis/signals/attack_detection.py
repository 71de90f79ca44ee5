"""What each signal makes of each attack of the plan, whichever point of it was kept."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

import polars as pl

from demur.analysis.attack_knowledge import Knowledge, knowledge_of
from demur.analysis.quantity import Quantity, Table
from demur.analysis.run_folder import Flags, Run, score, share
from demur.analysis.signals.decision_tables import Rejection
from demur.analysis.signals.ranking_targets import Target, attack_target
from demur.metrics.ranking_intervals import fpr95_interval

Point: TypeAlias = Literal["worst", "first", "nearest", "only"]


class Detection(Table):
    """What one signal makes of one attack.

    `auroc` and `fpr95` are of the `positives`, images that were right and are fooled, against the `negatives`, all
    images of the attack as they were; of fitted signals over test rows. `abstention` and `clean_abstention` are the
    shares of both above the threshold of `Rejection`, over test rows; null where none was set. `blind`: the signal
    abstains on fewer of the fooled than of the clean ones, by intervals that hold for all signals and attacks of the
    run at once.
    """

    signal: str
    positives: int
    negatives: int
    auroc: Quantity
    fpr95: Quantity
    abstention: Quantity | None
    clean_abstention: Quantity | None
    blind: bool


class AttackDetection(Table):
    """Every signal against one attack: which point of an image was kept, and what the attacker knew of the model.

    The first and the nearest success flatter a detector: an attack that stops at the border leaves the model unsure,
    and one that goes on from there makes it surer than it ever was. An attack of one step has one point only.
    """

    condition: str
    point: Point
    flatters: bool
    knowledge: Knowledge
    signals: tuple[Detection, ...]


def attack_detections(run: Run, rejections: Sequence[Rejection]) -> tuple[AttackDetection, ...]:
    """Every attack of the plan in its order, by every signal.

    Args:
        run: the run.
        rejections: the threshold of each signal; empty where there were no rows to set one on.
    """
    attacks = run.conditions("attack")
    thresholds = {row.signal: row.threshold for row in rejections}
    several = max(1, len(attacks) * len(run.signals))
    return tuple(_of_attack(run, entry, thresholds, several) for entry in attacks)


def _of_attack(run: Run, entry: Mapping[str, Any], thresholds: Mapping[str, float], several: int) -> AttackDetection:
    target, point = attack_target(run, "attack", entry["name"]), _point(entry)
    return AttackDetection(
        condition=entry["name"],
        point=point,
        flatters=point in {"first", "nearest"},
        knowledge=_knowledge(entry.get("attack") or {}),
        signals=tuple(
            _of_signal(target, signal, thresholds.get(signal["name"]), several) for signal in run.facts["signals"]
        ),
    )


def _point(entry: Mapping[str, Any]) -> Point:
    """Which point is kept; earlier versions did not say how many steps an attack has."""
    if (entry.get("attack") or {}).get("steps") == 1:
        return "only"
    return "first" if entry["keep"] is None else entry["keep"]


def _knowledge(facts: Mapping[str, Any]) -> Knowledge:
    """What the best informed stage of an attack knew."""
    stages = [knowledge_of(stage) for stage in facts.get("stages", ())]
    return "knew the whole model" if "knew the whole model" in stages else knowledge_of(facts)


def _of_signal(target: Target, entry: Mapping[str, Any], threshold: float | None, several: int) -> Detection:
    name, part = entry["name"], target.held_back if "bank" in entry else target
    positives = int(part.positive.sum())
    counted = part.alike
    above = None if threshold is None else _above(target.held_back, name, threshold)
    return Detection(
        signal=name,
        positives=positives,
        negatives=len(part.rows) - positives,
        auroc=part.quantity(part.rankings[name].area),
        fpr95=part.quantity(fpr95_interval(score(counted.rows, name), counted.positive, counted.units)),
        abstention=None if above is None else share(*above[0]),
        clean_abstention=None if above is None else share(*above[1]),
        blind=above is not None and is_below(*(share(*rows, several) for rows in above)),
    )


def _above(target: Target, name: str, threshold: float) -> tuple[tuple[Flags, pl.DataFrame], ...]:
    """Which of the fooled rows lie above a threshold, and which of the clean ones."""
    kinds = (target.rows.filter(target.positive), target.rows.filter(~target.positive))
    return tuple((score(rows, name) > threshold, rows) for rows in kinds)


def is_below(ours: Quantity, theirs: Quantity) -> bool:
    """Whether a share lies below another, by the intervals of both put together.

    Newcombe (1998), "Interval estimation for the difference between independent proportions"; images in both make the
    true interval narrower. A share of no images is below none.
    """
    reach = math.hypot(ours.high - ours.value, theirs.value - theirs.low)
    return ours.value - theirs.value + reach < 0
