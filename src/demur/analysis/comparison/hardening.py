"""Did hardening help? One answer for each later run, which calls nothing robust that its own checks call masked."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, TypeAlias

from demur.analysis.comparison.phase_measures import Kind
from demur.analysis.comparison.phases import Difference, Outcome, Phase
from demur.analysis.quantity import Quantity, Table, by_chance
from demur.analysis.verdict.verdict_tables import Bearing, Check

Answer: TypeAlias = Literal["yes", "at a price", "mixed", "not beyond noise", "no", "masked", "unknown"]

_BEARINGS: dict[Kind, Bearing] = {
    "attack": "attacks",
    "worst case": "attacks",
    "guard": "the guard under attack",
    "proven": "attacks",
    "corruption": "corruptions",
}
_BLUNT = frozenset({"answers repeat", "outputs are no probabilities"})
"""Checks of everything whose failure blunts the gradients that attacks go by."""
_WEAK = frozenset({"attacks stay inside", "steps reach the edge", "attacks come to an end", "the model answers"})
"""Checks whose failure speaks of the attacks of the plan and not of what they see."""
_TRIAL = "robustness is no mask"
"""A check that warns where the usual attack sees nothing; those of the plan may see more."""


class Measurement(Table):
    """What a run's own checks of its measurement say: those that failed, and what they void.

    `trial` is the check that warns where the usual attack sees nothing of the model, null where it did not warn.
    """

    letter: str
    checks: int
    failed: tuple[Check, ...]
    trial: Check | None

    def faults(self, kind: Kind) -> tuple[Check, ...]:
        """The failed checks that void a sort of phase."""
        bearings = {"everything", _BEARINGS.get(kind)}
        return tuple(check for check in self.failed if check.bears_on in bearings)

    @property
    def masks(self) -> tuple[Check, ...]:
        """The failed checks by which attacks see less than there is to see."""
        bearing = (check for check in self.failed if check.bears_on == "attacks" or check.name in _BLUNT)
        return tuple(check for check in bearing if check.name not in _WEAK)


def voided(found: Sequence[Phase], measured: Sequence[Measurement]) -> tuple[Phase, ...]:
    """The phases, with what rests on a measurement that failed its own checks called void."""
    first, *later = measured
    faulty = {run.letter: run for run in later}

    def judged(phase: Phase, each: Difference) -> Difference:
        fails = first.faults(phase.kind) or faulty[each.second].faults(phase.kind)
        return each.model_copy(update={"outcome": "void"}) if fails else each

    return tuple(
        phase.model_copy(update={"differences": tuple(judged(phase, each) for each in phase.differences)})
        for phase in found
    )


class Hardening(Table):
    """Whether a later run is harder to fool than the first, as a word and as a sentence with its numbers."""

    second: str
    answer: Answer
    headline: str
    sentence: str


def measurement(letter: str, checks: Sequence[Check]) -> Measurement:
    """The table of a run's checks."""
    failed = tuple(each for each in checks if each.state == "fail")
    trial = next((each for each in checks if each.name == _TRIAL and each.state != "pass"), None)
    return Measurement(letter=letter, checks=len(checks), failed=failed, trial=trial)


def hardening(found: Sequence[Phase], measured: Sequence[Measurement], comparisons: int) -> tuple[Hardening, ...]:
    """The answer of each run but the first."""
    first, *later = measured
    return tuple(_answer(found, first, second, comparisons) for second in later)


def _answer(found: Sequence[Phase], first: Measurement, second: Measurement, comparisons: int) -> Hardening:
    cases, pair = _attacked(found, second.letter), (first.letter, second.letter)
    if not cases:
        return _row(pair, "unknown", f"no attack is in the plans of both {pair[0]} and {pair[1]}.")
    objection = _masked(found, cases, second, pair) or _unfounded(cases, first, second)
    if objection is not None:
        return _row(pair, *objection)
    clean = next(_of(found, ("clean",), second.letter), None)
    answer = _word([case.outcome for _, case in cases], None if clean is None else clean[1].outcome)
    said = [*_robust_sentences(found, cases, pair)]
    if clean is not None:
        said.append(f"Clean images: {_pair_words(*clean, *pair)}")
    if comparisons > 1:
        said.append(f"Intervals and p hold for all {comparisons} differences at once.")
    return _row(pair, answer, " ".join(said))


def _robust_sentences(found: Sequence[Phase], cases: Sequence["Case"], pair: tuple[str, str]) -> Iterator[str]:
    """The case that decides, one that says the opposite, those that say nothing, and who is contradicted."""
    phase, chosen = _telling(cases)
    yield _robust_words(phase, chosen, *pair)
    if chosen.outcome != "noise":
        opposite = [case for case in cases if case[1].outcome not in {chosen.outcome, "noise"}]
        yield from (_robust_words(*case, *pair) for case in opposite[:1])
        yield from (f"No more than noise: {each.title}." for each, case in cases if case.outcome == "noise")
    if "better" not in {case.outcome for _, case in cases}:
        flattered = [each.title for each, case in _of(found, ("attack",), pair[1]) if case.outcome == "better"]
        if flattered:
            yield f"One attack alone would say otherwise ({'; '.join(flattered)}); all together do not."


