"""Certificates of every kind from the plain JSON values that they were stored as."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from demur.errors import InputError
from demur.policies.certificate import Certificate, Pool
from demur.policies.class_certificate import ClassCertificate, ClassCount
from demur.policies.coverage_bound import CoverageBound
from demur.policies.look import Look
from demur.policies.second_threshold import SecondThreshold
from demur.policies.site_certificate import SiteCertificate, SiteCount
from demur.policies.tolerance import Tolerance

Built = TypeVar("Built")
Loader = Callable[[Any], Any]


def load_certificate(stored: object) -> Certificate:
    """The guarantee about all answers together.

    Raises:
        InputError: its fields, or those of a part, are not the ones it has.
    """
    if isinstance(stored, Mapping):
        stored = {"second": None, **stored}  # those of earlier versions have one threshold
    return _load("certificate", Certificate, stored, {**_MADE, "pool": _pool, "second": _second})


def load_class_certificate(stored: object) -> ClassCertificate:
    """The guarantee about each class. Raises InputError as `load_certificate` does."""
    return _load("certificate by class", ClassCertificate, stored, {**_MADE, "classes": _class_counts})


def load_site_certificate(stored: object) -> SiteCertificate:
    """The guarantee about each site. Raises InputError as `load_certificate` does."""
    return _load("certificate by site", SiteCertificate, stored, {"sites": _site_counts, "refused": _reasons})


def _look(stored: object) -> Look:
    return build_stored("look", Look, stored)


def _coverage(stored: object) -> CoverageBound:
    return build_stored("bound on coverage", CoverageBound, stored)


_MADE: Mapping[str, Loader] = {"tolerance": Tolerance.load, "look": _look, "coverage": _coverage}


def _pool(stored: object) -> Pool | None:
    if stored is None:
        return None
    return _load("pool of images", Pool, stored, {"image_risk": lambda ends: tuple(_entries("image risk", ends))})


def _second(stored: object) -> SecondThreshold | None:
    if stored is None:
        return None
    return _load("second threshold", SecondThreshold, stored, {"tolerance": Tolerance.load})


def _class_counts(stored: object) -> tuple[ClassCount, ...]:
    return tuple(build_stored("count of a class", ClassCount, each) for each in _entries("classes", stored))


def _site_counts(stored: object) -> tuple[SiteCount, ...]:
    parts = {"certificate": load_certificate}
    found = tuple(_load("count of a site", SiteCount, each, parts) for each in _entries("sites", stored))
    if not found:
        raise InputError("a stored certificate by site must have a site; it has none.")
    return found


def _reasons(stored: object) -> dict[str, str]:
    if not isinstance(stored, Mapping):
        raise InputError(f"refused sites of a stored certificate are names with a reason; got {stored!r:.80}.")
    return {str(site): str(reason) for site, reason in stored.items()}


def _entries(what: str, stored: object) -> list[Any]:
    if not isinstance(stored, list | tuple):
        raise InputError(f"{what} of a stored certificate must be a list; got {stored!r:.80}.")
    return list(stored)


def _load(what: str, cls: type[Built], stored: object, loaders: Mapping[str, Loader]) -> Built:
    """A stored object some of whose fields are objects themselves."""
    if not isinstance(stored, Mapping):
        return build_stored(what, cls, stored)
    parts = {name: loader(stored.get(name)) for name, loader in loaders.items() if name in stored}
    return build_stored(what, cls, {**stored, **parts})


def build_stored(what: str, cls: type[Built], stored: object) -> Built:
    """An instance of a dataclass from exactly its fields.

    Raises:
        InputError: there are other fields, or it is no object at all.
    """
    wanted: Any = cls
    names = {field.name for field in dataclasses.fields(wanted)}
    if not isinstance(stored, Mapping) or set(stored) != names:
        found = ", ".join(sorted(stored)) if isinstance(stored, Mapping) else repr(stored)
        raise InputError(f"cannot read a stored {what}: it must have exactly {', '.join(sorted(names))}; got {found}.")
    return cls(**stored)
