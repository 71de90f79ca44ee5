"""Routes of the Open Inference Protocol v2, and Triton's to load a model again."""

import math
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from demur import __version__
from demur.serve.http_errors import RequestError, responses
from demur.serve.inference_protocol import answer_of, inference_of, metadata
from demur.serve.json_answers import json_response
from demur.serve.request_bodies import body_of
from demur.serve.served_guard import ServedGuard
from demur.serve.service import Service
from demur.serve.tensor_codec import HEADER
from demur.serve.visit import KEY, Visit

_TENSOR: dict[str, Any] = {
    "type": "object",
    "required": ["name", "shape", "datatype"],
    "properties": {
        "name": {"enum": ["images", "pictures"]}, "datatype": {"enum": ["FP32", "BYTES"]},
        "shape": {"type": "array", "items": {"type": "integer"}}, "data": {"type": "array"},
        "parameters": {"type": "object"},
    },
}  # fmt: skip
_OUTPUT: dict[str, Any] = {
    "type": "object", "required": ["name"],
    "properties": {"name": {"type": "string"}, "parameters": {"type": "object"}},
}  # fmt: skip
BODY: dict[str, Any] = {
    "parameters": [
        {
            "name": HEADER, "in": "header", "required": False, "schema": {"type": "string"},
            "description": "How many bytes of the body are JSON; binary tensors follow them.",
        }
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object", "required": ["inputs"],
                    "properties": {
                        "id": {"type": "string"}, "parameters": {"type": "object"},
                        "inputs": {"type": "array", "items": _TENSOR, "minItems": 1, "maxItems": 1},
                        "outputs": {"type": "array", "items": _OUTPUT},
                    },
                }
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    },
}  # fmt: skip
"""What OpenAPI is told of an inference."""

_ERRORS = responses(400, 401, 404, 408, 413, 415, 422, 500, 503)


def protocol_routes(service: Service) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/v2", tags=["Open Inference Protocol v2"])

    @router.get("", responses=responses(401))
    async def server() -> Response:
        """Name, version and extensions of the server."""
        extensions = ["binary_tensor_data", "model_repository"]
        return json_response({"name": "demur", "version": __version__, "extensions": extensions})

    @router.get("/health/live")
    async def live() -> Response:
        """Whether the process works."""
        return json_response({"live": True})

    @router.get("/health/ready", responses=responses(503))
    async def ready() -> Response:
        """Whether it takes requests: 503 while it ends."""
        return json_response({"ready": not service.draining}, 503 if service.draining else 200)

    @router.post("/repository/models/{name}/load", responses=responses(401, 403, 404, 409))
    async def load(name: str) -> Response:
        """Load a guard again from its folder, by whoever has the token; no request is lost, a broken one is refused."""
        if service.settings.token is None:
            raise RequestError(
                403,
                "a guard is loaded again by who has the token, and this server has none. Start it with --token-file, "
                "or send it SIGHUP.",
            )
        return json_response(await service.reload.one(name))

    _model_routes(router, service)
    return router


def _model_routes(router: APIRouter, service: Service) -> None:
    @router.get("/models/{name}", responses=responses(401, 404))
    @router.get("/models/{name}/versions/{version}", responses=responses(401, 404))
    async def model(name: str, version: str | None = None) -> Response:
        """Inputs and outputs of a guard; its version is the beginning of its hash."""
        return json_response(metadata(_served(service, name, version).loaded))

    @router.get("/models/{name}/ready", responses=responses(401, 404))
    @router.get("/models/{name}/versions/{version}/ready", responses=responses(401, 404))
    async def model_ready(name: str, version: str | None = None) -> Response:
        """Whether a guard can be asked."""
        loaded = _served(service, name, version).loaded
        return json_response({"name": loaded.name, "ready": not service.draining}, 503 if service.draining else 200)

    @router.post("/models/{name}/infer", openapi_extra=BODY, responses=_ERRORS)
    @router.post("/models/{name}/versions/{version}/infer", openapi_extra=BODY, responses=_ERRORS)
    async def infer(request: Request, name: str, version: str | None = None) -> Response:
        """Decide about images: FP32 (n, c, h, w) in [0, 1], or BYTES (n) of encoded pictures."""
        visit: Visit = request.scope[KEY]
        _served(service, name, version)
        content = await body_of(request, service.settings, service.bodies)
        served = _served(service, name, version)  # another may be in its place by now
        most = service.settings.images, math.prod(served.loaded.guard.intake.input_shape)
        asked = await service.parsed(len(content), inference_of, content, request.headers.get(HEADER), *most)
        answers = await service.decide(served, asked.images, visit, site=asked.site, sequence=asked.sequence)
        body, headers = answer_of(asked, answers, visit.id)
        return Response(body, headers=headers)


def _served(service: Service, name: str, version: str | None) -> ServedGuard:
    served = service.guard(name)
    if version is not None and version != served.loaded.version:
        raise RequestError(
            404,
            f"guard {name!r} is of version {served.loaded.version}, the beginning of its hash; got {version[:80]!r}. "
            "Ask without a version, or load that guard.",
        )
    return served
