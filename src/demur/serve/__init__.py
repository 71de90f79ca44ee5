"""A guard over HTTP: Open Inference Protocol v2, `/predict`, metrics, alarms and a page.

`Service` holds guards with their queues; `app_of(service)` is an ASGI application; `serve(service, …)` runs it until it
is told to terminate. Needs the extra `serve`.
"""

import importlib
from typing import TYPE_CHECKING, Any

from demur.errors import missing_extra

if TYPE_CHECKING:
    from demur.serve.application import app_of as app_of
    from demur.serve.http_server import serve as serve
    from demur.serve.service import Service as Service
    from demur.serve.service_settings import ServiceSettings as ServiceSettings

_FILES = {
    "Service": "demur.serve.service",
    "ServiceSettings": "demur.serve.service_settings",
    "app_of": "demur.serve.application",
    "serve": "demur.serve.http_server",
}
_EXTRA = frozenset({"fastapi", "httptools", "prometheus_client", "python_multipart", "starlette", "uvicorn", "uvloop"})

__all__ = sorted(_FILES)


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"module 'demur.serve' has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(_FILES[name]), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        raise missing_extra("a guard over HTTP", "serve") from error
