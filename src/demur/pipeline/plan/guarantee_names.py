"""What is to be guaranteed, written into the policies of a plan: another risk, or a coverage instead of a risk."""

from collections.abc import Sequence
from typing import Any

from demur.errors import InputError
from demur.registry import call_of, canonical

DELTA = 0.05
"""The chance of failing of a guarantee that a plan did not have before."""

AT_A_RISK = ("certified", "certified_by_class", "certified_by_site")
AT_A_COVERAGE = "capacity"


def at_risk(texts: Sequence[str], risk: float) -> tuple[str, ...]:
    """The policies with every one that is certified at a risk at this one; with `certified` where there is none.

    Raises:
        InputError: the risk is no share.
    """
    if not 0 < risk < 1:
        raise InputError(f"the risk must be a share strictly between 0 and 1; got {risk:g}. Write 2 in 100 as 0.02.")
    given = [call for call in map(call_of, texts) if call.name in AT_A_RISK]
    certified = [_text(call.name, {**call.fields, "risk": risk}) for call in given]
    kept = [text for text in texts if call_of(text).name not in AT_A_RISK]
    return (*dict.fromkeys(certified or [_text("certified", {"risk": risk})]), *kept)


def at_coverage(texts: Sequence[str], coverage: float) -> tuple[str, ...]:
    """The policies with `capacity` at this coverage instead of all that is certified, at the same levels.

    Raises:
        InputError: the coverage is no share.
    """
    if not 0 < coverage <= 1:
        raise InputError(
            f"the coverage must be a share above 0 and at most 1; got {coverage:g}. Where a person can take 15 in 100, "
            "write 0.85."
        )
    given = [call for call in map(call_of, texts) if call.name in {*AT_A_RISK, AT_A_COVERAGE}]
    deltas = dict.fromkeys(call.fields.get("delta", DELTA) for call in given) or {DELTA: None}
    return (*(_text(AT_A_COVERAGE, {"coverage": coverage, "delta": delta}) for delta in deltas), *uncertified(texts))


def uncertified(texts: Sequence[str]) -> tuple[str, ...]:
    """The policies but for those that would be certified anew."""
    return tuple(text for text in texts if call_of(text).name not in {*AT_A_RISK, AT_A_COVERAGE})


def _text(name: str, fields: dict[str, Any]) -> str:
    """A name with its target first and the level written out."""
    target = next(key for key in ("risk", "coverage") if key in fields)
    rest = {key: value for key, value in fields.items() if key not in {target, "delta"}}
    others = canonical(name, rest).removeprefix(name)[1:-1]
    first = f"{target}={fields[target]:.8g}, delta={fields.get('delta', DELTA):.8g}"
    return f"{name}({', '.join(filter(None, [first, others]))})"
