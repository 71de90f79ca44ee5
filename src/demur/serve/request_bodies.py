"""The body of a request: read within limits, and taken apart as JSON or as a form, in memory alone."""

import asyncio
import json
import logging
from dataclasses import dataclass
from typing import Any, cast

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from demur.serve.http_errors import RequestError
from demur.serve.service_settings import ServiceSettings
from demur.serve.visit import KEY, Visit

_DRAINED = 4
"""Times the largest body that are read and thrown away, so that a client gets to read why."""

_PARTS = 3
"""Parts of a form beside its images: guard, sequence, site."""


ELEMENTS = 10_000
"""Values in a body of JSON, by its commas, beside the numbers of images."""

_LATER = 1
logging.getLogger("python_multipart").propagate = False  # it writes lines of its own about forms that are none
logging.getLogger("python_multipart").addHandler(logging.NullHandler())


class OpenBodies:
    """How many bytes of bodies are in memory, of all requests that are not answered yet; for one event loop."""

    def __init__(self, most: int) -> None:
        self._most = most
        self.total = 0

    def take(self, visit: Visit, size: int) -> None:
        """A request has more bytes.

        Raises:
            RequestError: 503, all together have too many.
        """
        if self.total + size > self._most:
            raise RequestError(
                503,
                f"the bodies that came or are coming have {self.total:,} bytes already, of at most {self._most:,} "
                "together. Send this one again after the seconds in Retry-After.",
                {"Retry-After": str(_LATER)},
                closing=True,
            )
        self.total += size
        visit.body_bytes += size

    def leave(self, visit: Visit) -> None:
        """What a request had is let go."""
        self.total -= visit.body_bytes
        visit.body_bytes = 0


async def body_of(request: Request, settings: ServiceSettings, bodies: OpenBodies) -> bytes:
    """The whole body.

    Raises:
        RequestError: 503, all that are open have too many bytes together.
        RequestError: 413, it has more bytes than are allowed; 408, it does not come in time; 415, it is packed.
        ClientDisconnect: nobody is there any more.
    """
    packed = request.headers.get("content-encoding", "identity").lower()
    if packed != "identity":
        raise RequestError(
            415, f"a body is sent as it is; got Content-Encoding {packed[:40]!r}. Send it without compression."
        )
    kept, length, visit = list[bytes](), 0, cast(Visit, request.scope[KEY])
    try:
        async with asyncio.timeout(settings.timeout):
            async for chunk in request.stream():
                length += len(chunk)
                if length <= settings.bytes:
                    bodies.take(visit, len(chunk))
                    kept.append(chunk)
                elif kept:
                    kept.clear()
                    bodies.leave(visit)
                elif length > _DRAINED * settings.bytes:
                    break
    except TimeoutError:
        raise RequestError(
            408, f"the body did not arrive within {settings.timeout:g} seconds. Send it again, or less at once.",
            closing=True,
        ) from None  # fmt: skip
    if length > settings.bytes:
        raise RequestError(
            413, f"a body has at most {settings.bytes:,} bytes; this one has more. Send fewer or smaller pictures.",
            closing=True,
        )  # fmt: skip
    return b"".join(kept)


__all__ = [
    "ELEMENTS",
    "ClientDisconnect",
    "Form",
    "OpenBodies",
    "Part",
    "body_of",
    "form_of",
    "json_of",
    "media_type",
    "object_of",
    "text_of",
]


