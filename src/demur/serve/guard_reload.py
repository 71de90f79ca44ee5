"""Another guard under the same name, without a lost request; a broken one changes nothing."""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from demur.errors import DemurError
from demur.foreign import reason
from demur.serve.http_errors import RequestError
from demur.serve.served_guard import LoadedGuard, ServedGuard

if TYPE_CHECKING:
    from demur.serve.service import Service

Made = TypeVar("Made")


class GuardReload:
    """Loads guards of a service again from their folders, one after the other."""

    def __init__(self, service: "Service") -> None:
        self._service = service
        self._turn: asyncio.Lock | None = None
        self._tasks = set[asyncio.Task[None]]()

    def all(self) -> None:
        """Begin to load every guard again; what comes of it stands in the log."""
        task = asyncio.get_running_loop().create_task(self._all())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _all(self) -> None:
        for name in list(self._service.guards):
            try:
                await self.one(name)
            except RequestError:  # it was logged
                continue

    async def one(self, name: str) -> dict[str, Any]:
        """Load a guard again; where its folder holds the same one, nothing happens.

        Raises:
            RequestError: 404, there is no such guard; 409, its folder cannot be used, so that the old one stays.
        """
        service = self._service
        service.guard(name)
        self._turn = self._turn or asyncio.Lock()
        async with self._turn:
            old = service.guard(name)
            loaded = await self._tried(old.loaded, LoadedGuard.read, name, old.loaded.folder, service.device)
            if loaded.sha256 == old.loaded.sha256:
                self._note(name, "unchanged", sha256=loaded.sha256)
                return {"name": name, "sha256": loaded.sha256, "changed": False}
            made = await self._tried(old.loaded, service.put_in_service, loaded)
            service.retired.add(old.alarms)
            service.guards[name] = made  # whoever asks from now on asks the new one
            await asyncio.get_running_loop().run_in_executor(None, self._leave, old)
            self._note(name, "changed", sha256=loaded.sha256, before=old.loaded.sha256)
            return {"name": name, "sha256": loaded.sha256, "changed": True}

    def _leave(self, old: ServedGuard) -> None:
        """Decide about what the old one admitted, and tell of its alarms; feedback on its images goes on."""
        old.batches.close()
        self._service.watch.look_at(old.alarms)
        self._service.retired.settle(old.alarms)

    async def _tried(self, old: LoadedGuard, work: Callable[..., Made], *given: Any) -> Made:
        """What a step makes, in a thread; where it fails, the old guard stays."""
        try:
            return await asyncio.get_running_loop().run_in_executor(None, work, *given)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, the old one goes on
            why = str(error) if isinstance(error, DemurError) else reason(error)
            self._note(old.name, "refused", sha256=old.sha256, error=why)
            raise RequestError(
                409, f"the guard {old.name!r} stays as it is, {old.version}: its folder cannot be used. {why}"
            ) from None

    def _note(self, name: str, outcome: str, **facts: str) -> None:
        self._service.metrics.reload(name, outcome)
        self._service.log.write("reload", guard=name, outcome=outcome, **facts)
