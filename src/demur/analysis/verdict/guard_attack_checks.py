"""Alarms about the attack on the guard: signs that it was too weak, so that the guard only looks safe."""

from collections.abc import Iterator, Sequence

import numpy as np
import polars as pl

from demur.analysis.robustness.accepted_distances import wrong_distances
from demur.analysis.robustness.guard_attack_tables import detections, reached, stands
from demur.analysis.robustness.guarded_rows import UNAWARE, GuardedRows, guarded_rows
from demur.analysis.robustness.least_distances import edge
from demur.analysis.row_means import values
from demur.analysis.run_folder import Run, score, share
from demur.analysis.verdict.verdict_tables import Check, State, sure_level
from demur.metrics.rank_correlation import rank_correlation
from demur.records import wrong

_FALL = 0.1
"""By how much AUROC may fall from an attacker who does not know the guard to one who does."""

_ALIKE = 0.5
"""The rank correlation of a score and its surrogate below which attackers are led elsewhere."""


def guard_attack_checks(run: Run) -> Iterator[Check]:
    """What the points of attackers say of the attack; nothing where no guard was attacked."""
    sizes = guarded_rows(run)
    if not sizes or not len(sizes[0].clean):
        return
    yield _never_weaker(run, sizes)
    yield _guesses(run, sizes)
    yield _slopes(run, sizes)
    yield _surrogates(run, sizes)
    yield _falls(run, sizes)
    yield from (_plausible(run, each) for each in sizes)


def _check(name: str, state: State, sentence: str, count: int, of: int) -> Check:
    return Check(name=name, state=state, sentence=sentence, count=count, of=of, bears_on="the guard under attack")


def _never_weaker(run: Run, sizes: Sequence[GuardedRows]) -> Check:
    """Who knows more may use what the others found."""
    missed = [
        np.logical_or.reduce([reached(run, each.attackers[name]) for name in UNAWARE])
        & ~reached(run, each.attackers["joint"])
        for each in sizes
    ]
    count, of = sum(int(flags.sum()) for flags in missed), sum(map(len, missed))
    sentence = (
        "Images of which attackers who do not know the guard got a wrong answer past it, and one who does did not"
    )
    return _check("the joint attack is never weaker", "fail" if count else "pass", sentence, count, of)


def _guesses(run: Run, sizes: Sequence[GuardedRows]) -> Check:
    pairs = [[reached(run, each.attackers[name]) for name in ("score_free", "joint")] for each in sizes]
    count, of = sum(int((free & ~joint).sum()) for free, joint in pairs), sum(len(free) for free, _ in pairs)
    sentence = "Images of which only the attacker who sees answers and scores alone got a wrong answer past the guard"
    return _check("gradients beat guessing at the guard", sure_level(count, of, 0.02, 1.0), sentence, count, of)


def _slopes(run: Run, sizes: Sequence[GuardedRows]) -> Check:
    """Of points that are wrong and withheld: scores are climbed there alone, and what is right is held by the model."""
    assert run.guard is not None
    count = of = 0
    for each in sizes:
        points = each.attackers["joint"]
        left = points.filter(pl.Series(wrong(points) & ~run.accepts(run.guard, points), dtype=pl.Boolean))
        count, of = count + int(left["zero_score_gradient"].sum()), of + len(left)
    sentence = "Wrong answers that the guard withholds where the gradient of a score is zero everywhere"
    return _check("scores have a gradient", sure_level(count, of, 0.01, 0.5), sentence, count, of)


def _surrogates(run: Run, sizes: Sequence[GuardedRows]) -> Check:
    """Of all points of one size, so that there are low scores among them and high ones."""
    assert run.guard is not None
    odd, of = list[str](), 0
    for each in sizes:
        for signal in run.guard.signals:
            points = pl.concat(list(each.attackers.values()), how="diagonal")
            scores, gaps = score(points, signal), values(points, f"gap.{signal}")
            defined = np.isfinite(scores) & np.isfinite(gaps)
            alike = float(rank_correlation(scores[defined], (scores + gaps)[defined]))
            of += 1
            odd += [signal] if alike < _ALIKE else []
    named = f" ({', '.join(dict.fromkeys(odd))})" if odd else ""
    sentence = f"Scores whose surrogate, which gradients are taken of, puts points in another order{named}"
    return _check("surrogates follow their scores", "warn" if odd else "pass", sentence, len(odd), of)


def _falls(run: Run, sizes: Sequence[GuardedRows]) -> Check:
    """The figure of the attacker who does not know the guard flatters by so much that it must not be told alone."""
    found, of = list[str](), 0
    for each in sizes:
        areas = {(row.attacker, row.signal): row.auroc.value for row in detections(run, each)}
        for signal in dict.fromkeys(signal for _, signal in areas):
            before, after = (areas[name, signal] for name in ("minimal", "joint"))
            of += 1
            found += [f"{signal} from {before:.2f} to {after:.2f}"] if before - after > _FALL else []
    told = f": {', '.join(found)}" if found else ""
    sentence = f"AUROC that falls by more than .1 from the least change to an attacker who knows the guard{told}"
    return _check("detection holds when the guard is known", "warn" if found else "pass", sentence, len(found), of)


def _plausible(run: Run, found: GuardedRows) -> Check:
    """A guard that held at a size would give a classifier, if a slow one, that is as robust at half of it.

    Tramèr (2022), "Detecting adversarial examples is (nearly) as hard as classifying them", arXiv:2107.11630.
    """
    half = wrong_distances(run, found.clean) > edge(found.eps / 2)
    ours, theirs = share(stands(run, found), found.clean), share(half, found.clean)
    sentence = (
        f"Images right, given and not broken at {found.eps:.3g}, more than stand at half of it without the guard: "
        f"{ours.value:.0%} against {theirs.value:.0%}; if so, the guard is a better classifier, or the attack too weak"
    )
    more = max(0, int(stands(run, found).sum()) - int(half.sum()))
    return _check(
        "detection claims no more than robustness",
        "warn" if ours.low > theirs.high else "pass",
        sentence,
        more,
        len(half),
    )
