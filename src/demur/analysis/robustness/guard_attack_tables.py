"""The guard under attack: what is given and wrong, by attacker, size, signal and class, and what is withheld."""

from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl

from demur.analysis.attack_knowledge import GuardKnowledge, guard_knowledge
from demur.analysis.quantity import Quantity, Table
from demur.analysis.robustness.accepted_distances import accepted_wrong_distances, accepted_wrong_found, wrong_distances
from demur.analysis.robustness.censored_quantiles import CensoredQuantile, censored_quantile
from demur.analysis.robustness.guarded_rows import UNAWARE, GuardedRows, guarded_rows
from demur.analysis.robustness.least_distances import edge
from demur.analysis.row_means import values
from demur.analysis.run_folder import Flags, Run, score, share
from demur.metrics.delong import auroc_interval
from demur.metrics.estimate import Estimate
from demur.metrics.jackknife import mean_interval
from demur.metrics.ranking_intervals import ranking_intervals
from demur.records import groups, wrong


class GuardSize(Table):
    """One size: shares of the same images.

    `found` is accepted and wrong at some point that any attack found, those who know the guard among them; `unaware`
    the same by the two who do not. `model_wrong` is wrong at some point, which is all that matters without a guard.
    `robust` is right and given as it is, with no wrong answer found that is given.
    """

    eps: float
    found: Quantity
    unaware: Quantity
    model_wrong: Quantity
    robust: Quantity


class GuardAttacker(Table):
    """One attacker at one size: `wrong` and `found` (accepted and wrong) of all images, `accepted` of the wrong ones.

    `passes` are forwards and backwards for an image, those included that the points it began with took.
    """

    eps: float
    attacker: str
    knowledge: GuardKnowledge
    wrong: Quantity
    accepted: Quantity
    found: Quantity
    passes: Quantity


class GuardDetection(Table):
    """What one signal of the guard makes of the points of one attacker: AUROC of those that were right and are wrong.

    The `negatives` are the images as they were; of both those count that have a score. It stands for no attacker but
    the one who knows as much.
    """

    eps: float
    attacker: str
    knowledge: GuardKnowledge
    signal: str
    positives: int
    negatives: int
    auroc: Quantity


class SignalAlone(Table):
    """Accepted and wrong at some point that was found, were the guard this one signal with its bound; at least that."""

    eps: float
    signal: str
    found: Quantity


class ForcedAbstention(Table):
    """Within `alpha` of a size: how many images are withheld, and how many stay right and given.

    `withheld` counts images withheld as they are, and right ones that are withheld at some point so near; `robust` is
    right and given as it is, withheld nowhere so near, and with no wrong answer given anywhere in the whole ball.
    """

    eps: float
    alpha: float
    withheld: Quantity
    robust: Quantity


class ConfidenceAttack(Table):
    """A signal as it is and where answers stay and scores mislead: the area under its risk-coverage curve.

    Both are of the images that have a score at both.
    """

    eps: float
    signal: str
    clean: Quantity
    attacked: Quantity


class GuardedClass(Table):
    """One class at the size of the headline.

    `distance` is the median change up to which no wrong answer was found that is given.
    """

    name: str
    n: int
    found: Quantity
    abstention: Quantity
    distance: CensoredQuantile


class GuardAttack(Table):
    """The guard under attack on so many `images`, or the `reason` why it was not attacked.

    `eps` is the size of the headline, at which `found` was accepted and wrong by any attack, in L∞. `abstention` is of
    the images as they are.
    """

    policy: str
    images: int
    reason: str | None
    signals: tuple[str, ...] = ()
    eps: float | None = None
    found: Quantity | None = None
    abstention: Quantity | None = None
    sizes: tuple[GuardSize, ...] = ()
    attackers: tuple[GuardAttacker, ...] = ()
    detections: tuple[GuardDetection, ...] = ()
    alone: tuple[SignalAlone, ...] = ()
    forced: tuple[ForcedAbstention, ...] = ()
    confidence: tuple[ConfidenceAttack, ...] = ()
    per_class: tuple[GuardedClass, ...] = ()
    classes_left_out: int = 0


def guard_attack(run: Run, reported: float | None) -> GuardAttack | None:
    """What attackers of the guard found; None where the plan asked for none or nothing was certified.

    Args:
        run: the run.
        reported: the size at which other attacks are told, which the headline is about where the guard was attacked
            there; else it is about the largest.
    """
    facts = run.optional_facts("guard_attack")
    if facts is None or run.guard is None:
        return None
    sizes = guarded_rows(run)
    if not sizes:
        return GuardAttack(policy=facts["policy"], images=0, reason=facts["reason"])
    same = [each for each in sizes if reported is not None and abs(each.eps - reported) <= edge(reported) - reported]
    first = same[0] if same else max(sizes, key=lambda each: each.eps)
    return GuardAttack(
        policy=facts["policy"],
        images=len(first.clean),
        reason=None,
        signals=run.guard.signals,
        eps=first.eps,
        found=share(accepted_wrong_found(run, first.clean, first.eps), first.clean),
        abstention=share(~run.accepts(run.guard, first.clean), first.clean),
        sizes=tuple(_size(run, each) for each in sizes),
        attackers=tuple(row for each in sizes for row in _attackers(run, each)),
        detections=tuple(row for each in sizes for row in detections(run, each)),
        alone=tuple(row for each in sizes for row in _alone(run, each)),
        forced=tuple(row for each in sizes for row in _forced(run, each)),
        confidence=tuple(row for each in sizes for row in _confidence(run, each)),
        per_class=tuple(_classes(run, first)),
    )