_HEADLINES: dict[Answer, str] = {
    "yes": "Yes: {other} is harder to fool than {one}",
    "at a price": "Yes, at a price: {other} is harder to fool than {one}, and more often wrong on clean images",
    "mixed": "In part: {other} is harder to fool than {one} at some sizes, easier at others",
    "not beyond noise": "Not beyond noise: {other} is not shown to be harder to fool than {one}",
    "no": "No: {other} is easier to fool than {one}",
    "masked": "{other} looks robust: it is masked",
    "unknown": "It cannot be told whether {other} is harder to fool",
}


def _row(pair: tuple[str, str], answer: Answer, sentence: str) -> Hardening:
    headline = _HEADLINES[answer].format(one=pair[0], other=pair[1])
    return Hardening(second=pair[1], answer=answer, headline=headline, sentence=sentence[:1].upper() + sentence[1:])


Case: TypeAlias = tuple[Phase, Difference]


def _of(found: Iterable[Phase], kinds: Iterable[Kind], second: str) -> Iterator[Case]:
    kinds = tuple(kinds)
    for phase in found:
        each = phase.difference(second)
        if phase.kind in kinds and each is not None:
            yield phase, each


def _attacked(found: Sequence[Phase], second: str) -> list[Case]:
    """The worst cases, or where there are none the attacks one by one."""
    return [*_of(found, ("worst case",), second)] or [*_of(found, ("attack",), second)]


def _telling(cases: Sequence[Case]) -> Case:
    """The case that decides: of those beyond noise, or else of all, the one with the largest difference."""
    beyond = [case for case in cases if case[1].outcome != "noise"]
    return max(beyond or cases, key=lambda case: abs(case[1].difference.value))


def _word(robust: Sequence[Outcome], clean: Outcome | None) -> Answer:
    if "better" in robust and "worse" in robust:
        return "mixed"
    if "better" in robust:
        return "at a price" if clean == "worse" else "yes"
    return "no" if "worse" in robust else "not beyond noise"


def _masked(
    found: Sequence[Phase], cases: Sequence[Case], second: Measurement, pair: tuple[str, str]
) -> tuple[Answer, str] | None:
    """What looks robust while a check says that attacks see too little, or that the usual one sees nothing."""
    better = [case for case in _of(found, ("attack", "worst case"), second.letter) if case[1].outcome == "better"]
    if second.masks and better:
        numbers = _robust_words(*_telling([case for case in cases if case in better] or better), *pair)
        return "masked", f"{numbers} That counts for nothing: {_failed_words(second, second.masks)}"
    if second.trial is not None and "better" not in {case.outcome for _, case in cases}:
        check = second.trial
        numbers = _robust_words(*_telling(cases), *pair)
        return "masked", f"{check.sentence}: {check.count or 0:,} of {check.of or 0:,}. {numbers}"
    return None


def _unfounded(cases: Sequence[Case], first: Measurement, second: Measurement) -> tuple[Answer, str] | None:
    """Why the measurements cannot be compared under attack; None where both stood their own checks."""
    kind = cases[0][0].kind
    for run in (second, first):
        faults = run.faults(kind)
        if faults:
            numbers = _robust_words(*_telling(cases), first.letter, second.letter)
            return "unknown", f"{_failed_words(run, faults)} {numbers} That may not be used."
    return None


def _failed_words(run: Measurement, faults: Sequence[Check]) -> str:
    names = "; ".join(_check_words(check) for check in faults[:3])
    more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
    return f"{run.letter}'s own checks of the measurement failed ({names}{more})."


def _check_words(check: Check) -> str:
    counts = "" if check.count is None else f", {check.count:,} of {check.of:,}"
    return f"{check.name}{counts}"


def _robust_words(phase: Phase, found: Difference, one: str, other: str) -> str:
    return f"{phase.title}: {_pair_words(phase, found, one, other)}"


def _pair_words(phase: Phase, found: Difference, one: str, other: str) -> str:
    shares = f"{one} is right on {100 * _value(phase, one):.1f} %, {other} on {100 * _value(phase, other):.1f} %"
    beyond = "noise" if found.outcome == "noise" else "more than noise"
    return f"{shares} of {phase.n:,} images, {points(found.difference)}, {by_chance(found.p_value)}: {beyond}."


def _value(phase: Phase, letter: str) -> float:
    cell = phase.cell(letter)
    return float("nan") if cell is None else cell.value.value


def points(found: Quantity) -> str:
    """A difference of shares in points, with its interval."""
    value, low, high = (f"{100 * end:+z.1f}".replace("-", "−") for end in (found.value, found.low, found.high))
    return f"{value} points" if found.low != found.low else f"{value} points ({low} to {high})"
