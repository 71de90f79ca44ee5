"""The objects of a bucket: read, listed, and written only where nobody else wrote meanwhile; with patience.

obstore itself tries a request again after errors 429 and 5xx and a lost connection, and after a timeout where that is
harmless: it is not for an object that must not be there yet. So whatever may pass is tried again here, for minutes. An
answer that got lost makes the second try of a write find its own object: the content decides whose it is.
"""

import os
import random
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from demur.errors import InputError, RunError, brief, missing_extra
from demur.remote.remote_folder import RemoteFolder

PATIENCE = 300.0
"""Seconds for which a request is tried again."""

BATCH = 1000
"""Objects that one request removes at most, as S3 has it."""

_FIRST_WAIT, _LONGEST_WAIT = 0.2, 15.0
_PASSING = frozenset({"408", "409", "425", "429"})
_STATUS = re.compile(r"status code: (\d{3})")
_NO_BUCKET = re.compile(r"NoSuchBucket|bucket does not exist", re.IGNORECASE)
_NO_CREDENTIALS = re.compile(r"169\.254\.169\.254|metadata\.google|fetching credentials|getting credentials", re.I)

Found = TypeVar("Found")


class ConflictError(Exception):
    """The object is not as it was when it was last seen here: somebody else wrote."""


@dataclass(frozen=True)
class Version:
    """What tells an object from the same one later."""

    e_tag: str | None
    version: str | None = None

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> "Version":
        """As the store tells it."""
        return cls(found.get("e_tag"), found.get("version"))

    def is_same(self, other: "Version | None") -> bool:
        """Whether both tell the same object: by its number where both have one, else by its tag."""
        if other is None:
            return False
        if self.version is not None and other.version is not None:
            return self.version == other.version
        return self.e_tag == other.e_tag

    @property
    def mode(self) -> dict[str, str]:
        """The condition that the object is still this one; a value that is not known must be left out."""
        known = {"e_tag": self.e_tag, "version": self.version}
        return {key: value for key, value in known.items() if value is not None}


def batched(items: Sequence[str], size: int) -> Iterator[tuple[str, ...]]:
    """Items in order, so many at a time."""
    return (tuple(items[start : start + size]) for start in range(0, len(items), size))


