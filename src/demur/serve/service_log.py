"""A log of one JSON object a line."""

import json
import threading
from datetime import UTC, datetime
from typing import Any, TextIO


class ServiceLog:
    """Writes events, a line each, whole; to nowhere without a stream."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._turn = threading.Lock()

    def write(self, event: str, **facts: Any) -> None:
        """An event with what is known of it; a stream that is full or gone is no reason to stop serving."""
        if self._stream is None:
            return
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": at, "event": event, **facts}, ensure_ascii=True, default=str)
        try:
            with self._turn:
                self._stream.write(f"{line}\n")
                self._stream.flush()
        except (OSError, ValueError):
            self._stream = None
