"""TOML as plans need it: read with limits, set key by key, written in one spelling."""

import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from demur.errors import InputError, brief
from demur.registry.regular_files import MIB, content_of, reason

_DEEPEST = 12
_PART = re.compile(r'"([^"]*)"|([^."]+)')


def read_toml(path: Path) -> dict[str, Any]:
    """A plan's file as tables.

    Raises:
        InputError: it cannot be read, or is not TOML.
    """
    try:
        return tomllib.loads(content_of(path, MIB).decode("utf-8"))
    except OSError as error:
        raise InputError(f"cannot read the plan {path}: {reason(error)}. Check the path.") from None
    except ValueError as error:  # of TOML, of UTF-8, and of numbers with thousands of digits
        raise InputError(f"the plan {path} is not valid TOML: {brief(str(error))}. Correct it.") from None
    except RecursionError:
        raise _too_deep(f"the plan {path}") from None


def _too_deep(what: str) -> InputError:
    return InputError(f"{what} is nested more than {_DEEPEST} deep; a plan has tables and lists of names. Correct it.")


def literal(text: str) -> Any:
    """What a value means in TOML; text where it means nothing there."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def check_depth(tree: Mapping[str, Any]) -> None:
    """Refuse what is nested deeper than any plan is."""
    level: list[Any] = [tree]
    for _ in range(_DEEPEST):
        level = [
            each
            for value in level
            for each in (value.values() if isinstance(value, dict) else value)
            if isinstance(each, (dict, list))
        ]
    if level:
        raise _too_deep("the plan")


def put(tree: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key, of which a part may stand in quotes."""
    *path, last = (quoted or bare for quoted, bare in _PART.findall(key))
    for part in path:
        tree = tree.setdefault(part, {})
        if not isinstance(tree, dict):
            raise InputError(f"plan key {key!r}: {part!r} is a value, not a table.")
    tree[last] = value


def toml_text(tree: Mapping[str, Any], prefix: str = "") -> str:
    """Tables as TOML, in their order; values first, then the tables within."""
    lines = [f"{_toml_key(key)} = {_toml_value(value)}" for key, value in tree.items() if not isinstance(value, dict)]
    for key, value in tree.items():
        if isinstance(value, dict):
            lines += ["", f"[{prefix}{key}]", toml_text(value, f"{prefix}{key}.").rstrip("\n")]
    return "\n".join(lines) + "\n"


def _toml_key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _toml_value(key)


def _toml_value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(_toml_value(item) for item in value)}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # TOML escapes one more than JSON