@dataclass(frozen=True)
class Objects:
    """The objects of one bucket, by their keys.

    Attributes:
        address: for messages.
        store: of obstore.
        patience: seconds for which a request is tried again.
    """

    address: str
    store: Any
    patience: float = PATIENCE

    def get(self, key: str) -> tuple[bytes, Version] | None:
        """The content of an object and which it is; None where there is none."""

        def work() -> tuple[bytes, Version]:
            import obstore

            found = obstore.get(self.store, key)
            return bytes(found.bytes()), Version.of(found.meta)

        return self._found(f"read {key}", work)

    def version(self, key: str) -> Version | None:
        """Which object is there; None where there is none."""

        def work() -> Version:
            import obstore

            return Version.of(obstore.head(self.store, key))

        return self._found(f"find {key}", work)

    def list(self, prefix: str) -> dict[str, Version]:
        """Every object under a prefix, by the rest of its key."""

        def work() -> dict[str, Version]:
            import obstore

            found = obstore.list(self.store, prefix or None, chunk_size=1000).collect()
            return {each["path"].removeprefix(prefix): Version.of(each) for each in found}

        return self._patient(f"list {prefix}", work)

    def folders(self, prefix: str) -> tuple[str, ...]:
        """The names of the folders in a folder."""

        def work() -> tuple[str, ...]:
            import obstore

            found = obstore.list_with_delimiter(self.store, prefix or None)["common_prefixes"]
            return tuple(sorted(each.removeprefix(prefix).strip("/") for each in found))

        return self._patient(f"list {prefix}", work)

    def put(self, key: str, content: bytes, after: Version | None) -> Version:
        """Write an object over the one that is known, or where none is known to be.

        Raises:
            ConflictError: there is another; not where it is of the same content.
        """
        seen = after if after is None or self._can_replace(after) else self._numbered(key, after)

        def work() -> Version:
            import obstore

            mode: Any = "create" if seen is None else seen.mode
            return Version.of(obstore.put(self.store, key, content, mode=mode))

        try:
            return self._patient(f"write {key}", work)
        except _conflicts():
            found = self.get(key)
            if found is None or found[0] != content:
                raise ConflictError(key) from None
            return found[1]
        except FileNotFoundError as error:
            raise self._no_bucket() from error

    def _can_replace(self, after: Version) -> bool:
        """Whether a condition on it can be put: `gs://` wants the number of the object, which no list has."""
        return after.version is not None or not self.address.startswith("gs://")

    def _numbered(self, key: str, after: Version) -> Version:
        """The same object with its number.

        Raises:
            ConflictError: there is another.
        """
        found = self.version(key)
        if found is None or not found.is_same(after):
            raise ConflictError(key)
        return found

    def delete(self, keys: Iterable[str]) -> None:
        """Remove objects, so many at a time as a request may name; those that are gone are no error."""
        for some in batched(sorted(keys), BATCH):
            what = f"remove {some[0]}" + (f" and {len(some) - 1} more" if len(some) > 1 else "")
            if self._found(what, partial(self._delete, some)) is None and len(some) > 1:  # one was gone before its turn
                for key in some:
                    self._found(f"remove {key}", partial(self._delete, (key,)))

    def _delete(self, keys: tuple[str, ...]) -> bool:
        import obstore

        obstore.delete(self.store, keys[0] if len(keys) == 1 else list(keys))
        return True

    def _found(self, what: str, work: Callable[[], Found]) -> Found | None:
        try:
            return self._patient(what, work)
        except FileNotFoundError as error:
            if _NO_BUCKET.search(str(error)):
                raise self._no_bucket() from error
            return None

    def _patient(self, what: str, work: Callable[[], Found]) -> Found:
        """What a request finds, tried again while that may help.

        Raises:
            FileNotFoundError: there is no such object, or no such bucket.
            InputError: what was refused would be refused again.
            RunError: the store did not answer for long.
        """
        from obstore.exceptions import BaseError

        began, wait = time.monotonic(), _FIRST_WAIT
        while True:
            try:
                return work()
            except _conflicts():
                raise
            except BaseError as error:
                refusal = self._refusal(what, error)
                if refusal is not None:
                    raise refusal from error
                if time.monotonic() - began + wait > self.patience:
                    raise self._given_up(what, error) from error
            time.sleep(wait * random.uniform(0.5, 1))  # noqa: S311 - so that many do not ask at once
            wait = min(2 * wait, _LONGEST_WAIT)

    def _refusal(self, what: str, error: Exception) -> InputError | None:
        """The error for what no patience helps against."""
        from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

        text = str(error)
        if _NO_BUCKET.search(text):
            return self._no_bucket()
        if _NO_CREDENTIALS.search(text):
            return InputError(
                f"no credentials for {self.address} were found. Give them as the store's own tools take them from the "
                "environment, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or GOOGLE_APPLICATION_CREDENTIALS."
            )
        status = _STATUS.search(text)
        denied = isinstance(error, (PermissionDeniedError, UnauthenticatedError))
        if denied or (status is not None and status[1].startswith("4") and status[1] not in _PASSING):
            return InputError(
                f"{self.address}: the store refused to {what} ({_reason(error)}). Correct the credentials or their "
                "rights; they must allow to list, read, write and delete. The same command continues."
            )
        return None

    def _no_bucket(self) -> InputError:
        return InputError(f"{self.address}: there is no such bucket. Correct its name, or make it first.")

    def _given_up(self, what: str, error: Exception) -> RunError:
        return RunError(
            f"{self.address}: cannot {what}: the store did not do so for {self.patience:.0f} s ({_reason(error)}). "
            "What was written there before is whole; once the store answers, the same command continues."
        )


def _reason(error: Exception) -> str:
    """The first line of what obstore says, without what it tried."""
    line = str(error).partition("\n")[0]
    return brief(line.rpartition(" - ")[2].strip() or line)


def _conflicts() -> tuple[type[Exception], ...]:
    from obstore.exceptions import AlreadyExistsError, PreconditionError

    return AlreadyExistsError, PreconditionError


_RETRIES: Any = {
    "max_retries": 4,
    "retry_timeout": timedelta(seconds=60),
    "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=2), "base": 2},
}
_TIMEOUTS = {"connect_timeout": "10s", "timeout": "120s"}
"""For one request; a file of a run has some megabytes."""


def open_objects(folder: RemoteFolder) -> Objects:
    """The objects of the bucket of a folder; where and who is asked as of the environment.

    Raises:
        MissingExtraError: obstore is not installed.
        InputError: what the environment says cannot be used.
    """
    try:
        from obstore.exceptions import BaseError
        from obstore.store import from_url
    except ModuleNotFoundError:
        raise missing_extra(f"a run folder such as {folder}", "cloud") from None
    try:
        store = from_url(f"{folder.scheme}://{folder.bucket}", client_options=_client_options(), retry_config=_RETRIES)
    except (BaseError, ValueError, OSError) as error:
        raise InputError(f"{folder} cannot be opened: {_reason(error)}. Correct the settings of the store.") from error
    return Objects(str(folder), store)


def _client_options() -> Any:
    """Timeouts; without encryption only where the environment says so, which these options would else hide."""
    places = (os.environ.get(name, "") for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT"))
    allowed = (os.environ.get(name, "").lower() for name in ("AWS_ALLOW_HTTP", "GOOGLE_ALLOW_HTTP"))
    plain = any(place.startswith("http://") for place in places) or bool({"1", "true"} & set(allowed))
    return {**_TIMEOUTS, "allow_http": plain}
