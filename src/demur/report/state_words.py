"""The six states an audit can end in, each with its own words."""

import math
from dataclasses import dataclass

from demur.analysis.results import Results
from demur.analysis.verdict.imbalance import PositiveBound
from demur.analysis.verdict.verdict import Guarantee, RefusalTable, State
from demur.analysis.verdict.verdict_tables import Bearing
from demur.errors import brief
from demur.policies.coverage_bound import at_least
from demur.policies.keeping import Keeping, keeping
from demur.policies.look import PLACES
from demur.report.phrases import at_most, count, frequency, percent, plural


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A state as a word and a sign, the answer to "may I use it?", and the guarantee or why there is none."""

    sign: str
    word: str
    tone: str
    answer: str
    headline: str
    note: str


SIGNS: dict[State, tuple[str, str, str]] = {
    "issued": ("✔", "Guarantee issued", "good"),
    "uninformative": ("✖", "Refused: uninformative", "stop"),
    "too_few_labels": ("✖", "Refused: too few labels", "stop"),
    "model_too_weak": ("✖", "Refused: model too weak", "stop"),
    "measurement_failed": ("⚠", "Measurement failed", "fail"),
    "undeclared": ("?", "Criteria not declared", "open"),
}


def verdict(results: Results) -> Verdict:
    """The state of an audit in words."""
    sign, word, tone = SIGNS[results.state]
    answer, headline, note = _TEXTS[results.state](results)
    return Verdict(sign=sign, word=word, tone=tone, answer=answer, headline=headline, note=note)


def reportable(results: Results) -> Results:
    """The results without a guarantee, and without conditions that keep it, unless the state is "issued".

    Conditions whose figures are void keep nothing either.
    """
    figures: dict[str, Bearing] = {"attack": "attacks", "corruption": "corruptions", "clean": "guarantee"}
    issued = results.state == "issued"
    conditions = tuple(
        row if issued and results.void(figures[row.kind]) is None else row.model_copy(update={"holds": None})
        for row in results.conditions
    )
    gone = {} if issued else {"guarantee": None}
    if results.guarantee is not None and not issued:
        gone |= {"coverage_loss": None}
    return results.model_copy(update={"conditions": conditions, **gone})


def guarantee_holds(guarantee: Guarantee) -> Keeping:
    """Whether the shares on the untouched test split that the guarantee is about keep to it, or it is open."""
    if not guarantee.parts:
        return keeping(guarantee.test_wrong, guarantee.test_answers, guarantee.risk)
    of = {"class": "test_n", "site": "test_answers"}[guarantee.kind]
    several = len(guarantee.parts)
    states = {keeping(part.test_wrong, getattr(part, of), part.risk, several) for part in guarantee.parts}
    return "broken" if "broken" in states else "undecided" if "undecided" in states else "holds"


def statement(guarantee: Guarantee) -> str:
    """What is guaranteed, in a line; what counts equally is said where it is not the image."""
    most = at_most(guarantee.risk)
    match guarantee.kind:
        case "class":
            own = "at most the stated share" if len({part.risk for part in guarantee.parts}) > 1 else f"at most {most}"
            return f"Of the images of each class, {own} are answered wrong"
        case "site":
            sites = plural(len(guarantee.parts), "site")
            return f"When it answers, at most {most} answers are wrong at each of {sites}"
        case "capacity":
            return f"When it answers as many as were asked for, at most {most} answers are wrong{_equally(guarantee)}"
        case _:
            return f"When it answers, at most {most} answers are wrong{_equally(guarantee)}"


def _equally(guarantee: Guarantee) -> str:
    """Many images of a group, or weights, make the sentence about something else than the next image."""
    words = {"group": ", each group counting equally", "weight": ", each image by its weight"}
    return words.get(guarantee.weighting or "", "")


def _issued(results: Results) -> tuple[str, str, str]:
    guarantee = results.guarantee
    if guarantee is None:
        raise ValueError("results in state 'issued' must hold a guarantee; there is none. Rebuild results.json.")
    if results.positive is not None and results.positive.bound is not None and guarantee.kind != "class":
        return (_use(results, guarantee), *_of_positive(results.positive, guarantee))
    return (
        _use(results, guarantee),
        statement(guarantee),
        (
            f"{percent(1 - guarantee.delta, 0)} confidence, also that it answers at least "
            f"{at_least(guarantee.coverage_low)} of 100{' at each' if guarantee.kind == 'site' else ''}; "
            f"{plural(guarantee.certify_n, f'labelled {guarantee.unit}')}, {_look(guarantee)}"
        ),
    )


def _look(guarantee: Guarantee) -> str:
    """Which look at its labels a guarantee is, and where that was counted if it was not beside the run folders."""
    place = "" if guarantee.look_place == PLACES["runs"] else f" {guarantee.look_place}"
    return f"look {count(guarantee.look)}{place}"


def _of_positive(found: PositiveBound, guarantee: Guarantee) -> tuple[str, str]:
    """The guarantee that counts where a class must not be missed, and the one over all answers behind it."""
    return (
        f"At most {at_most(_upwards(found.bound or 0.0))} images of “{found.positive}” are answered and wrong",
        (
            f"{percent(1 - guarantee.delta, 0)} confidence; {plural(found.n, f'labelled {found.unit}')} of "
            f"“{found.positive}”; of all answers at most {at_most(guarantee.risk)} are wrong"
        ),
    )


def _uninformative(results: Results) -> tuple[str, str, str]:
    found, constant = results.positive, results.constant
    if found is not None:
        return (
            "No. Let a person check every answer.",
            f"No guarantee for “{found.positive}”: {_wrong_of_class(found)}",
            f"The share may be {at_most(_upwards(found.bound or 0.0))}: no less than a constant answer would miss.",
        )
    if constant is None:
        raise ValueError("results in state 'uninformative' must hold a constant answer; there is none. Rebuild them.")
    return (
        "No. Let a person check every answer.",
        f"No guarantee: answering “{constant.answer}” every time would get the same one",
        (
            f"Of {plural(constant.n, f'labelled {constant.unit}')} {count(constant.others)} are of other classes: few "
            "wrong answers show nothing."
        ),
    )


def _wrong_of_class(found: PositiveBound) -> str:
    if not found.n:
        return f"no test {found.unit} is of it"
    return f"{count(found.wrong_answers or 0)} of {plural(found.n, f'test {found.unit}')} are answered and wrong"


def _use(results: Results, guarantee: Guarantee) -> str:
    """May I use it? A guarantee is not enough where a rule of one's own says no."""
    failed = any(row.outcome == "fail" for row in results.gates)
    if not failed and guarantee_holds(guarantee) == "broken":
        return "Not yet: the check found more errors."
    if results.purpose.get("demonstration"):
        return _barred(results) or "As a demonstration only, with the guard on."
    return _barred(results) or "Yes, with the guard on, for images like those measured."


