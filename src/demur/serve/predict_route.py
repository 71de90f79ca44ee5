"""`POST /predict`: pictures in a form or in JSON, one decision for each."""

import base64
import binascii
from dataclasses import dataclass
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from demur.alarms import Question
from demur.errors import legible
from demur.serve.http_errors import RequestError
from demur.serve.json_answers import finite, json_response
from demur.serve.picture_limits import check_images
from demur.serve.request_bodies import body_of, form_of, media_type, object_of, text_of
from demur.serve.service import Answers, Service
from demur.serve.service_settings import ServiceSettings
from demur.serve.visit import KEY, Visit

_KEYS = frozenset({"images", "guard", "sequence", "site"})
_TEXTS = ("guard", "sequence", "site")
_CLASSES = 5

BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object", "required": ["images"],
                    "properties": {
                        "images": {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1},
                        **{name: {"type": "string", "minLength": 1, "maxLength": 200} for name in _TEXTS},
                    },
                }
            },
            "application/json": {
                "schema": {
                    "type": "object", "required": ["images"], "additionalProperties": False,
                    "properties": {
                        "images": {"type": "array", "items": {"type": "string", "format": "byte"}, "minItems": 1},
                        **{name: {"type": "string", "minLength": 1, "maxLength": 200} for name in _TEXTS},
                    },
                }
            },
        },
    }
}  # fmt: skip
"""What OpenAPI is told of the body."""


@dataclass(frozen=True, kw_only=True)
class Upload:
    """Pictures to decide about, with their names, and of whom."""

    pictures: list[bytes]
    names: list[str | None]
    guard: str | None
    sequence: str | None
    site: str | None


async def predict(request: Request, service: Service) -> Response:
    """Decide about pictures."""
    visit: Visit = request.scope[KEY]
    content = await body_of(request, service.settings, service.bodies)
    kind = media_type(request), request.headers.get("content-type", "")
    asked = await service.parsed(len(content), question_of, *kind, content, service.settings)
    served = service.guard(asked.guard)
    answers = await service.decide(served, asked.pictures, visit, site=asked.site, sequence=asked.sequence)
    return json_response(answer_of(answers, visit.id, asked))


def question_of(kind: str, content_type: str, content: bytes, settings: ServiceSettings) -> Upload:
    """What a body asks.

    Raises:
        RequestError: it cannot be read, or is of another kind.
    """
    if kind == "multipart/form-data":
        return _of_form(content, content_type, settings)
    if kind == "application/json":
        return _of_json(content, settings)
    raise RequestError(
        415,
        f"pictures come as multipart/form-data with fields `images`, or as application/json; got {kind[:60]!r}. "
        "Such as: curl -F images=@a.png.",
    )


def _of_form(content: bytes, content_type: str, settings: ServiceSettings) -> Upload:
    parts = form_of(content, content_type, settings.images)
    strange = [part.name for part in parts if part.name not in _KEYS]
    if strange:
        raise RequestError(422, f"unknown field {strange[0][:80]!r} in the form. Known: {', '.join(sorted(_KEYS))}.")
    texts = dict[str, Any]()
    for part in parts:
        if part.name != "images":
            texts[part.name] = part.content.decode("utf-8", "replace") or None
    pictures = [part for part in parts if part.name == "images"]
    return Upload(
        pictures=[part.content for part in pictures],
        names=[part.filename and legible(part.filename[:255]) for part in pictures],
        **{name: text_of(texts, name) for name in _TEXTS},
    )


def _of_json(content: bytes, settings: ServiceSettings) -> Upload:
    values = object_of(content, _KEYS)
    images = values.get("images")
    if not isinstance(images, list) or not all(isinstance(image, str) for image in images):
        raise RequestError(
            422, f"`images` is a list of pictures in base64; got {str(images)[:60]!r}. Encode the bytes of the files."
        )
    check_images(len(images), settings.images)
    return Upload(
        pictures=[picture_of(image, place) for place, image in enumerate(images)],
        names=[None] * len(images),
        **{name: text_of(values, name) for name in _TEXTS},
    )


def picture_of(text: str, place: int) -> bytes:
    """The bytes of a picture in base64; `data:` in front is left out.

    Raises:
        RequestError: 422, it is no base64.
    """
    head, comma, rest = text.partition(",")
    try:
        return base64.b64decode(rest if comma and head.startswith("data:") else text, validate=True)
    except (binascii.Error, ValueError):
        raise RequestError(
            422, f"picture {place + 1} is no base64. Encode the bytes of the file: base64 -w0 a.png."
        ) from None


def answer_of(answers: Answers, request: str, asked: Upload) -> dict[str, Any]:
    """The answer as JSON values."""
    loaded, decisions = answers.loaded, answers.decisions
    probabilities = decisions.probabilities
    classes, most = decisions.classes, min(_CLASSES, len(decisions.classes))
    thresholds = loaded.thresholds(asked.site)
    found = list[dict[str, Any]]()
    for row, decision in enumerate(decisions):
        first = np.argsort(-probabilities[row], kind="stable")[:most] if decision.label is not None else ()
        found.append(
            {
                "id": answers.ids[row],
                "name": asked.names[row],
                "accepted": decision.accepted,
                "label": decision.answer,
                "reason": decision.reason or None,
                "detail": decision.detail,
                "predicted": decision.label,
                "confidence": finite(decision.confidence),
                "probabilities": [{"class": classes[k], "probability": finite(probabilities[row, k])} for k in first],
                "scores": {name: finite(score) for name, score in decision.scores.items()},
                "thresholds": thresholds,
                "near": decision.near,
                "feedback": feedback_wish(answers.questions[row]),
            }
        )
    return {"guard": {"name": loaded.name, "sha256": loaded.sha256}, "request": request, "decisions": found}


def feedback_wish(asked: Question | None) -> dict[str, Any] | None:
    """What a client is told of whether this image should be labelled; None where nobody asks."""
    return None if asked is None else {"wanted": True, "probability": asked.probability}
