"""How a contract is run: rule by rule, and the broken one is named."""

from collections.abc import Callable, Sequence
from typing import Any

from demur.registry import build, describe, kind_of, name_of, parse


def named(kind: str, given: Any) -> tuple[Any, str]:
    """The thing and what to call it; a name is looked up as a plan would, and the thing must survive its own name."""
    if not isinstance(given, str):
        return given, repr(given)
    thing, name = build(kind, given), parse(given).name
    assert kind_of(name, kind) is not None
    text = describe(name, thing)
    assert name_of(kind, thing) == text, f"{text} is called {name_of(kind, thing)} when it is written down"
    assert build(kind, text) == thing, f"{text} means another {kind} when it is read back"
    return thing, text


def check_rules(called: str, rules: Sequence[Callable[..., None]], *given: Any) -> None:
    """Run every rule on the same arguments; the message of a broken one begins with what it says."""
    for rule in rules:
        try:
            rule(*given)
        except AssertionError as error:
            sentence = (rule.__doc__ or rule.__name__).partition("\n")[0]
            raise AssertionError(f"{called} breaks the rule “{sentence}” {error}") from error


def hooks_on(module: Any) -> int:
    """How many hooks are left on a module and its parts."""
    return sum(len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules())  # noqa: SLF001 - torch tells it nowhere else