def media_type(request: Request) -> str:
    """The kind of a body, without its parameters, in small letters; empty where it is not told."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def json_of(content: bytes, what: str = "the body", most: int = ELEMENTS) -> Any:
    """A value of JSON.

    Raises:
        RequestError: 400, it is none; 413, it has too many values, counted before they are made.
    """
    if content.count(b",") > most:
        raise RequestError(413, f"{what} has more than {most:,} values. Send fewer images at once.")
    try:
        return json.loads(content, parse_constant=_refuse_constant)
    except RecursionError:
        raise RequestError(400, f"{what} is nested too deeply to be read as JSON. Send lists of numbers.") from None
    except ValueError as error:
        raise RequestError(400, f"{what} is no JSON ({error}). Send an object in UTF-8.") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def object_of(content: bytes, known: frozenset[str]) -> dict[str, Any]:
    """An object of JSON with known keys.

    Raises:
        RequestError: 400, it is no JSON; 422, it is no object, or has another key.
    """
    found = json_of(content)
    if not isinstance(found, dict):
        raise RequestError(422, f"the body is a JSON object; got {type(found).__name__}. Send {{…}}.")
    strange = sorted(set(found) - known)
    if strange:
        raise RequestError(422, f"unknown key {strange[0][:80]!r}. Known: {', '.join(sorted(known))}.")
    return found


def text_of(values: dict[str, Any], name: str, most: int = 200, *, least: int = 1) -> str | None:
    """A short text, or None where there is none.

    Raises:
        RequestError: 422, it is something else, or long.
    """
    value = values.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not least <= len(value) <= most or not _is_unicode(value):
        raise RequestError(
            422,
            f"`{name}` is a text of {least} to {most} characters without lone surrogates; got {str(value)[:60]!r}. "
            "Leave it out, or name one.",
        )
    return value


def _is_unicode(text: str) -> bool:
    """Whether it can be written: JSON may name half a character, a surrogate without the other."""
    return not any("\ud800" <= each <= "\udfff" for each in text)


@dataclass(kw_only=True)
class Part:
    """One part of a form."""

    name: str = ""
    filename: str | None = None
    content: bytes = b""


Form = list[Part]


@dataclass
class _Parts:
    """What a parser of forms calls."""

    most: int
    found: Form
    header: bytes = b""
    value: bytes = b""
    buffer: bytearray | None = None

    def begin(self) -> None:
        if len(self.found) >= self.most:
            raise RequestError(413, f"a form has at most {self.most} parts; got more. Send several requests.")
        self.found.append(Part())
        self.header, self.value, self.buffer = b"", b"", bytearray()

    def field(self, data: bytes, start: int, end: int) -> None:
        self.header += data[start:end]

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self.value += data[start:end]

    def header_end(self) -> None:
        if self.header.lower() == b"content-disposition":
            _, options = parse_options_header(self.value)
            self.found[-1].name = options.get(b"name", b"").decode("utf-8", "replace")
            name = options.get(b"filename")
            self.found[-1].filename = None if name is None else name.decode("utf-8", "replace")
        self.header, self.value = b"", b""

    def data(self, data: bytes, start: int, end: int) -> None:
        cast(bytearray, self.buffer).extend(memoryview(data)[start:end])

    def end(self) -> None:
        self.found[-1].content = bytes(cast(bytearray, self.buffer))


def form_of(content: bytes, content_type: str, images: int) -> Form:
    """The parts of a multipart form, of at most so many images.

    Raises:
        RequestError: 400, it is none, or is cut; 413, it has too many parts.
    """
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary", b"")
    if not 0 < len(boundary) <= 200:
        raise RequestError(
            400, "a form says its boundary in Content-Type; got none. Let your HTTP library set that header."
        )
    parts = _Parts(most=images + _PARTS, found=[])
    over = list[bool]()
    parser = MultipartParser(
        boundary,
        {
            "on_part_begin": parts.begin, "on_header_field": parts.field, "on_header_value": parts.header_value,
            "on_header_end": parts.header_end, "on_part_data": parts.data, "on_part_end": parts.end,
            "on_end": lambda: over.append(True),
        },
    )  # fmt: skip
    try:
        parser.write(content)
        parser.finalize()
    except FormParserError as error:
        raise RequestError(400, f"the form cannot be read ({error}). Let an HTTP library write it.") from None
    if not over:
        raise RequestError(400, "the form is cut short: its last boundary is missing. Send it again, whole.")
    return parts.found
