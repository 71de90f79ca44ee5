"""What a comparison says in words and signs, the same on the page and in the terminal."""

import math
from collections.abc import Iterator
from pathlib import PurePath

from demur.analysis.comparison.class_changes import ClassChange, ClassShare
from demur.analysis.comparison.model_costs import Cost
from demur.analysis.comparison.phases import Cell, Difference, Phase
from demur.analysis.paired_runs import Comparison
from demur.analysis.quantity import Quantity, by_chance
from demur.report.phrases import DASH, count, decimal, percent, signed, spread_words

SIGNS = {"better": "▲ better", "worse": "▼ worse", "noise": "≈ noise", "void": "✖ void"}
_OUTCOMES = (("better", "Better"), ("worse", "Worse"), ("noise", "No more than noise"), ("void", "Void"))
TONES = {
    "yes": "good",
    "at a price": "fail",
    "mixed": "fail",
    "not beyond noise": "open",
    "no": "stop",
    "masked": "stop",
    "unknown": "open",
}
_SHORT = {
    "yes": "yes",
    "at a price": "yes, at a price",
    "mixed": "in part",
    "not beyond noise": "not beyond noise",
    "no": "no",
    "masked": "looks robust, is masked",
    "unknown": "cannot be told",
}
_GROUPS = {
    "clean": "Images as they are",
    "attack": "Attacks one by one",
    "worst case": "Worst case of all attacks",
    "guard": "The guard, attacked by who knows it",
    "proven": "Proven, whatever the attack",
    "smoothed": "Proven of the smoothed classifier",
    "corruption": "Poor images",
    "selective": "Uncertainty",
}
_THOUSANDTHS = 1_000


def answer_line(found: Comparison) -> str:
    """Whether hardening helped, in one line: the headline, or of several runs the word for each."""
    if len(found.hardening) == 1:
        return f"{found.hardening[0].headline}."
    return f"{'; '.join(f'{each.second}: {_SHORT[each.answer]}' for each in found.hardening)}."


def answer_tone(found: Comparison) -> str:
    """The class of the style sheet that goes with the answer; of different ones a mask outweighs the others."""
    answers = {each.answer for each in found.hardening}
    tones = {TONES[answer] for answer in answers}
    return next(iter(tones)) if len(tones) == 1 else "stop" if "masked" in answers else "open"


def run_names(found: Comparison) -> dict[str, str]:
    """What each run is called in figures: its letter, and its folder."""
    return {run.letter: f"{run.letter} {PurePath(run.path).name}".strip() for run in found.runs}


def phase_groups(found: Comparison) -> Iterator[tuple[str, list[Phase]]]:
    """The phases by their sort; a sort without a heading of its own has its name."""
    for kind in dict.fromkeys(phase.kind for phase in found.phases):
        yield _GROUPS.get(kind, kind), [phase for phase in found.phases if phase.kind == kind]


def phase_value(cell: Cell, phase: Phase) -> str:
    """The number of a run: a share in per cent, an area in thousandths."""
    value = cell.value.value
    return percent(value) if phase.unit == "share" else decimal(value * _THOUSANDTHS, 1)


def phase_spread(cell: Cell, phase: Phase) -> str:
    """Its interval."""
    found = cell.value
    if phase.unit == "share":
        return spread_words(found, share=True)
    return spread_words(_scaled(found), share=False, digits=1)


def difference_words(found: Difference, phase: Phase) -> str:
    """A difference with its sign: of shares in points, of areas in thousandths."""
    return _signed(found.difference.value, phase)


def difference_spread(found: Difference, phase: Phase) -> str:
    """Its interval, or why there is none."""
    low, high = found.difference.low, found.difference.high
    if math.isnan(low):
        return found.difference.reason or "no interval"
    return f"{_signed(low, phase)} to {_signed(high, phase)}"


def phase_line(phase: Phase, found: Difference, first: str) -> str:
    """One difference in the terminal."""
    cells = [(letter, phase.cell(letter)) for letter in (first, found.second)]
    values = ", ".join(f"{letter} {phase_value(cell, phase)}" for letter, cell in cells if cell is not None)
    unit = " points" if phase.unit == "share" else ""
    spread = difference_spread(found, phase)
    what = f"{found.second} − {first} {difference_words(found, phase)}{unit} ({spread}), {by_chance(found.p_value)}"
    scale = "" if phase.unit == "share" else ", in thousandths"
    return f"{phase.title}{scale}: {values} of {count(phase.n)} images; {what}: {SIGNS[found.outcome]}."


def outcome_lists(found: Comparison) -> Iterator[tuple[str, int, list[tuple[str, str, list[str]]]]]:
    """For each later run its letter, how many differences it has, and which are of each outcome, in words."""
    for run in found.runs[1:]:
        told = [(phase, each) for phase in found.phases if (each := phase.difference(run.letter)) is not None]
        parts = [
            (outcome, words, titles)
            for outcome, words in _OUTCOMES
            if (titles := [phase.title for phase, each in told if each.outcome == outcome])
        ]
        yield run.letter, len(told), parts


def cost_words(cell: Cost | None, unit: str) -> str:
    """A cost as it is read."""
    if cell is None:
        return DASH
    return f"{1_000 * cell.value:.2f} ms" if unit == "seconds" else count(round(cell.value))


def class_rows(found: tuple[ClassChange, ...]) -> list[ClassChange]:
    """The classes, those that changed most first."""
    return sorted(found, key=lambda row: -max(_size(row.clean), _size(row.attacked)))


def share_words(found: ClassShare | None) -> str:
    """Both shares of a class, then what they differ by."""
    if found is None:
        return DASH
    return f"{percent(found.first)} → {percent(found.second)}"


def _size(found: ClassShare | None) -> float:
    return 0.0 if found is None else abs(found.second - found.first)


def _scaled(found: Quantity) -> Quantity:
    ends = {name: getattr(found, name) * _THOUSANDTHS for name in ("value", "low", "high")}
    return found.model_copy(update=ends)


def _signed(value: float, phase: Phase) -> str:
    return signed(value * (100 if phase.unit == "share" else _THOUSANDTHS), 1)
