"""Guards in service: who is asked, what is allowed, what is counted."""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from demur.alarms import AlarmPlan, Question
from demur.errors import DemurError, InputError, RunError, unknown
from demur.foreign import reason
from demur.guard import Decisions
from demur.serve.alarm_watch import AlarmWatch, GuardAlarms
from demur.serve.guard_reload import GuardReload
from demur.serve.http_errors import RequestError
from demur.serve.micro_batches import Decode, Decoded, Waiting, not_in_time
from demur.serve.picture_limits import check_images, check_pixels, pixels_of
from demur.serve.request_bodies import OpenBodies
from demur.serve.retired_alarms import RetiredAlarms
from demur.serve.served_guard import LoadedGuard, ServedGuard
from demur.serve.service_log import ServiceLog
from demur.serve.service_metrics import ServiceMetrics
from demur.serve.service_settings import ServiceSettings
from demur.serve.visit import Visit
from demur.serve.webhook import Webhook

Intake: TypeAlias = "Sequence[bytes] | NDArray[np.float32]"
"""Pictures as bytes of files, or images (rows, channels, height, width) in [0, 1]."""

_SMALL = 2**18
"""Bytes, and pixels, of images that the thread of a model decodes itself where nobody else waits: a hand-over less."""


_SHORT = 2**16
"""Bytes of a body that is taken apart at once."""

Made = TypeVar("Made")


@dataclass(frozen=True, kw_only=True, eq=False)
class Answers:
    """What was decided about the images of one request.

    Attributes:
        decisions: of the guard, in order.
        ids: one per image, by which feedback names it.
        questions: per image what the alarms ask of whoever sees it; None where nothing.
        loaded: the guard that decided.
    """

    decisions: Decisions
    ids: tuple[str, ...]
    questions: Sequence[Question | None]
    loaded: LoadedGuard


