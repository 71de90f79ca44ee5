"""The grammar of names: `pgd(eps=8/255, steps=40)`.

A name is `name` or `name(field=value, …)`; a value is a number, `a/b`, a string, a bool, a list of values or a nested
name. Text is parsed with Python's `ast`, literals and `/` only, and nothing is evaluated.
"""

import ast
import dataclasses
import math
import warnings
from collections.abc import Mapping
from typing import Any

from demur.errors import InputError, brief

_LONGEST = 10_000
_LARGEST = 2**53  # what a float still counts one by one


@dataclasses.dataclass(frozen=True)
class Call:
    """A parsed name: what it is called and the fields it was given."""

    name: str
    fields: Mapping[str, Any]

    def __str__(self) -> str:
        return canonical(self.name, self.fields)


class Name(str):
    """The text of a name, parsed when it was read, so that nobody has to parse it again."""

    __slots__ = ("call",)
    call: Call

    def __new__(cls, text: str) -> "Name":
        if isinstance(text, Name):
            return text
        name = str.__new__(cls, text)
        name.call = parse(text)
        return name


def call_of(text: str | Call) -> Call:
    """What a name parses to; text is parsed only where it was never read as a name before."""
    if isinstance(text, Call):
        return text
    return text.call if isinstance(text, Name) else parse(text)


def parse(text: str) -> Call:
    """Read a name.

    >>> parse("pgd(eps=[1/4, 1/2], steps=20)")
    Call(name='pgd', fields={'eps': [0.25, 0.5], 'steps': 20})
    """
    if len(text) > _LONGEST:
        raise _bad(text, f"it is longer than {_LONGEST:,} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's own, of what looks wrong to it
            return _call(ast.parse(text.strip(), mode="eval").body, text)
    except (SyntaxError, ValueError):  # the latter for a null byte
        raise _bad(text, "it does not parse") from None
    except (RecursionError, MemoryError):
        raise _bad(text, "it is nested too deep") from None


def canonical(name: str, fields: Mapping[str, Any]) -> str:
    """The one text of a name: fields sorted; pass only the fields that differ from their defaults.

    >>> canonical("pgd", {"steps": 20, "eps": 0.25})
    'pgd(eps=0.25, steps=20)'
    """
    if not fields:
        return name
    return f"{name}({', '.join(f'{key}={_show(fields[key])}' for key in sorted(fields))})"


def _show(value: Any) -> str:
    if isinstance(value, Call):
        return str(value)
    if isinstance(value, float):
        rounded = value if value.is_integer() else float(f"{value:.8g}")
        return f"{int(rounded)}.0" if rounded.is_integer() else f"{value:.8g}"
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_show(item) for item in value)}]"
    return repr(value)


def _call(node: ast.expr, text: str) -> Call:
    if isinstance(node, ast.Name):
        return Call(node.id, {})
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
        raise _bad(text, "it is not a name")
    if node.args:
        raise _bad(text, "every value needs its field's name")
    fields = {}
    for keyword in node.keywords:
        if keyword.arg is None or keyword.arg in fields:
            raise _bad(text, "a field is given twice or not named")
        fields[keyword.arg] = _value(keyword.value, text)
    return Call(node.func.id, fields)


def _value(node: ast.expr, text: str) -> Any:
    match node:
        case ast.Constant(value=float(number)):
            return _finite(number, text)
        case ast.Constant(value=bool() | int() | str()):
            return _bounded(node.value, text)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_number(operand, text)
        case ast.BinOp(op=ast.Div(), left=left, right=right):
            return _quotient(_number(left, text), _number(right, text), text)
        case ast.List(elts=items):
            return [_value(item, text) for item in items]
        case ast.Name(id="true" | "false" as said):  # as in the TOML around it
            return said == "true"
        case ast.Name() | ast.Call():
            return _call(node, text)
        case _:
            raise _bad(text, "a value is neither a number, a/b, string, bool, list nor name")


def _quotient(above: float, below: float, text: str) -> float:
    if below == 0:
        raise _bad(text, "it divides by zero")
    return _finite(above / below, text)


def _number(node: ast.expr, text: str) -> float:
    value = _value(node, text)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _bad(text, "arithmetic takes numbers only")
    return value


def _bounded(value: Any, text: str) -> Any:
    if isinstance(value, int) and abs(value) > _LARGEST:
        raise _bad(text, f"a whole number is larger than {_LARGEST:,}")
    return value


def _finite(number: float, text: str) -> float:
    if not math.isfinite(number):
        raise _bad(text, "a number is not finite")
    return number


def _bad(text: str, why: str) -> InputError:
    return InputError(f"cannot read the name {brief(text)!r}: {why}. Names look like pgd(eps=8/255, steps=40).")
