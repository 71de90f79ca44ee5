"""Signals as plain JSON values and tensors, and back, each field by its declared type.

Nothing in a file names code to import: a signal goes by its registered name, and what it is made of by the types that
the fields of its class declare.
"""

import dataclasses
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
import torch
from jaxtyping import AbstractArray
from torch import Tensor

from demur.errors import InputError
from demur.registry import lookup, names, resolve
from demur.registry.lookup import name_of_class
from demur.signals import AnySignal, Fittable, Signal
from demur.signals.estimator_slopes import Estimator

_SIGNALS = (Signal, Fittable, AnySignal)
_NUMBERS = {"nan", "inf", "-inf"}
"""How JSON says the numbers that it does not have."""


@dataclass(frozen=True)
class Contents:
    """What is no JSON: tensors by key, each contiguous and on the CPU, and estimators by their number.

    Written once, while signals are taken apart; `used` has the keys of the tensors that were put into signals again.
    """

    tensors: dict[str, Tensor] = field(default_factory=dict)
    estimators: list[Any] = field(default_factory=list)
    used: set[str] = field(default_factory=set)


def signal_to_plain(signal: AnySignal, where: str, contents: Contents) -> dict[str, Any]:
    """A signal, fitted or not, as JSON values; its tensors and estimators go into `contents`.

    Raises:
        InputError: its class has no registered name, or a field no type that can be written.
    """
    name, fitted = _registered(signal, where)
    return {"signal": name, "fitted": fitted, "fields": _fields_to_plain(signal, where, contents)}


def signal_from_plain(plain: Any, where: str, contents: Contents) -> AnySignal:
    """The signal that `signal_to_plain` took apart.

    Raises:
        InputError: a field is missing, foreign or of another type than its class declares.
        UnknownNameError: nothing is registered under its name.
    """
    parts = _only(plain, {"signal", "fitted", "fields"}, where)
    made = resolve("signal", _typed(parts["signal"], str, f"{where}.signal"))
    if _typed(parts["fitted"], bool, f"{where}.fitted"):
        made = _fitted_class(made)
        if made is None:
            raise _bad(where, f"the fitted form of {parts['signal']!r}", "a signal that is not fitted")
    return _fields_from_plain(made, parts["fields"], where, contents)


def _registered(signal: AnySignal, where: str) -> tuple[str, bool]:
    """The name under which a signal, or what it was fitted from, is registered, and whether it is fitted."""
    own = type(signal)
    name = name_of_class("signal", own)
    if name is not None:
        return name, False
    for name in _nearby(own.__module__):
        if _fitted_class(resolve("signal", name)) is own:
            return name, True
    raise InputError(
        f"{where}: {own.__qualname__} can be saved only if it, or the class whose `fit` is annotated to return it, is "
        f"registered as a signal of the module {own.__module__}. Register it, or annotate `fit`."
    )


def _nearby(module: str) -> Iterator[str]:
    """Names of signals in a module; of another package's all, since it may show its classes anywhere."""
    package = module.partition(".")[0]
    for name in names("signal"):
        place = lookup("signal", name).partition(":")[0]
        if place == module or (package != "demur" and place.partition(".")[0] == package):
            yield name


def _fitted_class(made: Any) -> Any:
    fit = getattr(made, "fit", None)
    returned = get_type_hints(fit).get("return") if fit is not None else None
    return returned if dataclasses.is_dataclass(returned) else None


def _fields_to_plain(thing: Any, where: str, contents: Contents) -> dict[str, Any]:
    return {
        name: _to_plain(hint, getattr(thing, name), f"{where}.{name}", contents)
        for name, hint in _declared(type(thing)).items()
    }


def _fields_from_plain(made: Any, plain: Any, where: str, contents: Contents) -> Any:
    declared = _declared(made)
    values = _only(plain, set(declared), where)
    given = {name: _from_plain(hint, values[name], f"{where}.{name}", contents) for name, hint in declared.items()}
    try:
        return made(**given)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error


def _declared(made: Any) -> dict[str, Any]:
    """The fields of a dataclass and their types."""
    hints = get_type_hints(made)
    return {each.name: hints[each.name] for each in dataclasses.fields(made)}


def _bad(where: str, wanted: str, found: object) -> InputError:
    return InputError(f"{where} must be {wanted}; found {str(found)[:60]}.")


