"""The page: static files with the headers that let them do little, read once."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

FOLDER = Path(__file__).parent / "page"
INDEX = "index.html"

_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob: data:",
        "connect-src 'self'",
        "form-action 'none'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
"""What the page may do: load its own files, ask its own server, show pictures it was given."""

HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True, kw_only=True)
class PageFile:
    """One file of the page: its name, what it is, its bytes, and a tag that changes with them."""

    name: str
    media_type: str
    content: bytes
    tag: str


@cache
def page_files() -> Sequence[PageFile]:
    """Every file of the page, `index.html` among them."""
    found = []
    for path in sorted(FOLDER.iterdir()):
        if path.suffix in _TYPES:
            content = path.read_bytes()
            tag = f'"{sha256(content).hexdigest()[:32]}"'
            found.append(PageFile(name=path.name, media_type=_TYPES[path.suffix], content=content, tag=tag))
    return tuple(found)


def page_routes() -> APIRouter:
    """Routes of the page: `/` and `/page/NAME`, for GET and HEAD.

    They hold nothing of a guard, so they need no token: the page asks for one. All addresses in it are relative, so
    that it works below any path of a proxy.
    """
    router = APIRouter()
    for each in page_files():
        path = "/" if each.name == INDEX else f"/page/{each.name}"
        router.add_route(path, _endpoint(each), methods=["GET"], include_in_schema=False)
    return router


def _endpoint(file: PageFile) -> Callable[[Request], Awaitable[Response]]:
    """What answers for one file; whoever has it in this state already is told so."""

    async def endpoint(request: Request) -> Response:
        headers = {**HEADERS, "ETag": file.tag}
        tags = {tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")}
        if file.tag in tags:
            return Response(status_code=304, headers=headers)
        return Response(file.content, media_type=file.media_type, headers=headers)

    return endpoint
