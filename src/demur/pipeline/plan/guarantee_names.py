"""What is to be guaranteed, written into the policies of a plan: another risk, or a coverage instead of a risk."""

from collections.abc import Sequence
from typing import Any

from demur.errors import InputError
from demur.policies import Capacity, Certified
from demur.registry import Call, call_of, canonical

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
    others = [{key: value for key, value in call.fields.items() if key in _CARRIED} for call in given] or [{}]
    return (
        *dict.fromkeys(_text(AT_A_COVERAGE, {**fields, "coverage": coverage}) for fields in others),
        *uncertified(texts),
    )


def uncertified(texts: Sequence[str]) -> tuple[str, ...]:
    """The policies but for those that would be certified anew."""
    return tuple(text for text in texts if call_of(text).name not in {*AT_A_RISK, AT_A_COVERAGE})


_CARRIED = ("delta", "second", "budget", "purpose")
"""What a guarantee at a risk and one at a coverage have in common."""


def with_attack_signal(texts: Sequence[str], signal: str) -> tuple[str, ...]:
    """The policies with a second threshold, on a signal of attacks, beside every one that is certified.

    Raises:
        InputError: nothing is certified, or in each class or at each site, where there are no second thresholds.
    """
    second, names = call_of(signal), {call_of(text).name for text in texts}
    apart = sorted(names & {*AT_A_RISK} - {"certified"})
    if apart or not names & {"certified", AT_A_COVERAGE}:
        found = f"the plan has {apart[0]}" if apart else "the plan certifies nothing"
        raise InputError(
            f"a second threshold, on {second}, stands beside one that is certified for all answers together; {found}. "
            "Name certified(risk=…) or capacity(coverage=…) in policies.use, or leave the attack signal out."
        )
    return tuple(_with_second(text, second) for text in texts)


def _with_second(text: str, second: Call) -> str:
    call = call_of(text)
    if call.name not in {"certified", AT_A_COVERAGE}:
        return text
    target = {"risk": Certified().risk} if call.name == "certified" else {"coverage": Capacity().coverage}
    return _text(call.name, {**target, **call.fields, "second": second, "purpose": "attack"})


def _text(name: str, fields: dict[str, Any]) -> str:
    """A name with its target first and the level written out."""
    target = next(key for key in ("risk", "coverage") if key in fields)
    rest = {key: value for key, value in fields.items() if key not in {target, "delta"}}
    others = canonical(name, rest).removeprefix(name)[1:-1]
    first = f"{target}={fields[target]:.8g}, delta={fields.get('delta', DELTA):.8g}"
    return f"{name}({', '.join(filter(None, [first, others]))})"
