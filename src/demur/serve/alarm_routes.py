"""`/alarms`, `/alarms/reset` and `/feedback`."""

from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from demur.alarms import Alarms, ContradictionError, Feedback, UnknownImageError
from demur.errors import InputError
from demur.serve.alarm_watch import GuardAlarms
from demur.serve.http_errors import RequestError, responses
from demur.serve.json_answers import json_response, plain
from demur.serve.request_bodies import body_of, object_of, text_of
from demur.serve.service import Service

PENDING = 1000
"""Images that are listed at most of those that were asked about and not answered."""

_TEXT = {"type": "string", "minLength": 1, "maxLength": 200}


def _body(required: list[str], **properties: dict[str, Any]) -> dict[str, Any]:
    """What OpenAPI is told of a body."""
    schema = {"type": "object", "required": required, "additionalProperties": False, "properties": properties}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


FEEDBACK = _body(["id"], id=_TEXT, guard=_TEXT, label=_TEXT, correct={"type": "boolean"})
RESET = _body(["alarm", "reason"], guard=_TEXT, alarm={"enum": ["workload", "harm"]}, reason=_TEXT)


def alarm_routes(service: Service) -> APIRouter:
    """The routes."""
    router = APIRouter(tags=["Alarms"])

    @router.get("/alarms", responses=responses(401, 404, 422, 503))
    async def alarms(guard: str | None = None) -> Response:
        """What the alarms of a guard know, and which images were asked about and not answered."""
        return json_response(await service.beside(_state_of, service.guard(guard).alarms))

    _feedback_route(router, service)
    _reset_route(router, service)
    return router


def _feedback_route(router: APIRouter, service: Service) -> None:
    @router.post("/feedback", openapi_extra=FEEDBACK, responses=responses(400, 401, 404, 408, 409, 413, 415, 422, 503))
    async def feedback(request: Request) -> Response:
        """What is right of an image: the label of its class, or whether the answer was correct."""
        content = await body_of(request, service.settings, service.bodies)
        values = object_of(content, frozenset(FEEDBACK_KEYS))
        found = await service.beside(feedback_of, service, values)
        return json_response(
            {"id": found.id, "correct": found.correct, "tested": found.tested, "repeated": found.repeated,
             "sentence": found.sentence}
        )  # fmt: skip


def _reset_route(router: APIRouter, service: Service) -> None:
    @router.post("/alarms/reset", openapi_extra=RESET, responses=responses(400, 401, 404, 408, 409, 413, 415, 422, 503))
    async def reset(request: Request) -> Response:
        """Put a raised alarm back; its evidence begins anew, and the reason is kept."""
        content = await body_of(request, service.settings, service.bodies)
        values = object_of(content, frozenset({"guard", "alarm", "reason"}))
        alarm, reason = text_of(values, "alarm"), text_of(values, "reason")
        if alarm not in {"workload", "harm"} or reason is None:
            raise RequestError(
                422, f"`alarm` is workload or harm, and `reason` says why; got {alarm!r} and {reason!r}."
            )
        served = service.guard(text_of(values, "guard"))
        found = await service.beside(_put_back, served.alarms, alarm, reason)
        service.log.write("alarm reset", guard=served.loaded.name, alarm=alarm, reason=reason)
        return json_response(found)


def _state_of(watched: GuardAlarms) -> dict[str, Any]:
    found = alarms_of(watched)
    status = plain(found.status().plain)
    watched.fresh = True  # what is overdue counted now, and may have raised an alarm that is to be told of
    pending = [{"id": each.id, "probability": each.probability} for each in found.pending(PENDING)]
    return {**status, "pending": pending}


def _put_back(watched: GuardAlarms, alarm: str, reason: str) -> dict[str, Any]:
    found = alarms_of(watched)
    watched.reset(alarm, reason)
    return plain(found.status().plain)


FEEDBACK_KEYS = ("id", "guard", "label", "correct")


def alarms_of(watched: GuardAlarms) -> Alarms:
    """The alarms of a guard.

    Raises:
        RequestError: 404, it can have none.
    """
    if watched.alarms is None:
        raise RequestError(404, f"the guard {watched.loaded.name!r} has no alarms: {watched.reason}")
    return watched.alarms


def feedback_of(service: Service, values: dict[str, Any]) -> Feedback:
    """What became of feedback, by the alarms of the guard that is named, or of whichever knows the image.

    Those of a guard that another took the place of are among them while their questions wait.

    Raises:
        RequestError: 404, nobody knows the image; 409, something else was said of it; 422, it cannot be used.
    """
    image, name, label = (text_of(values, key) for key in ("id", "guard", "label"))
    correct = values.get("correct")
    if image is None or (correct is not None and not isinstance(correct, bool)):
        raise RequestError(422, "feedback has the `id` of an image, and its `label` or `correct` (true or false).")
    unknown = list[RequestError]()
    for watched in service.alarms_of(name):
        try:
            found = _feedback(watched, image, label, correct)
        except RequestError as error:
            if error.status != 404:
                raise
            unknown.append(error)
        else:
            watched.fresh = True
            return found
    raise unknown[0]


def _feedback(watched: GuardAlarms, image: str, label: str | None, correct: bool | None) -> Feedback:  # noqa: FBT001
    try:
        found = alarms_of(watched).feedback(image, label=label, correct=correct)
    except UnknownImageError as error:
        raise RequestError(404, str(error)) from None
    except ContradictionError as error:
        raise RequestError(409, str(error)) from None
    except InputError as error:
        raise RequestError(422, str(error)) from None
    return found
