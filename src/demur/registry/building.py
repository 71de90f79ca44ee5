"""From a name to the thing it describes, and back."""

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

from demur.errors import InputError, UnknownNameError, brief, unknown
from demur.foreign import blamed
from demur.registry.call_syntax import Call, call_of, canonical
from demur.registry.lookup import lookup, name_of_class, resolve

_MOST = 1_000_000

KIND = "kind"
"""The key of a field's metadata that says of which kind the name is that it takes."""


def registered_as(kind: str) -> Mapping[str, str]:
    """Metadata of a dataclass field that takes a registered thing, or a tuple of them: `tempered(signal=energy)`."""
    return {KIND: kind}


NAMED = "named"
"""The key of a field's metadata that says of which kind the thing is whose name it keeps as text."""


def named_as(kind: str) -> Mapping[str, str]:
    """Metadata of a field that keeps the name of a registered thing, bare or quoted: `threshold(signal=energy)`."""
    return {NAMED: kind}


def build(kind: str, text: str | Call) -> Any:
    """The thing a canonical name describes, such as `build("signal", "energy(temperature=2)")`.

    Raises:
        UnknownNameError: the name or one of its fields is unknown; the nearest known one is offered.
        InputError: a field's value breaks its rule.
    """
    call = call_of(text)
    factory = resolve(kind, call.name)
    known = {field.name: field for field in dataclasses.fields(factory)}
    given = {}
    for name, value in call.fields.items():
        if name not in known:
            raise UnknownNameError(f"{kind} {call.name!r}: {unknown('field', name, known)}")
        given[name] = _made(known[name], value, f"{kind} {call.name!r}")
    for name, field in known.items():
        if field.default is dataclasses.MISSING and name not in call.fields:
            raise InputError(f"{kind} {call.name!r} needs a value for `{name}`. Write {call.name}({name}=…).")
    with blamed():
        return factory(**given)


def describe(name: str, thing: Any, **extra: Any) -> str:
    """The canonical text of a registered dataclass instance: its fields that differ from their defaults, and extras.

    >>> describe("energy", build("signal", "energy(temperature=2)"))
    'energy(temperature=2)'
    """
    return canonical(name, {**changed_fields(thing), **extra})


def description(kind: str, name: str) -> str:
    """What a name stands for: its fields with their defaults, those without one first, and the docstring.

    Raises:
        UnknownNameError: the name is unknown; the nearest known one is offered.
    """
    named = resolve(kind, name)
    fields = dataclasses.fields(named) if dataclasses.is_dataclass(named) else ()
    needed = [each.name for each in fields if each.default is dataclasses.MISSING]
    others = {each.name: _field_value(each, each.default) for each in fields if each.name not in needed}
    shown = canonical(name, others)
    if needed:
        inside = shown[len(name) + 1 : -1] if others else ""
        shown = f"{name}({', '.join([*(f'{each}=…' for each in needed), *filter(None, [inside])])})"
    return f"{shown}\n\n{inspect.getdoc(named)}"


def name_of(kind: str, thing: Any) -> str:
    """The canonical text of an instance whose name is not at hand."""
    return str(_called(kind, thing))


def changed_fields(thing: Any) -> dict[str, Any]:
    """The fields of a registered dataclass instance that differ from their defaults, as its name has them."""
    return {
        field.name: _field_value(field, getattr(thing, field.name))
        for field in dataclasses.fields(thing)
        if getattr(thing, field.name) != field.default
    }


def _field_value(field: Any, value: Any) -> Any:
    kind = field.metadata.get(KIND)
    if kind is None:
        return value
    return [_called(kind, each) for each in value] if isinstance(value, tuple) else _called(kind, value)


def _called(kind: str, thing: Any) -> Call:
    name = name_of_class(kind, type(thing))
    if name is None:
        raise InputError(
            f"{type(thing).__module__}:{type(thing).__qualname__} has no name among the {kind}s, "
            "so no plan can name it. Add it to the registry's table, or to the entry points of its package."
        )
    return Call(name, changed_fields(thing))


def _made(field: Any, value: Any, where: str) -> Any:
    """The value of a field as its class wants it; lists become tuples, nested names what they describe."""
    many = get_origin(field.type) is tuple
    wanted = get_args(field.type)[0] if many else Call if Call in get_args(field.type) else field.type
    kind, named = field.metadata.get(KIND), field.metadata.get(NAMED)
    if named and isinstance(value, Call):
        lookup(named, value.name)
        value = str(value)
    values = value if many and isinstance(value, list) else [value]
    if many != isinstance(value, list) or not all(_fits(each, wanted, kind) for each in values):
        types = " or ".join(each.__name__ for each in get_args(wanted) or [wanted])
        name = "a name" if wanted is Call else f"of type {types}"
        name = f"the name of {'an' if kind[0] in 'aeiou' else 'a'} {kind}" if kind else name
        said = f"a list, each {name}" if many else name
        raise InputError(f"{where}: `{field.name}` must be {said}; got {brief(_written(value))}.")
    counts = [each for each in values if wanted is int and field.name != "seed"]
    if any(each > _MOST for each in counts):
        raise InputError(
            f"{where}: `{field.name}` must be at most {_MOST:,}; got {max(counts):,}. Give a smaller number."
        )
    made = [build(kind, each) for each in values] if kind else values
    return tuple(made) if many else made[0]


def _fits(value: object, wanted: Any, kind: str | None) -> bool:
    """Whether a value is of a field's type; a whole number passes for a float, a bool for no number."""
    if kind is not None or wanted is Call or isinstance(value, Call):
        return (kind is not None or wanted is Call) and isinstance(value, Call)
    if isinstance(value, bool):
        return wanted is bool
    if get_origin(wanted) is Literal:  # which of them it may be is the class's to say
        return isinstance(value, str)
    return isinstance(value, wanted) or (isinstance(value, int) and isinstance(float(value), wanted))


def _written(value: object) -> str:
    return str(value) if isinstance(value, Call) else repr(value)
