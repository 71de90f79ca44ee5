"""Answers as JSON: numbers that are not finite are null."""

import json
import math
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response


def finite(number: float) -> float | None:
    """The number, or None where JSON has none for it."""
    value = float(number)
    return value if math.isfinite(value) else None


def json_response(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer of JSON."""
    return Response(json_text(value), status, dict(headers or {}), "application/json")


def json_text(value: object) -> bytes:
    """JSON in UTF-8, on one line."""
    return json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def plain(value: Any) -> Any:
    """The same with numbers that are not finite as None, however deep they lie."""
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    return finite(value) if isinstance(value, float) else value