def _barred(results: Results) -> str | None:
    outcomes = {row.outcome for row in results.gates}
    if "fail" in outcomes:
        return "No: a gate failed."
    return "Not yet: a gate is inconclusive." if "inconclusive" in outcomes else None


_SUBJECTS = {"class": "for every class", "site": "at any site", "capacity": "of the answers at this coverage"}


def _too_few(results: Results) -> tuple[str, str, str]:
    refusal = _refusal(results)
    if refusal.constant_group is not None:
        reason = f"No guarantee: all images are of one group, “{brief(refusal.constant_group)}”, which counts as one"
        return "Not yet. Let a person check every answer.", reason, refusal.sentence
    if refusal.kind != "risk":
        return "Not yet. Let a person check every answer.", f"No guarantee {_SUBJECTS[refusal.kind]}", refusal.sentence
    needed = (
        f"about {count(refusal.labels_needed)} are needed at look {count(refusal.look + 1)}"
        if refusal.labels_needed
        else "more are needed to tell"
    )
    return (
        "Not yet. Let a person check every answer.",
        (
            f"No guarantee: {plural(refusal.labels_given, f'labelled {refusal.unit}')} cannot prove "
            f"“at most {at_most(refusal.risk)} wrong”; {needed}"
        ),
        f"{_support(refusal)}{_of_class(results)}",
    )


def _of_class(results: Results) -> str:
    """How many of the labels are of the class that must not be missed."""
    found = results.positive
    return "" if found is None else f" {count(found.labels)} of these labels are of “{found.positive}”."


def _too_weak(results: Results) -> tuple[str, str, str]:
    refusal = _refusal(results)
    if refusal.kind != "risk":
        return "No. Let a person check every answer.", f"No guarantee {_SUBJECTS[refusal.kind]}", refusal.sentence
    lowest = refusal.lowest_risk
    best = f"; the lowest seen is {at_most(_upwards(lowest))}" if lowest > refusal.risk else ""
    return (
        "No. Let a person check every answer.",
        f"No guarantee: it cannot keep wrong answers at or below {at_most(refusal.risk)}{best}",
        f"{_support(refusal)}{_of_class(results)}",
    )


def _support(refusal: RefusalTable) -> str:
    """What these data can support instead."""
    given = plural(refusal.labels_given, f"labelled {refusal.unit}")
    parts = []
    if refusal.provable is not None:
        parts.append(f"{given} can prove {percent(refusal.provable)} wrong at best, if no answer is wrong")
    if refusal.supported is not None:
        parts.append(f"these would bear about {percent(refusal.supported, 0)} (a hint, not a guarantee)")
    if refusal.attainable > 0:
        parts.append(f"with labels enough about {frequency(refusal.attainable, 'of')} could be answered")
    return f"What they support: {'; '.join(parts)}." if parts else refusal.sentence


def _failed(results: Results) -> tuple[str, str, str]:
    broken = [check.sentence for check in results.checks if check.state == "fail"]
    return (
        "Unknown. Do not rely on any number below.",
        "No guarantee: the measurement itself did not pass its checks",
        " ".join(f"{sentence.rstrip('.')}." for sentence in broken or ["A check of the measurement failed"]),
    )


def _undeclared(results: Results) -> tuple[str, str, str]:
    return (
        _barred(results)
        or (
            "All gates are passed; the share of wrong answers that is acceptable was not declared."
            if results.gates
            else "Undecided. The share of wrong answers that is acceptable was not declared."
        ),
        "No guarantee was asked for: the plan names no share of wrong answers that is acceptable",
        (
            f"On unseen images {percent(results.test_accuracy.value)} of its answers are right; "
            "whether that is enough is yours to declare."
        ),
    )


def _upwards(risk: float) -> float:
    """A risk with two digits that does not claim less than it is."""
    base = 100 if risk >= 0.05 else 1000
    return math.ceil(risk * base) / base


def _refusal(results: Results) -> RefusalTable:
    if results.refusal is None:
        raise ValueError(
            f"results in state {results.state!r} must hold a refusal; there is none. Rebuild results.json."
        )
    return results.refusal


_TEXTS = {
    "issued": _issued,
    "uninformative": _uninformative,
    "too_few_labels": _too_few,
    "model_too_weak": _too_weak,
    "measurement_failed": _failed,
    "undeclared": _undeclared,
}