def _typed(value: Any, kind: type, where: str) -> Any:
    if type(value) is not kind:
        raise _bad(where, f"of type {kind.__name__}", repr(value))
    return value


def _only(plain: Any, wanted: set[str], where: str) -> Mapping[str, Any]:
    found = _typed(plain, dict, where)
    if found.keys() != wanted:
        raise _bad(where, f"exactly {', '.join(sorted(wanted)) or 'empty'}", ", ".join(sorted(found)) or "nothing")
    return found


Write = Callable[[Any, Any, str, Contents], Any]
"""(declared type, value or plain value, where it stands, contents) → the other of the two."""


def _to_plain(hint: Any, value: Any, where: str, contents: Contents) -> Any:
    return _form(hint, where).write(hint, value, where, contents)


def _from_plain(hint: Any, plain: Any, where: str, contents: Contents) -> Any:
    return _form(hint, where).read(hint, plain, where, contents)


@dataclass(frozen=True)
class Form:
    """How values of some declared types are written and read."""

    fits: Callable[[Any], bool]
    write: Write
    read: Write


def _form(hint: Any, where: str) -> Form:
    for form in FORMS:
        if form.fits(hint):
            return form
    raise InputError(
        f"{where}: a field declared as {hint} cannot be saved. Declare a number, text, bool, tensor, array, tuple, "
        "mapping by text, dataclass, signal or scikit-learn estimator."
    )


def _is_scalar(hint: Any) -> bool:
    return hint in (bool, int, float, str, type(None)) or get_origin(hint) is Literal


def _write_scalar(hint: Any, value: Any, where: str, contents: Contents) -> Any:
    plain = str(value) if isinstance(value, float) and str(value) in _NUMBERS else value
    _read_scalar(hint, plain, where, contents)
    return plain


def _read_scalar(hint: Any, plain: Any, where: str, _contents: Contents) -> Any:
    if hint is float and (type(plain) is int or (isinstance(plain, str) and plain in _NUMBERS)):
        return float(plain)
    if get_origin(hint) is Literal:
        if plain not in get_args(hint):
            raise _bad(where, f"one of {', '.join(map(str, get_args(hint)))}", repr(plain))
        return plain
    return _typed(plain, hint, where)


def _choices(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) and hint not in _SIGNALS else ()


def _write_union(hint: Any, value: Any, where: str, contents: Contents) -> Any:
    """`X | None`, or text or something else."""
    return _to_plain(_chosen(hint, value, where), value, where, contents)


def _read_union(hint: Any, plain: Any, where: str, contents: Contents) -> Any:
    return _from_plain(_chosen(hint, plain, where), plain, where, contents)


def _chosen(hint: Any, value: Any, where: str) -> Any:
    plain = [each for each in _choices(hint) if each in (type(None), str) and isinstance(value, each)]
    others = [each for each in _choices(hint) if each not in (type(None), str)]
    if not plain and not others:
        raise _bad(where, "text or null", repr(value))
    return (plain or others)[0]


def _items(hint: Any, count: int, where: str) -> Iterator[Any]:
    declared = get_args(hint)
    if declared[1:] == (...,):
        return iter(declared[:1] * count)
    if len(declared) != count:
        raise _bad(where, f"{len(declared)} values", count)
    return iter(declared)


def _write_tuple(hint: Any, value: Any, where: str, contents: Contents) -> Any:
    pairs = zip(_items(hint, len(value), where), value, strict=True)
    return [_to_plain(kind, each, f"{where}.{n}", contents) for n, (kind, each) in enumerate(pairs)]


def _read_tuple(hint: Any, plain: Any, where: str, contents: Contents) -> Any:
    pairs = zip(_items(hint, len(_typed(plain, list, where)), where), plain, strict=True)
    return tuple(_from_plain(kind, each, f"{where}.{n}", contents) for n, (kind, each) in enumerate(pairs))


def _write_mapping(hint: Any, value: Any, where: str, contents: Contents) -> Any:
    keys = [_typed(key, str, f"{where}: a key") for key in value]
    return {key: _to_plain(get_args(hint)[1], value[key], f"{where}.{key}", contents) for key in keys}


def _read_mapping(hint: Any, plain: Any, where: str, contents: Contents) -> Any:
    found = _typed(plain, dict, where)
    return {key: _from_plain(get_args(hint)[1], each, f"{where}.{key}", contents) for key, each in found.items()}


