"""A server that speaks S3, on this machine alone, which can be told to fail."""

import random
import socket
import threading
import time
from dataclasses import dataclass, field

from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

FAULTS = ("500 Internal Server Error", "503 Slow Down", "429 Too Many Requests", "reset", "lost", "slow")
_XML = b"<Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>"


class Quiet(WSGIRequestHandler):
    """No line for each request."""

    def log(self, *_words):
        pass


def _cut(environ):
    """A response that ends before it began: the connection is gone."""
    environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)


@dataclass
class Faulty:
    """Passes requests on to the application, but for a share of them that a seeded draw chooses.

    Attributes:
        share: of the requests that fail, in one of the ways of `kinds`: an error, a connection reset before anything is
            done, an answer that is lost after it was done, a delay.
        delay: seconds of a slow one.
    """

    application: object
    share: float = 0.0
    kinds: tuple[str, ...] = FAULTS
    delay: float = 0.2
    draws: random.Random = field(default_factory=lambda: random.Random(0))
    seen: list[tuple[str, str, str | None]] = field(default_factory=list)
    only: str = ""
    _turn: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, environ, start_response):
        with self._turn:
            chosen = self.only in environ["PATH_INFO"] and self.draws.random() < self.share
            kind = self.draws.choice(self.kinds) if chosen else None
            self.seen.append((environ["REQUEST_METHOD"], environ["PATH_INFO"], kind))
        if kind is None or kind == "slow":
            time.sleep(self.delay if kind else 0)
            return self.application(environ, start_response)
        if kind == "reset":
            _cut(environ)
        elif kind == "lost":
            b"".join(self.application(environ, lambda *_given, **_named: None))
            _cut(environ)
        status = kind if kind[0].isdigit() else "500 Gone"
        start_response(status, [("Content-Type", "application/xml")])
        return [_XML]


@dataclass
class Server:
    """A server in a thread; `faulty` decides which requests fail."""

    faulty: Faulty
    own: object

    @property
    def url(self):
        return f"http://127.0.0.1:{self.own.port}"

    @classmethod
    def start(cls):
        faulty = Faulty(DomainDispatcherApplication(create_backend_app))
        own = make_server("127.0.0.1", 0, faulty, threaded=True, request_handler=Quiet)
        threading.Thread(target=own.serve_forever, daemon=True).start()
        return cls(faulty, own)

    def stop(self):
        self.own.shutdown()
        self.own.server_close()
