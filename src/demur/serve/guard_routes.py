"""`/predict`, `/guards` and `/metrics`."""

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from demur.serve import predict_route
from demur.serve.http_errors import responses
from demur.serve.json_answers import json_response, plain
from demur.serve.service import Service


def guard_routes(service: Service) -> APIRouter:
    """The routes."""
    router = APIRouter()

    @router.post(
        "/predict", openapi_extra=predict_route.BODY, responses=responses(400, 401, 404, 408, 413, 415, 422, 500, 503)
    )
    async def predict(request: Request) -> Response:
        """Decide about pictures: an answer, or an abstention with its reason, for each."""
        return await predict_route.predict(request, service)

    @router.get("/guards", responses=responses(401))
    async def guards() -> Response:
        """The guards in service."""
        listed = [
            {**served.loaded.summary, "default": name == service.default} for name, served in service.guards.items()
        ]
        return json_response(listed)

    @router.get("/guards/{name}", responses=responses(401, 404))
    async def guard(name: str) -> Response:
        """One guard: signals with their thresholds, how tune images scored, what it guarantees, what is allowed."""
        return json_response(plain(service.guard(name).loaded.description(service.settings)))

    @router.get("/metrics", responses=responses(401))
    async def metrics() -> Response:
        """For Prometheus."""
        return Response(service.metrics.text, media_type=CONTENT_TYPE_LATEST)

    return router
