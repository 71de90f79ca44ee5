"""The process: a socket, an event loop, and an end in which every request that was accepted is answered."""

import asyncio
import logging
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from types import FrameType
from typing import Any, cast

import uvicorn

from demur.errors import InputError
from demur.serve.application import app_of
from demur.serve.bounded_connection import BoundedConnection
from demur.serve.front_door import GRACE
from demur.serve.service import Service
from demur.serve.service_log import LogHandler

BACKLOG = 2048
LAST = 0.3
"""Seconds in which those that were taken in last get their 503."""

IDLE = 75
"""Seconds after which a connection without a request is closed."""


def listening(host: str, port: int) -> socket.socket:
    """A socket that connections wait at.

    Raises:
        InputError: there is no such place, or it is taken.
    """
    try:
        found = socket.create_server((host, port), family=_family(host), backlog=BACKLOG)
    except OSError as error:
        raise InputError(
            f"cannot listen at {host}:{port}: {error.strerror or error}. Choose another with --host and --port."
        ) from None
    found.settimeout(0)
    return found


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def serve(service: Service, place: socket.socket, ready: Callable[[], None] = lambda: None) -> None:
    """Answer requests until the process is told to terminate; then answer all that were accepted.

    SIGTERM and SIGINT end it: for a moment new requests get a 503 and their connections are closed, then no more are
    accepted, and what is being decided is answered. SIGHUP loads the guards again. Only in the main thread.

    Args:
        service: what is served; it is closed at the end.
        place: where connections wait.
        ready: called once requests are answered.
    """
    config = uvicorn.Config(
        app_of(service), log_config=None, access_log=False, server_header=False, backlog=BACKLOG,
        timeout_keep_alive=IDLE, timeout_graceful_shutdown=None, lifespan="off", ws="none",
        http=cast(type[asyncio.Protocol], partial(BoundedConnection, service)),
    )  # fmt: skip
    server = uvicorn.Server(config)
    service.connections = lambda: len(server.server_state.connections)
    logger = logging.getLogger("uvicorn.error")
    logger.propagate, logger.handlers = False, [LogHandler(service.log)]
    try:
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(_until_told(service, server, place, ready))
    finally:
        service.close()


async def _until_told(
    service: Service, server: uvicorn.Server, place: socket.socket, ready: Callable[[], None]
) -> None:
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, _no_end)  # the server itself ends by them, and hands them to whoever had them before
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, service.reload.all)
    work = asyncio.create_task(server.serve([place]))
    try:
        while not server.started and not work.done():
            await asyncio.sleep(0.01)
        loop.add_signal_handler(signal.SIGTERM, _end, service, server, place)
        loop.add_signal_handler(signal.SIGINT, _end, service, server, place)
        ready()
        await work
    finally:
        loop.remove_signal_handler(signal.SIGHUP)
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


def _no_end(_number: int, _frame: FrameType | None) -> None:
    """Stands in for a handler that would end the process."""


def _end(service: Service, server: uvicorn.Server, place: socket.socket) -> None:
    if service.draining:
        return
    service.draining = True
    service.log.write("ending", grace=GRACE)
    loop = asyncio.get_running_loop()
    loop.call_later(GRACE, _shut, server, place)
    loop.call_later(GRACE + LAST, _stop, server)


def _shut(server: uvicorn.Server, place: socket.socket) -> None:
    """Take in who waits already, and nobody else: a connection that nobody took in would be reset with its request."""
    loop = asyncio.get_running_loop()
    with suppress(BlockingIOError):
        while True:
            connection, _ = place.accept()
            connection.settimeout(0)
            task = loop.create_task(loop.connect_accepted_socket(partial(_protocol, server), connection))
            _TAKEN.add(task)
            task.add_done_callback(_TAKEN.discard)
    place.shutdown(socket.SHUT_RDWR)


_TAKEN = set[asyncio.Task[Any]]()


def _protocol(server: uvicorn.Server) -> asyncio.Protocol:
    make = server.config.http_protocol_class
    return make(config=server.config, server_state=server.server_state, app_state=server.lifespan.state)  # type: ignore[call-arg]


def _stop(server: uvicorn.Server) -> None:
    server.should_exit = True
