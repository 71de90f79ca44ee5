"""What a safety board reads in 30 seconds, without a curve and without jargon."""

from dataclasses import dataclass
from typing import Any

from demur.analysis.results import Provenance, Results
from demur.analysis.verdict.verdict import Guarantee, State
from demur.analysis.verdict.verdict_tables import Check
from demur.policies.keeping import Keeping
from demur.report.acceptance_lines import GateTally, missing_declarations
from demur.report.answer_lines import (
    HundredImages,
    behaviour,
    check,
    exception,
    hundreds,
    load,
    stricter,
    two_thresholds,
    without,
)
from demur.report.breaking_lines import breaking_sentence
from demur.report.class_lines import ClassLine, class_lines, worst, worst_detail
from demur.report.condition_lines import (
    Family,
    constant_line,
    direction_line,
    direction_line_short,
    families,
    unknown_line,
    worst_slice_line,
)
from demur.report.counted_words import counted_line, counted_sentences
from demur.report.manipulation_lines import is_judged, manipulation_line, manipulations, mask_line
from demur.report.phrases import count, model_name, plain_name, plural
from demur.report.state_words import Verdict, guarantee_holds, reportable, verdict


@dataclass(frozen=True, kw_only=True)
class TrustLine:
    """How many checks of the measurement itself passed, warned and failed, and whether that means yes or no.

    `void` names the figures that a failed check bears on; "everything" among them means no.
    """

    passed: int
    warned: int
    failed: int
    remarks: tuple[str, ...]
    void: tuple[str, ...] = ()

    @property
    def answer(self) -> str:
        """Can the measurement be trusted?"""
        if not self.passed + self.warned + self.failed:
            return "Not known."
        if {"everything", "guarantee"} & set(self.void):
            return "No."
        return "Only in part." if self.failed else "Yes."

    @property
    def tone(self) -> str:
        """The class of the style sheet that goes with the answer."""
        return {"Yes.": "holds", "Only in part.": "warned", "Not known.": "warned"}.get(self.answer, "broken")

    @property
    def reason(self) -> str:
        """What the answer rests on."""
        if not self.passed + self.warned + self.failed:
            return "Nothing was checked."
        if self.failed:
            return f"{self.counts}: no figure of {', '.join(self.void)} may be used."
        warned = f"{self.warned} warned{' (voids nothing)' if self.warned else ''}"
        return f"{self.passed} passed, {warned}, {self.failed} failed."

    @property
    def sentence(self) -> str:
        """The three counts in words."""
        return f"{self.answer} {plural(self.passed + self.warned + self.failed, 'check')}: {self.counts}."

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
    exception: str | None
    behaviour: str | None
    load: str | None
    two_thresholds: str | None
    judged: bool
    check: str | None
    holds: Keeping | None
    without: str
    hundreds: tuple[HundredImages, ...]
    classes: tuple[ClassLine, ...]
    worst: str
    worst_detail: str | None
    worst_slice: str | None
    direction: str | None
    direction_short: str | None
    corruptions: tuple[Family, ...]
    breaks: str | None
    limit: str | None
    manipulation: tuple[str, ...]
    manipulation_short: str
    manipulation_note: str | None
    mask: str | None
    constant: str | None
    unknown: str | None
    out_of_scope: tuple[str, ...]
    void_when: tuple[str, ...]
    trust: TrustLine
    stricter: str | None
    unreadable: str | None
    counted: str | None
    counted_details: tuple[str, ...]
    gates: GateTally | None
    next_step: str

    @classmethod
    def of(cls, results: Results) -> "FirstScreen":
        """Put the results of an audit into words."""
        results = reportable(results)
        guarantee = results.guarantee
        return cls(
            state=results.state,
            verdict=verdict(results),
            subject=subject(results.provenance),
            purpose=results.purpose.get("intended_use") or None,
            missing_declarations=missing_declarations(results.purpose),
            **_of_guard(results, guarantee),
            judged=is_judged(results),
            without=without(results),
            hundreds=hundreds(results, guarantee),
            classes=class_lines(results),
            worst=worst(results.worst_class),
            worst_detail=worst_detail(results.worst_class, results.per_class),
            worst_slice=worst_slice_line(results),
            direction=direction_line(results),
            direction_short=direction_line_short(results),
            corruptions=families(results, "corruption", guaranteed=is_judged(results)),
            breaks=breaking_sentence(results),
            **_of_attacks(results),
            constant=constant_line(results),
            unknown=unknown_line(results),
            out_of_scope=results.out_of_scope,
            void_when=results.void_when,
            trust=_trust(results),
            stricter=stricter(results),
            unreadable=_unreadable(results.provenance),
            counted=counted_line(results),
            counted_details=counted_sentences(results),
            gates=GateTally.of(results),
            next_step=results.next_step,
        )


def _of_guard(results: Results, guarantee: Guarantee | None) -> dict[str, Any]:
    """What is said of a guard alone."""
    if guarantee is None:
        return dict.fromkeys(("exception", "behaviour", "load", "two_thresholds", "check", "holds", "limit"))
    return {
        "exception": exception(results, guarantee),
        "behaviour": behaviour(results, guarantee),
        "load": load(results, guarantee),
        "two_thresholds": two_thresholds(guarantee),
        "check": check(guarantee),
        "holds": guarantee_holds(guarantee),
        "limit": f"{100 * guarantee.risk:g}",
    }


def _of_attacks(results: Results) -> dict[str, Any]:
    """What is said of deliberate changes, and of robustness that is a mask."""
    attack = None if results.void("attacks") else results.manipulation
    return {
        "manipulation": manipulations(results, attack),
        "manipulation_short": manipulation_line(results, attack),
        "manipulation_note": attack.sentence if attack else None,
        "mask": mask_line(results.masking),
    }


def subject(made: Provenance) -> str:
    """What was audited on what."""
    return f"{model_name(made.model)} on {plain_name(made.data)}"


def _unreadable(made: Provenance) -> str | None:
    if not made.failed_samples:
        return None
    return f"{count(made.failed_samples)} of {plural(sum(made.splits.values()), 'image')} could not be read"


def _trust(results: Results) -> TrustLine:
    states = [check.state for check in results.checks]
    ordered = sorted(results.checks, key=lambda check: ("fail", "warn", "pass").index(check.state))
    return TrustLine(
        passed=states.count("pass"),
        warned=states.count("warn"),
        failed=states.count("fail"),
        void=tuple(dict.fromkeys(check.bears_on for check in results.checks if check.state == "fail")),
        remarks=tuple(_remark(check) for check in ordered if check.state != "pass"),
    )


def _remark(check: Check) -> str:
    """What a check says, and of how many."""
    if check.count is None or check.of is None:
        return check.sentence
    return f"{check.sentence}: {count(check.count)} of {count(check.of)}"
