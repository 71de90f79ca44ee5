"""JSON as every reader takes it: a number that is none, which Python would write as NaN or Infinity, is null."""

import json
import math
from collections.abc import Callable
from typing import Any


def dumps(
    content: Any, *, indent: int | None = None, sort_keys: bool = False, default: Callable[[Any], Any] | None = None
) -> str:
    """The text of what a command prints.

    >>> dumps({"largest": float("inf"), "images": 3})
    '{"largest": null, "images": 3}'
    """
    return json.dumps(_plain(content), indent=indent, sort_keys=sort_keys, default=default, allow_nan=False)


def _plain(content: Any) -> Any:
    if isinstance(content, dict):
        return {key: _plain(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_plain(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content
