"""One writer at a time: a lease, which is an object that its holder renews and others may take once it stands still.

Clocks of different machines are never compared: who waits takes the lease over only after it has not changed for a
whole period by its own clock, and who holds it writes only while the last renewal is younger than that by its own. A
holder that was stopped meanwhile, and goes on, finds that the lease is another's.
"""

import json
import os
import socket
import threading
import time
import uuid
from dataclasses import dataclass, field

from demur.errors import DemurError, InputError, RunError
from demur.remote.objects import ConflictError, Objects, Version

FILE = "lease.json"
SECONDS = "DEMUR_LEASE_SECONDS"
_PERIOD, _LONGEST = 60.0, 3600.0
_LOOKS = 20
"""How often a waiter looks within a period."""


def lease_period() -> float:
    """Seconds after which a lease that is not renewed may be taken over: 60, or as the environment says.

    Raises:
        InputError: that is no number of seconds from 1 to 3,600.
    """
    text = os.environ.get(SECONDS, str(_PERIOD))
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 1 <= found <= _LONGEST:
        raise InputError(f"{SECONDS} must be a number of seconds from 1 to 3600; got {text!r:.40}.")
    return found


@dataclass(eq=False)
class Lease:
    """A lease of one folder, held by this process from `acquire` to `release`.

    Attributes:
        objects: of the bucket.
        key: of the lease.
        period: seconds after which others may take it over if it was not renewed.
    """

    objects: Objects
    key: str
    period: float = field(default_factory=lease_period)
    _token: str = field(default_factory=lambda: uuid.uuid4().hex)
    _version: Version | None = None
    _renewed: float = 0.0
    _count: int = 0
    _turn: threading.RLock = field(default_factory=threading.RLock)
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    @property
    def is_held(self) -> bool:
        """Whether this process has it, as far as it knows."""
        return self._version is not None

    @property
    def was_held(self) -> bool:
        """Whether this process has had it."""
        return self._thread is not None

    def acquire(self) -> None:
        """Take the lease, at once where it is free, else once its holder has not renewed it for a whole period.

        Raises:
            RunError: somebody else renews it.
            InputError: the store does not keep to conditions, so that nothing would be safe.
        """
        seen, since, period = self.objects.version(self.key), time.monotonic(), max(self.period, self._named_period())
        while not self._taken(seen, stands=time.monotonic() - since >= period):
            time.sleep(self.period / _LOOKS)
            now = self.objects.version(self.key)
            if seen is not None and now is not None and not now.is_same(seen):
                raise RunError(self._busy())
            if seen is None or now is None:
                since = time.monotonic()
            seen = now
        self._check_conditions()
        self._thread = threading.Thread(target=self._keep, name="demur-lease", daemon=True)
        self._thread.start()

    def _named_period(self) -> float:
        """The period of whoever holds it."""
        found = self.objects.get(self.key)
        return _facts(found[0] if found else b"").seconds

    def _taken(self, seen: Version | None, *, stands: bool) -> bool:
        """Whether it could be taken: where there was none, or over one that stands still."""
        if seen is not None and not stands:
            return False
        try:
            self._put(seen)
        except ConflictError:
            return False
        return True

    def _put(self, after: Version | None) -> None:
        began = time.monotonic()
        self._version = self.objects.put(self.key, self._content(), after)
        self._renewed = began

    def _content(self) -> bytes:
        """Another one each time: some stores tell objects apart by their content alone."""
        self._count += 1
        facts = {"token": self._token, "renewed": self._count, "host": socket.gethostname(), "process": os.getpid()}
        return (json.dumps({**facts, "seconds": self.period}, sort_keys=True) + "\n").encode()

    def _check_conditions(self) -> None:
        """Refuse a store that lets two writers create one object, or writes over another than was named."""
        for after in (None, self._another()):
            try:
                self.objects.put(self.key, b"{}\n", after)
            except ConflictError:
                continue
            self._version = None
            self.objects.delete([self.key])
            raise InputError(
                f"{self.objects.address}: this store does not keep to conditional writes (If-None-Match, If-Match), so "
                "two writers could mix their files. Use one that does, or a local folder."
            )

    def _another(self) -> Version:
        """Not the lease as it is, told in the way in which the store tells it."""
        number = None if self._version is None else self._version.version
        return Version('"0123456789abcdef0123456789abcdef"', None if number is None else "2" if number == "1" else "1")

    def confirm(self, *, anew: bool = False) -> None:
        """Make sure that this process still holds it, by asking where the last renewal is old, or in any case.

        Raises:
            RunError: somebody else took it over.
        """
        with self._turn:
            if anew or time.monotonic() - self._renewed > self.period / 2:
                self._renew()
            if self._version is None:
                raise RunError(self._lost())

    def _renew(self) -> None:
        """One at a time: the thread that renews it and a write that asks would else each refuse the other."""
        with self._turn:
            if self._version is None:
                return
            try:
                self._put(self._version)
            except ConflictError:
                self._version = None

    def _keep(self) -> None:
        """Renew it three times a period; what fails is tried again, and told by the next write."""
        while not self._stop.wait(self.period / 3):
            try:
                self._renew()
            except DemurError:
                continue

    def release(self) -> None:
        """Give it back, if it is still this process's; the last renewal keeps others away until it is gone."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        with self._turn:
            if self._version is not None:
                self._renew()
            if self._version is not None and time.monotonic() - self._renewed < self.period / 2:
                self.objects.delete([self.key])
            self._version = None

    def _busy(self) -> str:
        found = self.objects.get(self.key)
        holder = _facts(found[0] if found else b"")
        return (
            f"another process{holder.words} is writing into {self.objects.address}. Wait for it, or choose another "
            "folder with --out."
        )

    def _lost(self) -> str:
        return (
            f"{self.objects.address}: this process could not renew its lease for {self.period:.0f} s, and another has "
            "taken over. Nothing more was written by this one; what it wrote before is kept, and the other goes on."
        )


@dataclass(frozen=True)
class _Holder:
    """Who holds a lease, as far as it says so."""

    words: str = ""
    seconds: float = 0.0


def _facts(content: bytes) -> _Holder:
    try:
        facts = json.loads(content)
        seconds = min(max(0.0, float(facts["seconds"])), _LONGEST)
        return _Holder(f" ({facts['host']!s:.80}, process {facts['process']!s:.20})", seconds)
    except (ValueError, LookupError, TypeError):
        return _Holder()
