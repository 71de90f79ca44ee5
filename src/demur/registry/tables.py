"""The tables, and how a line of one becomes a class."""

import dataclasses
import importlib
from collections.abc import Mapping
from typing import Any

from demur.errors import InputError, UnknownNameError, unknown
from demur.registry.names import Call, parse

ATTACKS: Mapping[str, str] = {
    "fgsm": "demur.attacks.fgsm:FGSM",
    "fmn": "demur.attacks.fmn:FMN",
    "pgd": "demur.attacks.pgd:PGD",
}

CORRUPTIONS: Mapping[str, str] = {
    "gaussian_blur": "demur.corruptions.gaussian_blur:GaussianBlur",
    "gaussian_noise": "demur.corruptions.gaussian_noise:GaussianNoise",
    "low_light": "demur.corruptions.low_light:LowLight",
}

SIGNALS: Mapping[str, str] = {
    "energy": "demur.signals.energy:Energy",
    "entropy": "demur.signals.entropy:Entropy",
    "margin": "demur.signals.margin:Margin",
    "max_logit": "demur.signals.max_logit:MaxLogit",
    "msp": "demur.signals.msp:MSP",
}

POLICIES: Mapping[str, str] = {
    "certified": "demur.policies.certified:Certified",
    "rule": "demur.policies.rule:Rule",
    "threshold": "demur.policies.threshold:Threshold",
}

DATA: Mapping[str, str] = {
    "cifar10": "demur.data.cifar10:open_source",
    "csv": "demur.data.csv_file:open_source",
    "digits": "demur.data.digits:open_source",
    "elpv": "demur.data.elpv:open_source",
    "fashion": "demur.data.fashion:open_source",
    "folder": "demur.data.folder:open_source",
    "idx": "demur.data.idx:open_source",
    "npz": "demur.data.npz:open_source",
    "parquet": "demur.data.parquet:open_source",
    "tiny-imagenet": "demur.data.tiny_imagenet:open_source",
}

ZOO: Mapping[str, str] = {
    "compact_resnet": "demur.zoo.compact_resnet:CompactResNet",
    "resnet20": "demur.zoo.resnet:resnet20",
    "resnet56": "demur.zoo.resnet:resnet56",
    "simple_cnn": "demur.zoo.simple_cnn:SimpleCNN",
}

MODELS: Mapping[str, str] = {
    "fashion": "demur.adapters.shipped:load",
    "module": "demur.adapters.module:load",
    "zoo": "demur.adapters.zoo:load",
}

RECIPES: Mapping[str, str] = {
    "standard": "demur.harden.standard:Standard",
}

TABLES: Mapping[str, Mapping[str, str]] = {
    "attack": ATTACKS,
    "corruption": CORRUPTIONS,
    "data": DATA,
    "model": MODELS,
    "policy": POLICIES,
    "recipe": RECIPES,
    "signal": SIGNALS,
    "zoo": ZOO,
}


def names(kind: str) -> tuple[str, ...]:
    """Every known name of a kind, sorted."""
    return tuple(sorted(TABLES[kind]))


def lookup(kind: str, name: str) -> str:
    """The `"module:Class"` line of a name; an unknown name fails with the nearest known one."""
    try:
        return TABLES[kind][name]
    except KeyError:
        raise unknown(kind, name, TABLES[kind]) from None


def resolve(kind: str, name: str) -> Any:
    """The class or factory a name stands for; this imports its module."""
    module, _, attribute = lookup(kind, name).partition(":")
    return getattr(importlib.import_module(module), attribute)


def build(kind: str, text: str | Call) -> Any:
    """The thing a canonical name describes, such as `build("signal", "energy(temperature=2)")`.

    Raises:
        UnknownNameError: the name or one of its fields is unknown; the nearest known one is offered.
        InputError: a field's value breaks its rule.
    """
    call = parse(text) if isinstance(text, str) else text
    factory = resolve(kind, call.name)
    known = {field.name: field for field in dataclasses.fields(factory)}
    for name, value in call.fields.items():
        if name not in known:
            raise UnknownNameError(f"{kind} {call.name!r}: {unknown('field', name, known)}")
        if not _fits(value, known[name].type):
            wanted = getattr(known[name].type, "__name__", known[name].type)
            raise InputError(f"{kind} {call.name!r}: `{name}` must be of type {wanted}; got {value!r}.")
    for name, field in known.items():
        if field.default is dataclasses.MISSING and name not in call.fields:
            raise InputError(f"{kind} {call.name!r} needs a value for `{name}`. Write {call.name}({name}=…).")
    return factory(**call.fields)


def _fits(value: object, wanted: Any) -> bool:
    """Whether a value is of a field's type; a whole number passes for a float, a bool for no number."""
    if isinstance(value, bool):
        return wanted is bool
    return isinstance(value, wanted) or (isinstance(value, int) and isinstance(float(value), wanted))
