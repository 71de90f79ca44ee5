"""How a name becomes a class: the tables first, then what installed packages add by entry points.

A package adds a name by an entry point in the group of its kind, such as `demur.signals`. A name of demur's own is
never changed by a package, and a package that is broken breaks nothing but its own names.
"""

import importlib
import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, is_dataclass
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any

from demur.containment import contained
from demur.errors import TORCH_EXTRA, InputError, needing_torch, unknown
from demur.foreign import reason
from demur.registry.call_syntax import Call
from demur.registry.tables import CENTRED, MARKED, TABLES

GROUPS: Mapping[str, str] = {
    "attack": "demur.attacks",
    "corruption": "demur.corruptions",
    "data": "demur.data",
    "map": "demur.maps",
    "model": "demur.models",
    "policy": "demur.policies",
    "signal": "demur.signals",
}
"""Entry point group of each kind that packages may add to."""

_SAME_PLACE: Mapping[str, tuple[str, ...]] = dict.fromkeys(("attack", "corruption"), ("attack", "corruption"))
"""Kinds that are named in one place of a plan, so that a name must mean one thing among them all."""

_RESERVED: Mapping[str, frozenset[str]] = {
    **dict.fromkeys(("attack", "corruption"), frozenset({"clean"})),
    "map": frozenset({CENTRED, MARKED}),
}

_ADDRESS_KINDS = frozenset({"data", "model"})
"""Kinds whose names are schemes of addresses, and stand for a function and no class."""

_BARE_NAME = re.compile(r"[a-z][a-z0-9_]*")
_SCHEME = re.compile(r"[a-z][a-z0-9_-]*")


@dataclass(frozen=True)
class PlugIn:
    """A name that an installed package adds; `line` is its `"module:Class"`."""

    kind: str
    name: str
    line: str
    package: str
    version: str

    def __str__(self) -> str:
        return f"{self.package} {self.version}"


def plug_ins(kind: str) -> tuple[PlugIn, ...]:
    """What installed packages add to a kind, by name; refused ones are among them."""
    places = tuple((place, _modified(place or ".")) for place in sys.path)
    return tuple(each for each in _installed(places) if each.kind == kind)


def refusal(plug_in: PlugIn) -> str | None:
    """Why a plug-in's name cannot be used; None where it can."""
    kind, name = plug_in.kind, plug_in.name
    kinds = _SAME_PLACE.get(kind, (kind,))
    if any(name in TABLES[each] for each in kinds) or name in _RESERVED.get(kind, ()):
        return f"{name!r} is a name of demur's own, and no package changes what it means"
    if not (_SCHEME if kind in _ADDRESS_KINDS else _BARE_NAME).fullmatch(name):
        return f"{name!r} cannot be written in a plan: a name has small letters, digits and _, and starts with a letter"
    others = [each for one in kinds for each in plug_ins(one) if each.name == name and each != plug_in]
    if others:
        where = " and ".join(sorted({str(each) for each in (plug_in, *others)}))
        return f"{name!r} is added more than once, by {where}: uninstall one of them"
    return None


def names(kind: str) -> tuple[str, ...]:
    """Every name of a kind that can be used, sorted."""
    return tuple(sorted({*TABLES[kind], *(each.name for each in plug_ins(kind) if refusal(each) is None)}))


def kind_of(name: str, *kinds: str) -> str | None:
    """The first of some kinds that has a name; installed packages are asked for names that no table has."""
    own = (kind for kind in kinds if name in TABLES[kind])
    return next(own, None) or next((kind for kind in kinds if _plug_in(kind, name)), None)


def lookup(kind: str, name: str) -> str:
    """The `"module:Class"` line of a name.

    Raises:
        UnknownNameError: nobody has it; the nearest known one is offered.
        InputError: a package has it and it was refused.
    """
    if name in TABLES[kind]:
        return TABLES[kind][name]
    found = _plug_in(kind, name)
    if found is None:
        raise unknown(kind, name, names(kind))
    why = refusal(found)
    if why is not None:
        raise InputError(f"the {kind} {name!r} of {found} cannot be used: {why}.")
    return found.line


