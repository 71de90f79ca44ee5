"""The ASGI application: routes, errors as sentences, and the door in front of them."""

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from demur import __version__
from demur.errors import DemurError, FaultError, ForeignError, ModelError, RunError
from demur.foreign import reason
from demur.serve.alarm_routes import alarm_routes
from demur.serve.front_door import FrontDoor
from demur.serve.guard_routes import guard_routes
from demur.serve.http_errors import RequestError
from demur.serve.json_answers import json_response
from demur.serve.page_files import page_routes
from demur.serve.protocol_routes import protocol_routes
from demur.serve.service import Service
from demur.serve.visit import KEY, Visit

_ABOUT = (
    "A guard over HTTP: it answers or abstains. An abstention is a 200 with a reason code; errors are "
    '`{"error": "…"}` with what is wrong, the rule, the value and the way out.'
)

LATER = 10
"""Seconds after which a client may try again what could not be written."""


def app_of(service: Service) -> FrontDoor:
    """The application of a service."""
    app = FastAPI(title="demur serve", version=__version__, description=_ABOUT, docs_url=None, redoc_url=None)
    app.include_router(protocol_routes(service))
    app.include_router(guard_routes(service))
    app.include_router(alarm_routes(service))
    app.include_router(page_routes())
    app.add_exception_handler(HTTPException, _status)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(DemurError, _refusal)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _fault)
    return FrontDoor(app, service)


def _sentence(request: Request, status: int, words: str, headers: dict[str, str] | None = None) -> Response:
    visit: Visit = request.scope[KEY]
    visit.error = words
    return json_response({"error": words}, status, headers)


async def _refusal(request: Request, error: Exception) -> Response:
    if isinstance(error, RequestError):
        return _sentence(request, error.status, str(error), error.headers)
    if isinstance(error, RunError):  # such as the state of alarms on a disk that is full for a while
        return _sentence(request, 503, str(error), {"Retry-After": str(LATER)})
    faulty = isinstance(error, ForeignError | ModelError | FaultError)
    return _sentence(request, 500 if faulty else 422, str(error))


async def _status(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        raise error
    what = {
        404: f"there is nothing at {request.url.path[:200]!r}. GET /openapi.json for what there is.",
        405: f"{request.method} is not for this address. GET /openapi.json for what is.",
    }
    sentence = what.get(error.status_code, f"{error.detail}.")
    return _sentence(request, error.status_code, sentence, dict(error.headers or {}))


async def _invalid(request: Request, error: Exception) -> Response:
    if not isinstance(error, RequestValidationError):
        raise error
    first = error.errors()[0]
    place = ".".join(map(str, first.get("loc", ())))
    return _sentence(request, 422, f"{place}: {first.get('msg', 'not valid')}. GET /openapi.json for what is.")


async def _fault(request: Request, error: Exception) -> Response:
    """Said to the client; the door writes where it came from into the log."""
    visit: Visit = request.scope[KEY]
    return _sentence(request, 500, f"the server or its model failed: {reason(error)}. Its log has request {visit.id}.")


async def _gone(request: Request, _: Exception) -> Response:
    return _sentence(request, 499, "the client has gone.")