def _is_tensor(hint: Any) -> bool:
    return hint is Tensor or (isinstance(hint, type) and issubclass(hint, AbstractArray))


def _write_tensor(hint: Any, value: Any, where: str, contents: Contents) -> Any:
    if not isinstance(value, hint):
        raise _bad(where, f"a {hint.__name__}", type(value).__name__)
    order = sorted(range(value.ndim), key=lambda axis: -value.stride(axis))
    contents.tensors[where] = value.detach().cpu().permute(order).clone(memory_format=torch.contiguous_format)
    return {"tensor": where, "dtype": str(value.dtype), "shape": list(value.shape), "order": order}


def _read_tensor(hint: Any, plain: Any, where: str, contents: Contents) -> Any:
    """Laid out in memory as it was, for the last bits of a product depend on that."""
    parts = _only(plain, {"tensor", "dtype", "shape", "order"}, where)
    key, order = _typed(parts["tensor"], str, where), parts["order"]
    if key not in contents.tensors:
        raise _bad(where, f"the tensor {key!r} of the file of tensors", "none of that name")
    stored = contents.tensors[key]
    if (
        not isinstance(order, list)
        or {*map(repr, order)} != {*map(repr, range(len(order)))}
        or len(order) != stored.ndim
    ):
        raise _bad(f"{where}.order", f"an order of {stored.ndim} axes", order)
    value = stored.clone().permute([order.index(axis) for axis in range(stored.ndim)])
    for name, wanted, found in (("dtype", parts["dtype"], str(value.dtype)), ("shape", parts["shape"], [*value.shape])):
        if wanted != found:
            raise _bad(f"{where}: the {name} of its tensor", str(wanted), found)
    if not isinstance(value, hint):
        raise _bad(where, f"a {hint.__name__}", f"{value.dtype} of the shape {tuple(value.shape)}")
    contents.used.add(key)
    return value


def _write_array(_hint: Any, value: Any, where: str, contents: Contents) -> Any:
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "fib":
        raise _bad(where, "an array of numbers", type(value).__name__)
    return _write_tensor(Tensor, torch.from_numpy(value), where, contents)


def _read_array(_hint: Any, plain: Any, where: str, contents: Contents) -> Any:
    return _read_tensor(Tensor, plain, where, contents).numpy()


def _write_estimator(_hint: Any, value: Any, where: str, contents: Contents) -> Any:
    if not isinstance(value, Estimator):
        raise _bad(where, "a scikit-learn classifier", type(value).__name__)
    contents.estimators.append(value)
    return {"estimator": len(contents.estimators) - 1}


def _read_estimator(_hint: Any, plain: Any, where: str, contents: Contents) -> Any:
    number = _typed(_only(plain, {"estimator"}, where)["estimator"], int, where)
    if not 0 <= number < len(contents.estimators) or not isinstance(contents.estimators[number], Estimator):
        raise _bad(where, f"the estimator {number} of the file of estimators", f"{len(contents.estimators)} of them")
    contents.used.add(f"estimator {number}")
    return contents.estimators[number]


FORMS = (
    Form(_is_scalar, _write_scalar, _read_scalar),
    Form(
        lambda hint: hint in _SIGNALS,
        lambda _, value, where, contents: signal_to_plain(value, where, contents),
        lambda _, plain, where, contents: signal_from_plain(plain, where, contents),
    ),
    Form(lambda hint: bool(_choices(hint)), _write_union, _read_union),
    Form(lambda hint: get_origin(hint) is tuple, _write_tuple, _read_tuple),
    Form(lambda hint: get_origin(hint) in (dict, Mapping), _write_mapping, _read_mapping),
    Form(_is_tensor, _write_tensor, _read_tensor),
    Form(lambda hint: get_origin(hint) is np.ndarray, _write_array, _read_array),
    Form(lambda hint: hint is Estimator, _write_estimator, _read_estimator),
    Form(
        dataclasses.is_dataclass,
        lambda _, value, where, contents: _fields_to_plain(value, where, contents),
        lambda hint, plain, where, contents: _fields_from_plain(hint, plain, where, contents),
    ),
)
"""Asked in this order; the first that fits a declared type writes and reads its values."""
