"""A log of one JSON object a line."""

import json
import logging
import threading
from datetime import UTC, datetime
from typing import Any, TextIO

from demur.foreign import traceback_of


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


class LogHandler(logging.Handler):
    """Has the warnings of a library written as events."""

    def __init__(self, log: ServiceLog) -> None:
        logging.Handler.__init__(self, logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write one down."""
        facts = {"traceback": traceback_of(record.exc_info[1])} if record.exc_info and record.exc_info[1] else {}
        self._log.write("server", level=record.levelname.lower(), message=record.getMessage(), **facts)
