"""One connection, whose head is bounded in bytes and in time before anybody reads it."""

import asyncio
import json
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from demur.serve.service import Service

HEAD = 2**16
"""Bytes of a head, or of what is neither head nor content of a body, such as trailers."""

_FRAMING = 16
"""Bytes of framing that go with each byte of a body at most: a chunk of one byte has six."""


class BoundedConnection(HttpToolsProtocol):
    """HTTP/1.1, where a head has so many bytes and comes within the timeout of the service.

    Args:
        service: whose settings, log and metrics they are.
        given: what uvicorn gives to a protocol.
    """

    def __init__(self, service: Service, **given: Any) -> None:
        HttpToolsProtocol.__init__(self, **given)
        self._service = service
        self._beyond, self._in_head = 0, True
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a head; far too many connections are closed at once."""
        HttpToolsProtocol.connection_made(self, transport)
        if len(self.connections) > 2 * self._service.settings.connections:
            transport.abort()
            return
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody waits any more."""
        self._cease()
        HttpToolsProtocol.connection_lost(self, exc)

    def data_received(self, data: bytes) -> None:
        """Count what comes, by the callbacks of the parser below."""
        self._beyond += len(data)
        HttpToolsProtocol.data_received(self, data)
        if self.transport.is_closing():
            return
        self._beyond = max(0, self._beyond)
        if self._beyond > HEAD:
            self._refuse(431, f"the head of a request has at most {HEAD:,} bytes; got more. Send fewer headers.")
        elif self._in_head and self._beyond and self._timer is None:
            self._wait()

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._cease()
        self._beyond, self._in_head = 0, False
        HttpToolsProtocol.on_headers_complete(self)

    def on_body(self, body: bytes) -> None:
        """Content of a body has limits of its own."""
        self._beyond -= (1 + _FRAMING) * len(body)
        HttpToolsProtocol.on_body(self, body)

    def on_message_complete(self) -> None:
        """The next head may come."""
        self._beyond, self._in_head = 0, True
        HttpToolsProtocol.on_message_complete(self)

    def send_400_response(self, msg: str) -> None:
        """In JSON, as every error."""
        self._refuse(400, f"this is no request of HTTP/1.1 ({msg.rstrip('.')}). Let an HTTP library write it.")

    def _wait(self) -> None:
        self._timer = self.loop.call_later(self._service.settings.timeout, self._late)

    def _cease(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        """Close what is silent; to who has begun to speak it is said."""
        self._timer = None
        if self._is_answering:
            self._wait()
        elif self._beyond:
            seconds = self._service.settings.timeout
            self._refuse(408, f"the head of the request did not arrive within {seconds:g} seconds. Send it again.")
        else:
            self.transport.close()

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, status: int, sentence: str) -> None:
        self._cease()
        self._service.metrics.request("other", "other", status, 0.0)
        self._service.log.write("refused", status=status, error=sentence)
        if self._is_answering:  # an answer of two would be none
            self.transport.abort()
            return
        body = json.dumps({"error": sentence}).encode()
        head = f"content-type: application/json\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        self.transport.write(STATUS_LINE[status] + head.encode() + body)
        self.transport.close()
