"""What every request passes: its id, who may ask, the end of the server, the log and the metrics."""

import hashlib
import hmac
import re
from collections.abc import Collection
from ipaddress import ip_address

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from demur.foreign import reason, traceback_of
from demur.serve.http_errors import RequestError, overloaded
from demur.serve.json_answers import json_response
from demur.serve.service import Service
from demur.serve.visit import KEY, Visit

_HEALTH = ("/v2/health/live", "/v2/health/ready")
_DOCUMENT = "/openapi.json"
_SECURE = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
)
GRACE = 1.0
"""Seconds in which a server that ends still answers 503 to new requests, so that their clients let go of it."""


class FrontDoor:
    """An ASGI application around another.

    Args:
        app: what answers.
        service: whose log, metrics and token they are.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        self._app, self._service = app, service
        token = service.settings.token
        self._token = None if token is None else _digest(token.encode())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; a fault is a 500 with a sentence, and a line of the log with where it came from."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        visit = scope[KEY] = Visit.of(scope["headers"])
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                visit.status = message["status"]
                own = list(message.get("headers", ()))
                named = {name.lower() for name, _ in own}
                message["headers"] = [*own, *(each for each in self._headers(visit) if each[0] not in named)]
            await send(message)

        try:
            self._check(scope)
            await self._app(scope, receive, sending)
        except RequestError as problem:
            visit.error = str(problem)
            await json_response({"error": str(problem)}, problem.status, problem.headers)(scope, receive, sending)
        except Exception as error:  # noqa: BLE001 - a server goes on, and says what happened
            visit.error = reason(error)
            self._service.log.write("fault", request=visit.id, error=visit.error, traceback=traceback_of(error))
            if not started:
                await json_response({"error": f"the server failed: {visit.error}."}, 500)(scope, receive, sending)
        finally:
            self._service.bodies.leave(visit)
            self._note(scope, visit)

    def _headers(self, visit: Visit) -> list[tuple[bytes, bytes]]:
        closing = [(b"connection", b"close")] if self._service.draining else []
        return [(b"x-request-id", visit.id.encode()), *_SECURE, *closing]

    def _check(self, scope: Scope) -> None:
        """Refuse who may not ask, and whoever comes too late.

        Raises:
            RequestError: 401, 403, 421 or 503.
        """
        path = scope["path"]
        if path in _HEALTH:
            return
        if self._service.draining:
            raise overloaded("this server is ending and takes no new requests. Send it to another, or again later.", 1)
        if self._service.connections() > self._service.settings.connections:
            raise RequestError(
                503,
                f"there are more than {self._service.settings.connections} connections. Close idle ones, and come "
                "again after the seconds in Retry-After.",
                {"Retry-After": "1"},
                closing=True,
            )
        if self._token is None:
            _check_host(scope, self._service.settings.hosts)
            _check_origin(scope)
        elif not is_page(path) and not self._knows(scope):
            raise RequestError(
                401,
                "this server wants a token: send it as `Authorization: Bearer TOKEN`. Whoever runs the server has it.",
                {"WWW-Authenticate": "Bearer"},
            )

    def _knows(self, scope: Scope) -> bool:
        given = _header(scope, b"authorization")
        kind, _, token = given.partition(b" ")
        matches = hmac.compare_digest(_digest(token.strip()), self._token or b"")
        return matches and kind.lower() == b"bearer"

    def _note(self, scope: Scope, visit: Visit) -> None:
        found = "/page" if is_page(scope["path"]) else getattr(scope.get("route"), "path", None)
        route = found or (_DOCUMENT if scope["path"] == _DOCUMENT else "other")
        self._service.metrics.request(route, scope["method"], visit.status, visit.seconds)
        self._service.log.write("request", **visit.line(route, scope["method"]))


def is_page(path: str) -> bool:
    """Whether an address is of the static page, which knows nothing and so needs no token."""
    return path == "/" or path.startswith("/page/")


def _header(scope: Scope, name: bytes) -> bytes:
    return next((value for key, value in scope["headers"] if key == name), b"")


def _digest(token: bytes) -> bytes:
    """Of one length whatever the token, so that comparing takes as long."""
    return hashlib.sha256(token).digest()


def _check_origin(scope: Scope) -> None:
    """Refuse what a page of another site sends through a visitor's browser; a token would keep it out anyway."""
    origin = _header(scope, b"origin").decode("latin-1")
    host = _header(scope, b"host").decode("latin-1")
    if origin and origin.partition("://")[2] != host:
        raise RequestError(
            403,
            f"a page of {origin[:100]!r} may not ask {host[:100]!r}. Start the server with --token-file, and send the "
            "token.",
        )


def _check_host(scope: Scope, hosts: Collection[str]) -> None:
    """Refuse names that are not of this server: a page of another site can have its own name lead here.

    An address in numbers is no name, so that it cannot be made to lead elsewhere.
    """
    host = _header(scope, b"host").decode("latin-1").lower()
    name = host.rpartition(":")[0] if _PORT.search(host) else host
    if not name or name == "localhost" or name in hosts or _is_address(name.strip("[]")):
        return
    raise RequestError(
        421,
        f"this server is not called {name[:100]!r}, and without a token answers to its addresses, localhost and names "
        "that it was given. Start it with --allow-host NAME, or with --token-file.",
    )


_PORT = re.compile(r":\d*$")


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