def stands(run: Run, found: GuardedRows) -> Flags:
    """Images that are right and given as they are, and of which no wrong answer was found that is given."""
    assert run.guard is not None
    answered = run.accepts(run.guard, found.clean) & ~wrong(found.clean)
    return answered & ~accepted_wrong_found(run, found.clean, found.eps)


def reached(run: Run, points: pl.DataFrame) -> Flags:
    """Points at which the answer is wrong and given."""
    assert run.guard is not None
    return run.accepts(run.guard, points) & wrong(points)


def _size(run: Run, found: GuardedRows) -> GuardSize:
    unaware = np.logical_or.reduce([reached(run, found.attackers[name]) for name in UNAWARE])
    return GuardSize(
        eps=found.eps,
        found=share(accepted_wrong_found(run, found.clean, found.eps), found.clean),
        unaware=share(unaware | reached(run, found.clean), found.clean),
        model_wrong=share(wrong_distances(run, found.clean) <= edge(found.eps), found.clean),
        robust=share(stands(run, found), found.clean),
    )


def _attackers(run: Run, found: GuardedRows) -> Iterator[GuardAttacker]:
    for name, points in found.attackers.items():
        failed = points.filter(pl.Series(wrong(points), dtype=pl.Boolean))
        spent = values(points, "forwards") + values(points, "backwards")
        yield GuardAttacker(
            eps=found.eps,
            attacker=name,
            knowledge=guard_knowledge(name),
            wrong=share(wrong(points), points),
            accepted=share(reached(run, failed), failed),
            found=share(reached(run, points), points),
            passes=Quantity.of(mean_interval(spent, groups(points))),
        )


def detections(run: Run, found: GuardedRows) -> Iterator[GuardDetection]:
    """AUROC of each signal of the guard against each attacker of one size."""
    assert run.guard is not None
    right = ~wrong(found.clean)
    for name, points in found.attackers.items():
        flipped = points.filter(pl.Series(right & wrong(points), dtype=pl.Boolean))
        for signal in run.guard.signals:
            yield _detection(found, name, signal, flipped)


def _detection(found: GuardedRows, attacker: str, signal: str, flipped: pl.DataFrame) -> GuardDetection:
    kinds = [each.select(_UNIT, f"signal.{signal}").filter(_scored(each, signal)) for each in (flipped, found.clean)]
    rows, positives = pl.concat(kinds), len(kinds[0])
    units = rows["sample_id"].to_numpy() if groups(rows) is None else groups(rows)
    quantity = Quantity.of(auroc_interval(score(rows, signal), np.arange(len(rows)) < positives, units))
    return GuardDetection(
        eps=found.eps,
        attacker=attacker,
        knowledge=guard_knowledge(attacker),
        signal=signal,
        positives=positives,
        negatives=len(rows) - positives,
        auroc=quantity if groups(rows) is not None else quantity.model_copy(update={"unit": "image"}),
    )


def _scored(rows: pl.DataFrame, signal: str) -> pl.Series:
    """Rows of which a signal has a score, an infinite one or not."""
    return pl.Series(~np.isnan(score(rows, signal)), dtype=pl.Boolean)


_UNIT = pl.col(r"^(sample_id|group)$")


def _alone(run: Run, found: GuardedRows) -> Iterator[SignalAlone]:
    """Nothing where the guard has one signal."""
    bounds: Mapping[str, float] = getattr(run.guard, "bounds", {})
    for signal, bound in bounds.items() if len(bounds) > 1 else ():
        tables = (found.clean, *found.attackers.values())
        given = np.logical_or.reduce([(score(rows, signal) <= bound) & wrong(rows) for rows in tables])
        yield SignalAlone(eps=found.eps, signal=signal, found=share(given, found.clean))


def _forced(run: Run, found: GuardedRows) -> Iterator[ForcedAbstention]:
    assert run.guard is not None
    accepted, robust = run.accepts(run.guard, found.clean), stands(run, found)
    nowhere = np.zeros(len(found.clean), np.bool_)
    for alpha, withheld in {0.0: nowhere, **found.withheld}.items():
        yield ForcedAbstention(
            eps=found.eps,
            alpha=alpha,
            withheld=share(~accepted | withheld, found.clean),
            robust=share(robust & ~withheld, found.clean),
        )


def _confidence(run: Run, found: GuardedRows) -> Iterator[ConfidenceAttack]:
    assert run.guard is not None
    for signal in run.guard.signals:
        both = _scored(found.clean, signal) & _scored(found.confidence, signal)
        areas = [_aurc(rows.filter(both), signal) for rows in (found.clean, found.confidence)]
        clean, attacked = map(Quantity.of, areas)
        yield ConfidenceAttack(eps=found.eps, signal=signal, clean=clean, attacked=attacked)


def _aurc(rows: pl.DataFrame, signal: str) -> Estimate:
    if not len(rows):
        return Estimate.undefined("no image has a score both as it is and under attack")
    return ranking_intervals(("aurc",), score(rows, signal), wrong(rows), groups(rows))["aurc"]


def _classes(run: Run, found: GuardedRows) -> Iterator[GuardedClass]:
    assert run.guard is not None
    distances = accepted_wrong_distances(run, found.clean)
    accepted, labels = run.accepts(run.guard, found.clean), found.clean["label"].to_numpy()
    least = np.where(distances <= edge(found.eps), distances, np.inf)
    for label, name in enumerate(run.classes):
        own = labels == label
        rows = found.clean.filter(pl.Series(own, dtype=pl.Boolean))
        yield GuardedClass(
            name=name,
            n=len(rows),
            found=share(distances[own] <= edge(found.eps), rows),
            abstention=share(~accepted[own], rows),
            distance=censored_quantile(least[own], groups(rows), found.eps),
        )
