"""Adversarial results of the first screen: the median minimal perturbation, and the guard under attack."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

import polars as pl

from demur.analysis.attack_knowledge import Knowledge, knowledge_of
from demur.analysis.quantity import Quantity, Table
from demur.analysis.robustness.attack_tables import display_name, median_perturbation, stage_names
from demur.analysis.robustness.guarded_rows import guarded_rows
from demur.analysis.robustness.least_distances import attack_searches, edge, least_distances
from demur.analysis.row_design import alike, design_of
from demur.analysis.run_folder import Floats, Run, share
from demur.metrics.estimate import Estimate
from demur.records import PASSES, groups, wrong


class Manipulation(Table):
    """Deliberate manipulation on one screen: null where no attack ran.

    `eps` and `robust_accuracy` are null where no attack has a stated size, `wrong_answers` where none of that size
    keeps its worst point.
    """

    norm: str
    median_distance: Quantity
    eps: float | None
    attacked_samples: int
    wrong_answers: int | None
    robust_accuracy: Quantity | None
    sentence: str


def manipulation(run: Run) -> Manipulation | None:
    """The attacks on one screen, at the size of the attack that keeps its worst point; None where none was run.

    Sizes are those of L∞, or of L2 where no attack of the plan measures itself in L∞.
    """
    attacks = run.conditions("attack")
    if not attacks:
        return None
    norm = _norm(attacks)
    bounded = [entry for entry in attacks if entry["severity"] > 0 and entry["norm"] == norm]
    worst = [entry for entry in bounded if entry["keep"] == "worst"]
    bounded = worst or bounded
    eps = bounded[0]["severity"] if bounded else None
    rows = run.drawn((bounded or attacks)[0]["name"])
    counted = alike(rows)
    distances = least_distances(run, norm, rows)
    searches = dict(found for entry in attacks for found in searches_of(run, entry))
    return Manipulation(
        norm=norm,
        median_distance=Quantity.of(_median_distance(run, norm, distances, rows)),
        eps=eps,
        attacked_samples=len(counted),
        wrong_answers=int((run.accepts(run.guard, counted) & wrong(counted)).sum()) if run.guard and worst else None,
        robust_accuracy=None if eps is None else share(distances > edge(eps), rows),
        sentence=_knowledge(run, searches, len(counted), len(rows) - len(counted)) + _unfollowed(run),
    )


def _knowledge(run: Run, searches: Mapping[str, Knowledge], images: int, more: int) -> str:
    """What each attacker knew, and of how many images; those who were aimed at the guard have a table of their own."""
    guarded = "only the attackers of the guard knew it" if guarded_rows(run) else "none knew the guard"
    knew = [
        f"{_listed(names)} {what}"
        for what in get_args(Knowledge)
        if (names := sorted(name for name, own in searches.items() if own == what))
    ]
    lead = f"{', '.join(knew)}; {guarded}" if knew else "No attack made a pass"
    if knew and "knew the whole model" not in searches.values():
        lead += "; what one who has the model would find is not known"
    rare = f", and {more:,} more of rare strata, each weighted for what it stands for" if more else ""
    return f"{lead}. {images:,} test images, chosen by hash{rare}; a stronger search can only find more."


def _unfollowed(run: Run) -> str:
    """What no attack could follow; nothing where the model has gradients."""
    fault = run.facts.get("gradient_fault")
    return (
        f" The answers have {fault.partition('. ')[0]}: what an attacker with gradients finds is not known."
        if fault
        else ""
    )


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _norm(attacks: Sequence[Mapping[str, Any]]) -> str:
    return "l2" if {"linf", "l2"} & {entry["norm"] for entry in attacks} == {"l2"} else "linf"


def searches_of(run: Run, entry: Mapping[str, Any]) -> Iterator[tuple[str, Knowledge]]:
    """The attacks of a condition that made a pass, an ensemble's one by one, and what each knew."""
    rows, facts = run.rows(entry["name"]), entry["attack"] or {}
    stages = {stage["name"]: stage for stage in facts.get("stages", ())}
    for stage in stage_names(rows):
        if rows[f"{PASSES}{stage}"].sum():
            yield display_name(stage), knowledge_of(stages.get(stage, {}))
    if not stage_names(rows) and (rows["forwards"].sum() or rows["backwards"].sum()):
        yield display_name(entry["family"]), knowledge_of(facts)


def _median_distance(run: Run, norm: str, distances: Floats, rows: pl.DataFrame) -> Estimate:
    """Images that are wrong already need no change; those that nothing flipped lie above every cap."""
    search = next((entry for entry in attack_searches(run) if entry["norm"] == norm), None)
    if search is None:
        return Estimate.undefined("the plan has no attack that looks for the minimal perturbation")
    return median_perturbation(distances, groups(rows), design_of(rows))
