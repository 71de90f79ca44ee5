"""Two guards of the tiny net in service, with faults in front of them, and a browser that asks."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

import uvicorn
from tests import guarded, tiny
from tests.report.webdriver import Browser

from demur.alarms import AlarmPlan
from demur.classifier import BoundClassifier
from demur.guard.golden_vectors import as_file
from demur.serve import Service, ServiceSettings, app_of
from demur.serve.served_guard import LoadedGuard

HOSTILE = ("<img src=x onerror=window.pwned=1>", "<script>window.pwned=1</script>", "=cmd|' /C calc'!A0")
CLASSES = tiny.CLASSES
TOKEN = "sixteen-characters-or-more"


@dataclass
class Faults:
    """What stands between the page and its server.

    Attributes:
        busy: how many of the next requests about pictures are answered with 503.
        most: pictures in a request above which it is answered with 413.
        slow: seconds before a request about pictures is decided.
        token: whether one is needed.
        changes: path → what is done to the JSON of its answer.
        requests: (method, path with query, size of the body) of what was asked.
        bodies: what was sent as JSON.
    """

    busy: int = 0
    most: int = 1000
    slow: float = 0
    token: bool = False
    changes: dict[str, Callable[[Any], Any]] = field(default_factory=dict)
    requests: list[tuple[str, str, int]] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)


class Host:
    """An ASGI application: the faults, then the real one."""

    def __init__(self, app, guarded_by_token):
        self.app, self.guarded_by_token, self.faults = app, guarded_by_token, Faults()

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        body, faults, path = await _whole(receive), self.faults, scope["path"]
        faults.requests.append((scope["method"], f"{path}?{scope['query_string'].decode()}", len(body)))
        if dict(scope["headers"]).get(b"content-type") == b"application/json":
            faults.bodies.append(json.loads(body))
        if path == "/predict":
            await asyncio.sleep(faults.slow)
            if faults.busy:
                faults.busy -= 1
                return await _answer(send, 503, {"error": "The queue is full."}, [(b"retry-after", b"1")])
            if body.count(b'name="images"') > faults.most:
                return await _answer(send, 413, {"error": "Too many pictures."})
        app = self.guarded_by_token if faults.token else self.app
        change = faults.changes.get(path)
        if change is None:
            return await app(scope, _again(body, receive), send)
        status, content = await _collected(app, scope, _again(body, receive))
        return await _answer(send, 200, change(json.loads(content) if status == 200 else None))


async def _whole(receive):
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


def _again(body, receive):
    sent = False

    async def once():
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return once


async def _collected(app, scope, receive):
    messages = []

    async def keep(message):
        messages.append(message)

    await app(scope, receive, keep)
    return messages[0]["status"], b"".join(each.get("body", b"") for each in messages[1:])


async def _answer(send, status, content, headers=()):
    body = json.dumps(content).encode()
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [length, *headers]})
    await send({"type": "http.response.body", "body": body})


@dataclass
class Served:
    address: str
    host: Host
    guard: Any


@contextmanager
def served(folder):
    """The guards `tiny` and `hostile`, whose classes are named as an attacker would, at an address."""
    made = guarded.guard()
    names = BoundClassifier(tiny.Net().eval(), classes=HOSTILE, input_shape=tiny.SHAPE)
    loaded = []
    for name, guard in {"tiny": made, "hostile": replace(made, classifier=names)}.items():
        guarded.written(folder / name, made=guard)
        loaded.append(LoadedGuard.read(name, folder / name))
    plan = AlarmPlan(feedback=1.0)  # every picture is asked about
    services = [Service(loaded, ServiceSettings(token=token), alarms=plan) for token in (None, TOKEN)]
    host = Host(*map(app_of, services))
    place = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(host, log_config=None, access_log=False, lifespan="off", ws="none", timeout_keep_alive=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([place],), daemon=True)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield Served(f"http://127.0.0.1:{place.getsockname()[1]}/", host, loaded[0].guard)
    finally:
        server.should_exit = True
        thread.join(10)
        place.close()
        for service in services:
            service.close()


def pictures(folder, rows=64):
    """Files of pictures that the tiny net was made for, and the images in them."""
    images = (guarded.images(rows) * 255).round() / 255
    paths = []
    for place, image in enumerate(images):
        suffix, content = as_file(image)
        paths.append(folder / f"{place:02d}{suffix}")
        paths[-1].write_bytes(content)
    return paths, images


@dataclass(frozen=True)
class Page:
    """The page in a browser, and what a user does there."""

    browser: Browser
    served: Served

    def open(self, width=1280, height=900, scheme="light", ready=True):
        self.served.host.faults = Faults()
        self.browser.screen(width, height, scheme)
        return self.again(ready)

    def again(self, ready=True):
        """Load it, with the faults as they are."""
        self.browser.call("POST", "/url", url=self.served.address)
        if ready:
            self.wait("return document.documentElement.dataset.ready === 'true'")
        return self

    @property
    def faults(self):
        return self.served.host.faults

    def wait(self, condition):
        self.browser.wait(condition)

    def script(self, text, *arguments):
        return self.browser.script(text, *arguments)

    def text(self, name):
        return self.script("return document.getElementById(arguments[0]).innerText", name)

    def shown(self, name):
        return self.script("return document.getElementById(arguments[0])?.offsetParent !== null", name)

    def press(self, name):
        self.script("document.getElementById(arguments[0]).click()", name)

    def give(self, *paths):
        """Choose files, and wait until all of them are done."""
        self.choose(*paths)
        self.done()

    def choose(self, *paths):
        found = self.browser.call("POST", "/element", using="css selector", value="#files")
        text = "\n".join(map(str, paths))
        self.browser.call("POST", f"/element/{next(iter(found.values()))}/value", text=text)

    def done(self):
        self.wait("""
          const hidden = document.getElementById("progress").hidden, drawn = !document.getElementById("table").ariaBusy;
          return document.documentElement.dataset.used && hidden && drawn;
        """)

    def keys(self, *keys):
        """Press keys one after another."""
        actions = [
            each for key in keys for each in ({"type": "keyDown", "value": key}, {"type": "keyUp", "value": key})
        ]
        self.browser.call("POST", "/actions", actions=[{"type": "key", "id": "keyboard", "actions": actions}])

    def column(self, head):
        place = ["Picture", "Name", "Verdict", "Answer", "Confidence", "Uncertainty", "Reason"].index(head)
        rows = "[...document.querySelectorAll('#rows tr')]"
        return self.script(f"return {rows}.map(row => row.cells[arguments[0]]?.innerText ?? '')", place)

    def log(self):
        """What the browser complained of, but for answers that are not 200, which it always notes."""
        return [each for each in self.browser.log() if "Failed to load resource" not in each]

    def paths(self):
        """What was asked of the server, without queries."""
        return [(method, urlsplit(path).path) for method, path, _ in self.faults.requests]
