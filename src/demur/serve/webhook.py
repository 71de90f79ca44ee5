"""Tells another server of alarms: retried, from a thread of its own, never on the way of an answer."""

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from queue import Full, Queue
from typing import Any
from urllib.parse import urlsplit

from demur.errors import InputError
from demur.foreign import reason

TRIES = 6
"""How often a message is sent at most; the pauses between are 1, 2, 4, … times `PAUSE`."""

PAUSE, SECONDS, MOST = 1.0, 5.0, 100
Note = Callable[[str, dict[str, Any]], None]
"""An outcome, `sent`, `failed` or `lost`, and what is known of it."""


class Webhook:
    """Posts messages of JSON to an address, one after the other.

    Args:
        address: http:// or https://; it is told nothing of images.
        note: is told what came of each message.

    Raises:
        InputError: the address is none.
    """

    def __init__(self, address: str, note: Note, *, pause: float = PAUSE) -> None:
        parts = urlsplit(address)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise InputError(f"a webhook is an address such as https://host/path; got {address[:200]!r}.")
        self._address, self._note, self._pause = address, note, pause
        self._messages: Queue[dict[str, Any] | None] = Queue(MOST)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="webhook", daemon=True)
        self._thread.start()

    def send(self, message: dict[str, Any]) -> None:
        """Have a message sent; where a hundred wait already, it is lost, and noted."""
        try:
            self._messages.put_nowait(message)
        except Full:
            self._note("lost", {"reason": f"{MOST} messages wait already"})

    def close(self, seconds: float = 2.0) -> None:
        """Send what waits, each once, and end."""
        self._ended.set()
        try:
            self._messages.put_nowait(None)
        except Full:
            return
        self._thread.join(seconds)

    def _run(self) -> None:
        while (message := self._messages.get()) is not None:
            self._deliver(message)

    def _deliver(self, message: dict[str, Any]) -> None:
        why = ""
        for attempt in range(TRIES):
            try:
                self._post(message)
            except (OSError, ValueError, HTTPException) as error:  # urllib's errors are OSErrors
                why = reason(error)[:200]
                if self._ended.wait(self._pause * 2**attempt):
                    break
            else:
                self._note("sent", {"tries": attempt + 1})
                return
        self._note("failed", {"reason": why})

    def _post(self, message: dict[str, Any]) -> None:
        content = json.dumps(message, allow_nan=False).encode()
        request = urllib.request.Request(  # noqa: S310 - http or https, checked above
            self._address, content, {"Content-Type": "application/json", "User-Agent": "demur"}, method="POST"
        )
        with urllib.request.urlopen(request, timeout=SECONDS):  # noqa: S310
            return