def resolve(kind: str, name: str) -> Any:
    """The class or factory a name stands for; this imports its module.

    Raises:
        MissingExtraError: it needs torch, which is not installed.
        InputError: it belongs to a package and cannot be loaded.
    """
    module, _, attribute = lookup(kind, name).partition(":")
    with needing_torch(f"the {kind} {name!r}"):
        if name in TABLES[kind]:
            return getattr(importlib.import_module(module), attribute)
        return _loaded(kind, name, module, attribute)


def name_of_class(kind: str, thing: type) -> str | None:
    """The name of a class among those of a kind; None where it has none."""
    line = f"{thing.__module__}:{thing.__qualname__}"
    own = next((name for name, known in TABLES[kind].items() if known == line), None)
    return own or next((each.name for each in plug_ins(kind) if _is(each, thing)), None)


def class_names(kind: str) -> Mapping[str, str]:
    """Class → registered name of demur's own of a kind: what its room gives out as `demur.signals.Energy`."""
    return {line.partition(":")[2]: name for name, line in TABLES[kind].items()}


def public_class(kind: str, room: str, attribute: str) -> Any:
    """The registered class that a room is asked for as an attribute.

    Raises:
        AttributeError: nothing of demur's own of this kind has such a class.
    """
    known = class_names(kind)
    if attribute not in known:
        raise AttributeError(f"module {room!r} has no attribute {attribute!r}")
    return resolve(kind, known[attribute])


def packages(calls: Iterable[Call]) -> dict[str, str]:
    """Version of each package that adds one of these names, or a name inside one of them."""
    found = {name for call in calls for name in _names_in(call)}
    added = (each for kind in GROUPS for each in plug_ins(kind) if each.name in found and refusal(each) is None)
    return {each.package: each.version for each in added}


@lru_cache(maxsize=8)
def _installed(_places: tuple[tuple[str, int], ...]) -> tuple[PlugIn, ...]:
    """Everything on the path; the path and the age of its folders are the key, so that an install is noticed."""
    found = []
    for kind, group in GROUPS.items():
        for point in entry_points(group=group):
            package, version = (point.dist.name, point.dist.version) if point.dist else ("an unknown package", "?")
            found.append(PlugIn(kind, point.name, point.value.replace(" ", ""), package, version))
    return tuple(sorted(found, key=lambda each: (each.kind, each.name, each.package)))


def _modified(place: str) -> int:
    try:
        return os.stat(place).st_mtime_ns  # noqa: PTH116 - asked of every place on the path, for every unknown name
    except OSError:
        return 0


def _plug_in(kind: str, name: str) -> PlugIn | None:
    """Who adds a name; if several do, `refusal` says so of each."""
    return next((each for each in plug_ins(kind) if each.name == name), None)


def _loaded(kind: str, name: str, module: str, attribute: str) -> Any:
    found = _plug_in(kind, name)
    whose = f"the {kind} {name!r} of {found}"
    try:
        with contained():
            thing = getattr(importlib.import_module(module), attribute)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # importing runs code of others, which may even ask for the end of the process
        if isinstance(error, ModuleNotFoundError) and error.name in TORCH_EXTRA:
            raise
        raise InputError(f"{whose} cannot be loaded ({reason(error)}). Mend or uninstall that package.") from error
    if kind not in _ADDRESS_KINDS and not (isinstance(thing, type) and is_dataclass(thing)):
        raise InputError(f"{whose} must be a frozen dataclass; got {thing!r}. Name the class in its entry point.")
    return thing


def _is(plug_in: PlugIn, thing: type) -> bool:
    """Whether a plug-in stands for a class; one whose module was never imported stands for no class at hand."""
    module, _, attribute = plug_in.line.partition(":")
    return getattr(sys.modules.get(module), attribute, None) is thing and refusal(plug_in) is None


def _names_in(value: Any) -> set[str]:
    if isinstance(value, Call):
        return {value.name}.union(*(_names_in(each) for each in value.fields.values()))
    return set().union(*(_names_in(each) for each in value)) if isinstance(value, list) else set()
