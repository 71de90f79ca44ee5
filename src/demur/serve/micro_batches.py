"""One thread per guard asks its model, about the images of as many requests as there are.

While the model works, requests gather; the next batch takes them all. Where others are being decoded just now it waits
for them a moment, so an idle server answers one image at once. Under load decisions are observed beside the
model.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import torch

from demur.guard import Decisions
from demur.serve.http_errors import RequestError, overloaded
from demur.shapes import Images

AFTER = 0.1
"""Share of what the pace of the last batches changes by with each batch."""


Decoded: TypeAlias = tuple[Images, tuple[str, ...]]
Decode = Callable[[], Decoded]

Outcome: TypeAlias = tuple[Decisions, Any] | Exception
"""Decisions and what the observer said beside them, or what went wrong."""


@dataclass(eq=False, kw_only=True)
class Waiting:
    """The images of one request, and where their decisions go.

    Attributes:
        rows: how many they are.
        decode: makes images (rows, channels, height, width) in [0, 1] and, for each, why it could not be read or
            nothing; called once, by the thread that asks the model.
        site: where they come from.
        tag: what the observer of decisions is told with them.
    """

    rows: int
    decode: Decode
    site: str | None = None
    tag: Any = None
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    future: "asyncio.Future[tuple[Decisions, Any]]" = field(init=False)

    def __post_init__(self) -> None:
        self.future = self.loop.create_future()

    def __len__(self) -> int:
        return self.rows

    @cached_property
    def decoded(self) -> Decoded:
        """Images, and why each could not be read."""
        return self.decode()

    @property
    def decision(self) -> "asyncio.Future[tuple[Decisions, Any]]":
        """The decisions about its images, and what the observer said of them."""
        return self.future

    def settle(self, found: Outcome) -> None:
        """Tell its event loop, which may be gone."""
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._settle, found)

    def _settle(self, found: Outcome) -> None:
        if self.future.done():  # nobody waits any more
            return
        if isinstance(found, Exception):
            self.future.set_exception(found)
        else:
            self.future.set_result(found)


Decide = Callable[[Images, tuple[str, ...], Any], Decisions]
"""Images, what is wrong with them, and their sites → decisions."""

Observe = Callable[[Sequence[tuple[Waiting, Decisions]]], Sequence[Any]]
"""The requests of a batch with their decisions → what is to be said of each request beside them."""


class MicroBatches:
    """The queue of a guard, and the thread that empties it.

    Args:
        decide: asks the guard; it is called by one thread alone.
        observe: is told what was decided before anybody else, batch after batch; where others wait already, beside the
            model's thread.
        batch: images that are taken at once, at most, unless one request has more.
        queue: images that may wait, be decoded or be decided.
        wait: seconds for which a batch waits for requests that are being decoded.
        name: of the thread.
    """

    def __init__(self, decide: Decide, observe: Observe, *, batch: int, queue: int, wait: float, name: str) -> None:
        self._decide, self._observe = decide, observe
        self._batch, self._limit, self._wait = batch, queue, wait
        self._ready = threading.Condition()
        self._line = deque[Waiting]()
        self._coming = self._inside = self._behind = 0
        self._closed = False
        self._pace = 0.001
        self.sizes = deque[int](maxlen=4096)
        self._scribe = ThreadPoolExecutor(1, thread_name_prefix=f"observer {name}")
        self._thread = threading.Thread(target=self._run, name=f"guard {name}", daemon=True)
        self._thread.start()

    @property
    def depth(self) -> int:
        """Images that wait, are being decoded or being decided."""
        return self._inside

    def admit(self, rows: int) -> None:
        """Take the images of a request in, before they are decoded.

        Raises:
            RequestError: 503, there are too many already, or the guard is being replaced.
        """
        with self._ready:
            if self._closed:
                raise overloaded("this guard is just being replaced or ended; send the request again.", 1)
            if self._inside + rows > self._limit:
                raise overloaded(
                    f"{self._inside} images wait already, of at most {self._limit}; got {rows} more. Send them again "
                    "after the seconds in Retry-After.",
                    self._inside * self._pace,
                )
            self._inside += rows
            self._coming += 1

    def withdraw(self, rows: int) -> None:
        """What was admitted does not come."""
        with self._ready:
            self._inside -= rows
            self._coming -= 1
            self._ready.notify()

    def put(self, waiting: Waiting) -> None:
        """Images that were admitted are decoded; from any thread."""
        with self._ready:
            self._coming -= 1
            self._line.append(waiting)
            self._ready.notify()

    def close(self) -> None:
        """Decide about all that was admitted, then end; nothing more is admitted."""
        with self._ready:
            self._closed = True
            self._ready.notify()
        self._thread.join()
        self._scribe.shutdown()

    def _run(self) -> None:
        while batch := self._next():
            began = time.perf_counter()
            decided = self._decided([each for each in batch if not each.future.cancelled()])
            rows = sum(map(len, batch))
            self._pace += AFTER * ((time.perf_counter() - began) / rows - self._pace)
            self.sizes.append(rows)
            if self._line or self._behind:  # the model goes on with the next ones meanwhile
                with self._ready:
                    self._behind += 1
                self._scribe.submit(self._finish, decided, rows, 1)
            else:
                self._finish(decided, rows, 0)

    def _finish(self, decided: Sequence[tuple[Waiting, Decisions | Exception]], rows: int, behind: int) -> None:
        """Have decisions observed, in the order they were made, and tell whoever waits for them."""
        outcomes = self._observed(decided)
        with self._ready:
            self._inside -= rows
            self._behind -= behind
        for each, found in outcomes:
            each.settle(found)

    def _observed(self, decided: Sequence[tuple[Waiting, Decisions | Exception]]) -> list[tuple[Waiting, Outcome]]:
        pairs = [
            (each, found)
            for each, found in decided
            if not isinstance(found, Exception) and not each.future.cancelled()  # nobody would get its question
        ]
        failed: list[tuple[Waiting, Outcome]] = [
            (each, found) for each, found in decided if isinstance(found, Exception)
        ]
        try:
            said = self._observe(pairs) if pairs else ()
            return failed + [(each, (made, beside)) for (each, made), beside in zip(pairs, said, strict=True)]
        except Exception as error:  # noqa: BLE001 - a thread that ends would leave everybody waiting
            return failed + [(each, error) for each, _ in pairs]

    def _next(self) -> list[Waiting]:
        """The requests of the next batch; none where this is over."""
        with self._ready:
            self._ready.wait_for(lambda: self._line or (self._closed and not self._coming))
            if self._coming and self._line:
                self._ready.wait_for(lambda: not self._coming or self._waiting() >= self._batch, self._wait)
            found, rows = list[Waiting](), 0
            while self._line and (not found or rows + len(self._line[0]) <= self._batch):
                found.append(self._line.popleft())
                rows += len(found[-1])
            return found

    def _waiting(self) -> int:
        return sum(map(len, self._line))

    def _decided(self, batch: Sequence[Waiting]) -> list[tuple[Waiting, Decisions | Exception]]:
        """What comes of each request; whoever no longer waits, for it took too long, is not among them."""
        if not batch:
            return []
        try:
            return _pairs(batch, self._answers(batch))
        except Exception as error:  # noqa: BLE001 - whatever a model raises is said to whoever asked it
            if len(batch) == 1:
                return [(batch[0], error)]
            return [found for each in batch for found in self._decided([each])]  # it breaks no other

    def _answers(self, batch: Sequence[Waiting]) -> Decisions:
        if len(batch) == 1:
            images, details = batch[0].decoded
        else:
            images = torch.cat([each.decoded[0] for each in batch])
            details = tuple(detail for each in batch for detail in each.decoded[1])
        sites = np.array([each.site for each in batch for _ in range(len(each))], object)
        return self._decide(images, details, sites)


def _pairs(batch: Sequence[Waiting], decisions: Decisions) -> list[tuple[Waiting, Decisions | Exception]]:
    """Each request with its part of the decisions about all."""
    if len(batch) == 1:
        return [(batch[0], decisions)]
    found, rows = list[tuple[Waiting, Decisions | Exception]](), 0
    for each in batch:
        found.append((each, decisions.part(rows, rows + len(each))))
        rows += len(each)
    return found


def not_in_time(seconds: float) -> RequestError:
    """A 503 for images that were not decided in time."""
    return overloaded(
        f"the images were not decided within {seconds:g} seconds. Send them again later, or fewer at once; the "
        "server's --timeout is its own.",
        seconds,
    )
