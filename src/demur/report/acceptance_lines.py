"""The acceptance rules and the declared purpose, on one line each."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from demur.analysis.quantity import Quantity
from demur.analysis.results import Results
from demur.analysis.verdict.verdict_tables import GateRow, LabelAccess
from demur.report.phrases import DASH, decimal, percent, plural, spread_words

SIGNS = {"pass": ("✔", "passed"), "fail": ("✖", "failed"), "inconclusive": ("?", "inconclusive")}
_SHARES = ("accuracy", "coverage", "risk", "fpr95", "coverage_at_risk", "distance")
_PLAIN = ("issued", "failed", "warned")


@dataclass(frozen=True, kw_only=True)
class GateTally:
    """How many gates passed, failed and stayed open; `remarks` are those that did not pass, the failed ones first."""

    passed: int
    failed: int
    inconclusive: int
    remarks: tuple[str, ...]
    gate_changes: tuple[str, ...]

    @classmethod
    def of(cls, results: Results) -> "GateTally | None":
        """The tally of an audit; None where its plan has no gates and never had."""
        changed = _gate_changes(results.label_access)
        if not results.gates and not changed:
            return None
        outcomes = [row.outcome for row in results.gates]
        ordered = sorted(results.gates, key=lambda row: ("fail", "inconclusive", "pass").index(row.outcome))
        return cls(
            passed=outcomes.count("pass"),
            failed=outcomes.count("fail"),
            inconclusive=outcomes.count("inconclusive"),
            remarks=tuple(f"{row.key} {row.rule} {SIGNS[row.outcome][1]}" for row in ordered if row.outcome != "pass"),
            gate_changes=changed,
        )

    @property
    def sentence(self) -> str:
        """The counts, whether a gate was changed too late, and what did not pass."""
        counts = f"{self.passed} passed, {self.failed} failed, {self.inconclusive} inconclusive"
        late = (
            f"; {plural(len(self.gate_changes), 'gate')} changed after the test was opened" if self.gate_changes else ""
        )
        return f"{counts}{late}{'; ' if self.remarks else ''}{'; '.join(self.remarks)}."


def _gate_changes(opened: LabelAccess | None) -> tuple[str, ...]:
    return opened.gate_changes if opened else ()


def gate_value(row: GateRow) -> tuple[str, str]:
    """The number a gate was judged on and its interval, as its measure is usually written."""
    measure, value = row.key.rpartition(".")[2], row.value
    if value.value != value.value:
        return DASH, value.reason or ""
    if measure in _PLAIN:
        return ("yes" if value.value else "no") if measure == "issued" else f"{value.value:g}", ""
    share = measure in _SHARES
    return percent(value.value) if share else decimal(value.value), _interval(value, share=share)


def gate_value_text(row: GateRow) -> str:
    """The number and its interval in one piece of text."""
    number, interval = gate_value(row)
    return f"{number} ({interval})" if interval else number


def _interval(value: Quantity, *, share: bool) -> str:
    found = spread_words(value, share=share)
    return f"{found} %" if found and share else found


PURPOSE: Mapping[str, str] = {
    "intended_use": "Intended use",
    "population": "Population",
    "acquisition": "Acquisition",
    "abstentions_go_to": "Abstentions go to",
    "threat_model": "Threat model",
}
MISSING = "not declared"


def declarations(purpose: Mapping[str, Any]) -> tuple[tuple[str, str | None], ...]:
    """Every field by its label, with what was declared; None where nothing was."""
    return tuple((label, str(purpose[name]) if purpose.get(name) else None) for name, label in PURPOSE.items())


def missing_declarations(purpose: Mapping[str, Any]) -> tuple[str, ...]:
    """The labels of what was left open, but for the intended use, which has a sentence of its own."""
    return tuple(
        label[0].lower() + label[1:]
        for name, label in PURPOSE.items()
        if name != "intended_use" and not purpose.get(name)
    )
