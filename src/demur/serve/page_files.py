"""The page: a few static files, read once, that a browser may run nothing beside."""

import mimetypes
from pathlib import Path

from fastapi import APIRouter
from starlette.responses import Response

from demur.serve.http_errors import RequestError

PAGE = Path(__file__).parent / "page"
INDEX = "index.html"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""What the page may load and run: its own files, and pictures that were chosen."""


def page_routes(folder: Path = PAGE) -> APIRouter:
    """`/` and `/page/NAME`."""
    files = {path.name: path.read_bytes() for path in sorted(folder.glob("*")) if path.is_file()}
    router = APIRouter(include_in_schema=False)

    def answer(name: str) -> Response:
        if name not in files:
            raise RequestError(404, f"the page has no file {name[:80]!r}. Open /.")
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        return Response(files[name], headers={"Content-Security-Policy": POLICY}, media_type=kind)

    @router.get("/")
    async def index() -> Response:
        return answer(INDEX)

    @router.get("/page/{name}")
    async def file(name: str) -> Response:
        return answer(name)

    return router