class Service:
    """Guards in service.

    Args:
        guards: the first of them is asked where a request names none.
        settings: what is allowed.
        alarms: what the alarms of each guard keep to.
        state: the folder where their state is kept; None for in memory alone.
        webhook: the address that is told of alarms.
        log: where events are written.
        device: where models run.

    Raises:
        InputError: no guard, a state that cannot be used, a webhook that is no address.
    """

    def __init__(
        self,
        guards: Sequence[LoadedGuard],
        settings: ServiceSettings | None = None,
        *,
        alarms: AlarmPlan | None = None,
        state: Path | None = None,
        webhook: str | None = None,
        log: ServiceLog | None = None,
        device: str | None = None,
    ) -> None:
        if not guards:
            raise InputError("a server serves one guard at the least; got none. Name the folder of one.")
        self.settings, self.plan, self.state = settings or ServiceSettings(), alarms or AlarmPlan(), state
        self.log = log or ServiceLog()
        self.device = device
        self.draining = False
        self.bodies = OpenBodies(self.settings.open_bytes)
        self.connections: Callable[[], int] = lambda: 0
        self.metrics = ServiceMetrics(lambda: self.guards)
        self.pool = ThreadPoolExecutor(self.settings.decoders, thread_name_prefix="decode")
        self.reload, self.retired = GuardReload(self), RetiredAlarms()
        self.default = guards[0].name
        self._webhook = None if webhook is None else Webhook(webhook, self._note_webhook)
        self.guards = {each.name: self.put_in_service(each) for each in guards}
        self.watch = AlarmWatch(self._watched, self._tell, self._note_fault)

    def put_in_service(self, loaded: LoadedGuard) -> ServedGuard:
        """A guard with a queue and a thread of its own.

        Raises:
            InputError: the state of its alarms cannot be used.
        """
        served: ServedGuard
        kept = self.retired.take(loaded.name, loaded.sha256)
        alarms = kept or GuardAlarms.open(loaded, self.plan, self.state)
        if alarms.alarms is None:
            self.log.write("no alarms", guard=loaded.name, reason=alarms.reason)

        def observe(batch: Sequence[tuple[Waiting, Decisions]]) -> Sequence[Any]:
            return self._observe(served, batch)

        served = ServedGuard(loaded, alarms, self.settings, observe)
        return served

    def guard(self, name: str | None = None) -> ServedGuard:
        """The guard of a name; the default one without.

        Raises:
            RequestError: 404, there is none.
        """
        found = self.guards.get(self.default if name is None else name)
        if found is None:
            raise RequestError(404, str(unknown("guard", str(name), self.guards)))
        return found

    async def parsed(self, size: int, work: Callable[..., Made], *given: Any) -> Made:
        """What is made of a body of so many bytes; of a large one beside the event loop, which others wait for."""
        if size <= _SHORT:
            return work(*given)
        return await asyncio.get_running_loop().run_in_executor(self.pool, work, *given)

    async def beside(self, work: Callable[..., Made], *given: Any) -> Made:
        """What work gives that waits for a disk or another thread, in a thread of its own: the event loop goes on."""
        return await asyncio.get_running_loop().run_in_executor(None, work, *given)

    def alarms_of(self, name: str | None = None) -> Sequence[GuardAlarms]:
        """The alarms of all guards, or of a name, in service first; then of those that they took the place of.

        Raises:
            RequestError: 404, there is no such guard.
        """
        served = list(self.guards.values()) if name is None else [self.guard(name)]
        return [each.alarms for each in served] + [
            each for each in self.retired.all if name in {None, each.loaded.name}
        ]

    def _watched(self) -> Sequence[GuardAlarms]:
        self.retired.tidy()
        return self.alarms_of()

    async def decide(
        self, served: ServedGuard, images: Intake, visit: Visit, *, site: str | None = None, sequence: str | None = None
    ) -> Answers:
        """Decide about the images of one request.

        Raises:
            RequestError: too many images or pixels, no site where one is needed, none readable, no room, no time.
        """
        loaded = served.loaded
        visit.asking(loaded.name, loaded.sha256)
        self._check(served, len(images), site)
        prefix = secrets.token_hex(6)
        ids = tuple(f"{prefix}-{place}" for place in range(len(images)))
        is_alone = (
            not served.batches.depth
        )  # then it is decoded by the thread of the model, which has nothing else to do
        served.batches.admit(len(images))
        try:
            async with asyncio.timeout(self.settings.timeout):
                work = partial(self._decoded, served, images)
                if not (is_alone and _is_small(images)):
                    work = partial(_ready_made, await self._in_pool(served, len(images), work))
                waiting = Waiting(rows=len(images), decode=work, site=site, tag=(ids, sequence))
                served.batches.put(waiting)
                decisions, questions = await waiting.decision
        except TimeoutError:
            raise not_in_time(self.settings.timeout) from None
        visit.decided(decisions)
        return Answers(decisions=decisions, ids=ids, questions=questions, loaded=loaded)

    def _check(self, served: ServedGuard, rows: int, site: str | None) -> None:
        if not rows:
            raise RequestError(422, "a request is about one image at the least; got none. Send some.")
        check_images(rows, self.settings.images)
        if served.loaded.is_sited and site is None:
            column = served.loaded.guard.policy.certificate.column  # type: ignore[union-attr]
            raise RequestError(
                422,
                f"this guard has a threshold for each {column} and must be told where images come from. Send `site`.",
            )

    async def _in_pool(self, served: ServedGuard, rows: int, work: Decode) -> Decoded:
        """What is decoded beside the model's thread; where that fails, what was admitted is withdrawn."""
        try:
            return await asyncio.get_running_loop().run_in_executor(self.pool, work)
        except BaseException:
            served.batches.withdraw(rows)
            raise

    def _decoded(self, served: ServedGuard, images: Intake) -> Decoded:
        """Images as the model reads them.

        Raises:
            RequestError: they are none, or have too many pixels.
        """
        try:
            if isinstance(images, np.ndarray):
                return served.loaded.guard.intake.tensor(images), ("",) * len(images)
            return self._of_pictures(served, images)
        except RequestError:
            raise
        except DemurError as error:
            raise RequestError(422, str(error)) from None

    def _of_pictures(self, served: ServedGuard, pictures: Sequence[bytes]) -> Decoded:
        check_pixels(pictures, self.settings.pixels)
        images, details = served.loaded.guard.intake.batch(pictures)
        if all(details):
            raise RequestError(
                422,
                f"not one picture can be read; the first one {_about(details[0])}. Send PNG, JPEG, TIFF, BMP, "
                "GIF or WebP.",
            )
        return images, details

    def _observe(self, served: ServedGuard, batch: Sequence[tuple[Waiting, Decisions]]) -> Sequence[Any]:
        name = served.loaded.name
        self.metrics.batch(name, sum(len(each) for each, _ in batch))
        for _, decisions in batch:
            self.metrics.decided(name, decisions)
            served.count(dict(decisions.scores))
        return self._questions(served.alarms, batch)

    def _questions(self, alarms: GuardAlarms, batch: Sequence[tuple[Waiting, Decisions]]) -> Sequence[Any]:
        """What the alarms ask; where they cannot note one request, they note the others."""
        try:
            return alarms.observe(batch)
        except Exception as error:  # noqa: BLE001 - a full disk must not keep answers back; it is told
            if len(batch) > 1 and not isinstance(error, RunError):
                return [each for pair in batch for each in self._questions(alarms, [pair])]
            self._note_fault(alarms, error)
            return [[None] * len(each) for each, _ in batch]

    def _note_fault(self, alarms: GuardAlarms, error: Exception) -> None:
        self.metrics.alarm_fault(alarms.loaded.name)
        self.log.write("alarm fault", guard=alarms.loaded.name, error=reason(error))

    def _tell(self, message: dict[str, Any]) -> None:
        self.log.write(**message)
        if self._webhook is not None:
            self._webhook.send(message)

    def _note_webhook(self, outcome: str, facts: dict[str, Any]) -> None:
        self.metrics.webhook(outcome)
        self.log.write("webhook", outcome=outcome, **facts)

    def close(self) -> None:
        """Decide about all that was admitted, and end the threads."""
        for served in list(self.guards.values()):
            served.batches.close()
        self.watch.close()
        if self._webhook is not None:
            self._webhook.close()
        for alarms in self.alarms_of():
            alarms.close()
        self.pool.shutdown(wait=False, cancel_futures=True)


def _ready_made(decoded: Decoded) -> Decoded:
    return decoded


def _is_small(images: Intake) -> bool:
    """Whether they are decoded in no time: few bytes, and few pixels by their heads, for a bomb has few bytes too."""
    if isinstance(images, np.ndarray):
        return images.nbytes <= _SMALL
    return sum(map(len, images)) <= _SMALL and sum(map(pixels_of, images)) <= _SMALL


def _about(detail: str) -> str:
    return detail if detail.startswith(("cannot", "an image", "so long")) else f"is {detail}"
