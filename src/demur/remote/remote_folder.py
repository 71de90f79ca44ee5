"""Addresses of run folders in an object store: `s3://bucket/runs/first`."""

import re
from dataclasses import dataclass
from pathlib import Path

from demur.errors import AddressError, brief

_SCHEME = re.compile(r"(s3|gs):/+(.*)", re.DOTALL)
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]")


def is_remote(address: Path | str) -> bool:
    """Whether a folder lies in an object store; a path has lost one of the two strokes of `s3://`.

    >>> is_remote("s3://bucket/run"), is_remote(Path("s3://bucket/run")), is_remote("runs/s3")
    (True, True, False)
    """
    return _SCHEME.fullmatch(str(address)) is not None


@dataclass(frozen=True, kw_only=True)
class RemoteFolder:
    """A folder of a bucket.

    Attributes:
        scheme: `s3` or `gs`.
        bucket: its name.
        parts: the names that lead to the folder; at least one.
    """

    scheme: str
    bucket: str
    parts: tuple[str, ...]

    @classmethod
    def of(cls, address: Path | str) -> "RemoteFolder":
        """The folder that an address names.

        Raises:
            AddressError: it names no folder of a bucket.
        """
        found = _SCHEME.fullmatch(str(address))
        bucket, _, rest = found[2].partition("/") if found else ("", "", "")
        parts = tuple(part for part in rest.split("/") if part)
        if not found or not _BUCKET.fullmatch(bucket) or not parts or {".", ".."} & set(parts):
            raise AddressError(
                "a run folder in an object store is s3://BUCKET/NAME or gs://BUCKET/NAME, with a bucket of 3 to 63 "
                f"small letters, digits, dots and hyphens and a name inside it; got {brief(str(address))!r}."
            )
        return cls(scheme=found[1], bucket=bucket, parts=parts)

    @property
    def name(self) -> str:
        """Its last name."""
        return self.parts[-1]

    @property
    def prefix(self) -> str:
        """What the keys of its objects begin with."""
        return "".join(f"{part}/" for part in self.parts)

    @property
    def parent(self) -> str:
        """What the keys of the objects beside it begin with; empty where that is the bucket."""
        return "".join(f"{part}/" for part in self.parts[:-1])

    def sibling(self, name: str) -> "RemoteFolder":
        """Another folder beside it."""
        return RemoteFolder(scheme=self.scheme, bucket=self.bucket, parts=(*self.parts[:-1], name))

    def __str__(self) -> str:
        return f"{self.scheme}://{'/'.join((self.bucket, *self.parts))}"
