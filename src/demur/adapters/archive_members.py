"""The members of an archive that a model lies in, before anything of it is read: names, kinds and sizes."""

import stat
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from demur.errors import AddressError, ModelError, brief, legible
from demur.registry.regular_files import MIB, reason

MOST = 16 << 30
"""Bytes that a file with a model may have."""

_MEMBERS = 200_000
_INFLATED = 512 * MIB
"""Bytes that all compressed members together may come to; weights are stored as they are, and only code is packed."""


def check_file(path: Path, what: str) -> None:
    """Refuse what is no regular file of a bearable size, before it is opened.

    Raises:
        AddressError: it is not there, or cannot be read.
        ModelError: it is too large.
    """
    if not path.is_file():
        raise AddressError(f"there is no {what} at {str(path)!r}. Correct the path in the address.")
    size = path.stat().st_size
    if size > MOST:
        raise ModelError(f"{path} has {size:,} bytes, more than the {MOST:,} that a model may have. Save it alone.")
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise AddressError(f"cannot read {path}: {reason(error)}. Correct its rights.") from None


def members_of(path: Path, what: str) -> list[zipfile.ZipInfo]:
    """The members of an archive, none of which leaves its folder, hides another or unpacks to more than it may.

    Raises:
        ModelError: it is no archive, or has such a member.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (OSError, ValueError, RuntimeError, NotImplementedError, zipfile.BadZipFile) as error:
        raise ModelError(f"{path} is no {what} ({error}). Save it again.") from None
    fault = next(_faults(members, path.stat().st_size), None)
    if fault is not None:
        raise ModelError(f"{path} is no {what} that may be read: {fault}. Nothing of it was read; save it again.")
    return members


def _faults(members: list[zipfile.ZipInfo], size: int) -> Iterator[str]:
    """What speaks against reading an archive of a size."""
    if len(members) > _MEMBERS:
        yield f"it has {len(members):,} members, more than {_MEMBERS:,}"
    for each in members:
        if _leaves(each.filename):
            yield f"its member {_quoted(each)} would leave the folder"
        kind = stat.S_IFMT(each.external_attr >> 16)
        if kind not in {0, stat.S_IFREG, stat.S_IFDIR}:
            yield f"its member {_quoted(each)} is a link or a device"
        if each.flag_bits & 1:
            yield f"its member {_quoted(each)} is encrypted"
    names = Counter(each.filename for each in members)
    twice = [name for name, count in names.items() if count > 1]
    if twice:
        yield f"it has {brief(legible(twice[0]))!r} twice"
    stored = sum(each.file_size for each in members if each.compress_type == zipfile.ZIP_STORED)
    inflated = sum(each.file_size for each in members if each.compress_type != zipfile.ZIP_STORED)
    if stored > size or inflated > _INFLATED:
        yield f"its {size:,} bytes would unpack to {stored + inflated:,}"


def _leaves(name: str) -> bool:
    path = PurePosixPath(name)
    return path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name.partition("/")[0] or "\0" in name


def _quoted(member: zipfile.ZipInfo) -> str:
    return repr(brief(legible(member.filename)))
