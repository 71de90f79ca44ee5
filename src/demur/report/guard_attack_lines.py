"""The guard under attack in words: who attacked it, what they knew, and what got past it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from demur.analysis.quantity import Quantity
from demur.analysis.results import Results
from demur.analysis.robustness.guard_attack_tables import GuardAttack, GuardAttacker, GuardDetection, SignalAlone
from demur.report.phrases import count, percent, spread_words

ATTACKERS: Mapping[str, str] = {
    "minimal": "least change to a wrong answer",
    "confident": "most confident wrong answer",
    "joint": "joint: a wrong answer, and scores within their bounds",
    "score_free": "guessing: the same by random squares, without gradients",
}
"""What each attacker is after."""

AWARE = "by an attacker who knows the guard"


@dataclass(frozen=True, kw_only=True)
class AttackerLine:
    """One attacker at one size, with what each signal of the guard makes of its points."""

    name: str
    row: GuardAttacker
    detections: tuple[GuardDetection, ...]


def attacker_lines(found: GuardAttack, eps: float) -> Iterator[AttackerLine]:
    """The attackers of one size in the order of what they know."""
    for row in found.attackers:
        if row.eps == eps:
            own = tuple(each for each in found.detections if (each.eps, each.attacker) == (eps, row.attacker))
            yield AttackerLine(name=ATTACKERS.get(row.attacker, row.attacker), row=row, detections=own)


def guard_parts_lines(found: GuardAttack, eps: float) -> Iterator[tuple[str, Quantity]]:
    """What is wrong without the guard, and what of it the guard lets through, against whoever attacks."""
    size = next(row for row in found.sizes if row.eps == eps)
    yield "The model alone: wrong", size.model_wrong
    yield "The guard, against attackers who do not know it: accepted and wrong", size.unaware
    for row in found.alone:
        if row.eps == eps:
            yield _alone(row), row.found
    yield "Both, against all attackers: accepted and wrong", size.found


def _alone(row: SignalAlone) -> str:
    return f"{row.signal} alone, of the points found: accepted and wrong"


def accepted_wrong_words(found: GuardAttack) -> str | None:
    """What was found accepted and wrong, and who found it; None where the guard was not attacked."""
    if found.found is None:
        return None
    between = spread_words(found.found, share=True)
    share = f"{_whole(found.found.value)}{f' ({between})' if between else ''}"
    return f"accepted and wrong: found {share} {AWARE}"


def guard_attack_sentence(results: Results) -> str | None:
    """The headline of the guard under attack; None where there is none that may be used."""
    found = _usable(results)
    if found is None or found.found is None or found.eps is None:
        return None
    lead = f"Of {count(found.images)} images changed by up to ±{_whole(found.eps)} per pixel"
    return f"{lead}, {accepted_wrong_words(found)}."


def _usable(results: Results) -> GuardAttack | None:
    """What was found of a guarantee that stands."""
    return None if results.guarantee is None or results.void("the guard under attack") else results.guard_attack


def _whole(value: float) -> str:
    return percent(value).replace(".0 %", " %")
