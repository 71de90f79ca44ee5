"""What is told to a client that cannot be answered: a status, a sentence with the way out, headers."""

import math
from collections.abc import Mapping
from typing import Any

from demur.errors import DemurError


class RequestError(DemurError):
    """A request that is answered with a status of its own and a sentence.

    Attributes:
        status: of HTTP, from 400 on.
        headers: that go with it.
        closing: whether the connection is closed after it.
    """

    def __init__(
        self, status: int, sentence: str, headers: Mapping[str, str] | None = None, *, closing: bool = False
    ) -> None:
        DemurError.__init__(self, sentence)
        self.status = status
        self.headers = {**(headers or {}), **({"Connection": "close"} if closing else {})}


def overloaded(sentence: str, seconds: float) -> RequestError:
    """A 503 that says when to come again."""
    return RequestError(503, sentence, {"Retry-After": str(max(1, math.ceil(seconds)))})


def responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI is told of errors."""
    schema = {"type": "object", "required": ["error"], "properties": {"error": {"type": "string"}}}
    words = {
        400: "The body is not what its headers say.", 401: "No token, or a wrong one.",
        403: "Not allowed here.", 404: "No such guard, version or image.", 405: "Another method.",
        408: "The body took too long.", 409: "It contradicts what is there.",
        413: "Too many bytes, images or pixels.", 415: "Another kind of body.", 421: "Another host.",
        422: "Well formed, and not usable.",
        500: "A fault of the server or of the model.", 503: "Overloaded or ending; come again.",
    }  # fmt: skip
    return {
        status: {"description": words[status], "content": {"application/json": {"schema": schema}}}
        for status in statuses
    }
