"""What a safety board reads in 30 seconds, without a curve and without jargon."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from demur.analysis.accuracy.overall import ClassRow, WorstClass, told_apart
from demur.analysis.quantity import Quantity
from demur.analysis.results import Provenance, Results
from demur.analysis.verdict.verdict import Guarantee, State
from demur.analysis.verdict.verdict_tables import Check
from demur.policies import ACCEPT_ALL
from demur.policies.keeping import Keeping
from demur.policies.second_threshold import Purpose
from demur.report.acceptance_lines import GateTally, missing_declarations
from demur.report.condition_lines import (
    Family,
    constant_line,
    direction_line,
    direction_line_short,
    families,
    unknown_line,
    worst_slice_line,
)
from demur.report.manipulation_lines import is_judged, manipulation_line, manipulations
from demur.report.phrases import count, frequency, percent, plain_name, plural, scale, significant
from demur.report.state_words import Verdict, guarantee_holds, reportable, verdict


@dataclass(frozen=True, kw_only=True)
class HundredImages:
    """A hundred typical images, by outcome; `right + wrong + to_person == 100`."""

    title: str
    right: int
    wrong: int
    to_person: int

    @property
    def sentence(self) -> str:
        """The picture in words."""
        abstained = f", {self.to_person} go to a person" if self.to_person else ""
        return f"{self.title}: of 100 images {self.right} are answered right, {self.wrong} wrong{abstained}."


@dataclass(frozen=True, kw_only=True)
class TrustLine:
    """How many checks of the measurement itself passed, warned and failed."""

    passed: int
    warned: int
    failed: int
    remarks: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """The three counts in words."""
        return f"{plural(self.passed + self.warned + self.failed, 'check')}: {self.counts}."

    @property
    def counts(self) -> str:
        """The three counts alone."""
        return f"{self.passed} passed, {self.warned} warned, {self.failed} failed"


@dataclass(frozen=True, kw_only=True)
class FirstScreen:
    """The whole first screen as sentences; the page and the terminal show the same object."""

    state: State
    verdict: Verdict
    subject: str
    purpose: str | None
    missing_declarations: tuple[str, ...]
    behaviour: str | None
    two_thresholds: str | None
    judged: bool
    check: str | None
    holds: Keeping | None
    without: str
    hundreds: tuple[HundredImages, ...]
    worst: str
    worst_detail: str | None
    worst_slice: str | None
    direction: str | None
    direction_short: str | None
    corruptions: tuple[Family, ...]
    manipulation: tuple[str, ...]
    manipulation_short: str
    manipulation_note: str | None
    constant: str | None
    unknown: str | None
    out_of_scope: tuple[str, ...]
    void_when: tuple[str, ...]
    trust: TrustLine
    unreadable: str | None
    gates: GateTally | None
    next_step: str

    @classmethod
    def of(cls, results: Results) -> "FirstScreen":
        """Put the results of an audit into words."""
        results = reportable(results)
        guarantee = results.guarantee
        attack = None if results.void("attacks") else results.manipulation
        return cls(
            state=results.state,
            verdict=verdict(results),
            subject=subject(results.provenance),
            purpose=results.purpose.get("intended_use") or None,
            missing_declarations=missing_declarations(results.purpose),
            behaviour=_behaviour(guarantee, _next_hands(results)) if guarantee else None,
            two_thresholds=_two_thresholds(guarantee) if guarantee else None,
            judged=is_judged(results),
            check=_check(guarantee) if guarantee else None,
            holds=guarantee_holds(guarantee) if guarantee else None,
            without=_without(results),
            hundreds=_hundreds(results, guarantee),
            worst=_worst(results.worst_class),
            worst_detail=_worst_detail(results.worst_class, results.per_class),
            worst_slice=worst_slice_line(results),
            direction=direction_line(results),
            direction_short=direction_line_short(results),
            corruptions=families(results.conditions, "corruption", guaranteed=is_judged(results)),
            manipulation=manipulations(results, attack),
            manipulation_short=manipulation_line(results, attack),
            manipulation_note=attack.sentence if attack else None,
            constant=constant_line(results),
            unknown=unknown_line(results),
            out_of_scope=results.out_of_scope,
            void_when=results.void_when,
            trust=_trust(results),
            unreadable=_unreadable(results.provenance),
            gates=GateTally.of(results),
            next_step=results.next_step,
        )


def subject(made: Provenance) -> str:
    """What was audited on what."""
    return f"{plain_name(made.model)} on {plain_name(made.data)}"


def _unreadable(made: Provenance) -> str | None:
    if not made.failed_samples:
        return None
    return f"{count(made.failed_samples)} of {plural(sum(made.splits.values()), 'image')} could not be read"


def _next_hands(results: Results) -> str:
    return str(results.purpose.get("abstentions_go_to") or "a person")


def _behaviour(guarantee: Guarantee, hands: str) -> str:
    if not guarantee.test_n:
        return _few_behaviour(guarantee, hands)
    coverage = guarantee.coverage.value
    base = scale(coverage)
    answered = round(coverage * base)
    verb = "goes" if base - answered == 1 else "go"
    return f"It answers {count(answered)} of {count(base)} images; {count(base - answered)} {verb} to {hands}."


_LOOKS: Mapping[Purpose, str] = {
    "attack": "does not look changed on purpose",
    "shift": "looks like those measured",
    "unknown": "looks like one of a class it knows",
}


def _two_thresholds(guarantee: Guarantee) -> str | None:
    """Both thresholds, where there are two."""
    second = guarantee.second
    if second is None or guarantee.threshold is None:
        return None
    sure = f"it is sure enough ({guarantee.signal} at most {significant(guarantee.threshold)})"
    plain = f"the image {_LOOKS[second.purpose]} ({second.signal} at most {significant(second.threshold)})"
    if second.threshold >= ACCEPT_ALL:
        return f"Its second threshold, on {second.signal}, withholds nothing: so small a budget leaves it no other."
    if guarantee.threshold >= ACCEPT_ALL:
        return f"It answers, however sure it is, only if {plain}."
    return f"It answers only if {sure} and {plain}."


def _few_behaviour(guarantee: Guarantee, hands: str) -> str:
    """The same of the certify rows, where no others are left, and what more labels could bring."""
    abstained = guarantee.certify_n - guarantee.certify_answers
    verb = "goes" if abstained == 1 else "go"
    return (
        f"It answers {count(guarantee.certify_answers)} of {count(guarantee.certify_n)} labelled {guarantee.unit}s; "
        f"{count(abstained)} {verb} to {hands}. With more labels it could answer at most about "
        f"{frequency(guarantee.attainable, 'of')}."
    )


def _check(guarantee: Guarantee) -> str:
    if not guarantee.test_n:
        return "Not checked: no untouched images are left, for all labels had a part in it."
    unseen = "images" if guarantee.unit == "image" else "groups, one image of each"
    if guarantee.parts:
        return f"Check on {count(guarantee.test_n)} unseen {unseen}: {_worst_part(guarantee)}."
    return (
        f"Check on {count(guarantee.test_n)} unseen {unseen}: "
        f"{count(guarantee.test_wrong)} wrong of {count(guarantee.test_answers)} answered"
        f"{'; alone they leave it open' if guarantee_holds(guarantee) == 'undecided' else ''}."
    )


def _worst_part(guarantee: Guarantee) -> str:
    """The class or site that does worst on the test split, and whether that tells anything."""
    by_class = guarantee.kind == "class"
    counts = [(part.test_wrong, part.test_n if by_class else part.test_answers, part) for part in guarantee.parts]
    errors, of, part = max(counts, key=lambda each: each[0] / each[1] / each[2].risk if each[1] else 0.0)
    open_end = "; alone they leave it open" if guarantee_holds(guarantee) == "undecided" else ""
    return f"the worst {guarantee.kind} is “{part.name}”, {count(errors)} wrong of {count(of)}{open_end}"


def _without(results: Results) -> str:
    if results.state == "measurement_failed":
        return "The numbers below are shown for repair only."
    bare = results.guarantee.risk_without_guard.value if results.guarantee else 1 - results.test_accuracy.value
    lead = "Without the guard" if results.state == "issued" else "When it answers every image"
    return f"{lead}: {frequency(bare)} answers are wrong{_width(results)}."


def _width(results: Results) -> str:
    """The interval of the share of wrong answers, said where labels are so few that there is no test split."""
    if results.provenance.splits.get("test") or math.isnan(results.test_accuracy.low):
        return ""
    low, high = 1 - results.test_accuracy.high, 1 - results.test_accuracy.low
    return f", {percent(low, 0)} to {percent(high, 0)} by so few labels"


def _hundreds(results: Results, guarantee: Guarantee | None) -> tuple[HundredImages, ...]:
    bare = results.guarantee.risk_without_guard.value if results.guarantee else 1 - results.test_accuracy.value
    if math.isnan(bare) or results.state == "measurement_failed":
        return ()
    wrong = round(bare * 100)
    title = "Without the guard" if guarantee else "As it is"
    without = HundredImages(title=title, right=100 - wrong, wrong=wrong, to_person=0)
    if guarantee is None or not guarantee.test_n:
        return (without,)
    answered = round(guarantee.test_answers / guarantee.test_n * 100)
    missed = round(guarantee.test_wrong / guarantee.test_n * 100)
    guarded = HundredImages(title="With the guard", right=answered - missed, wrong=missed, to_person=100 - answered)
    return (guarded, without)


def _worst(found: WorstClass | None) -> str:
    """The class that looks worst, by the measure by which it does, with the interval that allows for being chosen."""
    if found is None:
        return "No class has enough images to be judged alone."
    row = found.row
    if found.by == "risk" and row.risk is not None and row.coverage is not None:
        answers = plural(round(row.coverage.value * row.n), "answer")
        return f"“{row.name}”: {percent(row.risk.value, 0)} of {answers} with the guard wrong{_between(row.risk)}."
    missed = row.accuracy.model_copy(update={"low": 1 - row.accuracy.high, "high": 1 - row.accuracy.low})
    return (
        f"“{row.name}”: {percent(1 - row.accuracy.value, 0)} of {plural(row.n, 'image')} wrong when all are "
        f"answered{_between(missed)}."
    )


def _between(found: Quantity) -> str:
    return (
        "" if math.isnan(found.low) else f", {percent(found.low, 0)} to {percent(found.high, 0)} as the worst of many"
    )


def _worst_detail(found: WorstClass | None, rows: Sequence[ClassRow]) -> str | None:
    """The other measure of the class, and what so few images could show at all."""
    if found is None:
        return None
    return " ".join(said for said in (_other_measure(found), _smallest_fall(rows)) if said) or None


def _other_measure(found: WorstClass) -> str | None:
    row = found.row
    if row.coverage is None or row.risk is None:
        return None
    if found.by == "risk":
        return f"Without it {frequency(1 - row.accuracy.value)} are wrong."
    answers = f"With the guard it answers {frequency(row.coverage.value, 'of')} of them"
    if math.isnan(row.risk.value):
        return f"{answers}."
    return f"{answers}, and {frequency(row.risk.value)} of those answers are wrong."


_USUAL = 50


def _smallest_fall(rows: Sequence[ClassRow]) -> str | None:
    """Said where classes have few images: how bad one would have to be to be seen."""
    sizes = sorted(row.n for row in rows if row.n)
    if not sizes or sizes[len(sizes) // 2] >= _USUAL:
        return None
    images, seen = plural(sizes[len(sizes) // 2], "image"), told_apart(rows)
    if seen is None:
        return f"With about {images} a class not even one that is always wrong would be seen."
    return (
        f"With about {images} a class, one is seen to be worse only if it is right less than {frequency(seen)} times."
    )


def _trust(results: Results) -> TrustLine:
    states = [check.state for check in results.checks]
    ordered = sorted(results.checks, key=lambda check: ("fail", "warn", "pass").index(check.state))
    return TrustLine(
        passed=states.count("pass"),
        warned=states.count("warn"),
        failed=states.count("fail"),
        remarks=tuple(_remark(check) for check in ordered if check.state != "pass"),
    )


def _remark(check: Check) -> str:
    """What a check says, and of how many."""
    if check.count is None or check.of is None:
        return check.sentence
    return f"{check.sentence}: {count(check.count)} of {count(check.of)}"
