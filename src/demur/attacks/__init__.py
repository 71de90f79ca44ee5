"""Attacks: each is one class with the hyper-parameters for fields, run on rows by `execute` and called on images.

Every registered class is here by its name, imported when it is first used: `from demur.attacks import PGD`.
"""

from typing import Any

from demur.registry import class_names, public_class


def __getattr__(name: str) -> Any:
    return public_class("attack", __name__, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *class_names("attack")})
