"""Arguments that name run folders: where one lies in an object store, a command works on a copy of it here."""

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, get_args

from demur.errors import InputError
from demur.remote import is_remote, matching_folders, working_folder
from demur.remote.remote_folder import RemoteFolder


class RunFolder:
    """Stands beside the type of an argument that names a run folder, or several, here or in an object store."""


@contextmanager
def local_folders(work: Callable[..., None], options: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The options of a command, those that name run folders in an object store as copies of them.

    Raises:
        InputError: another option names something there.
    """
    named = _named(work)
    for name, value in options.items():
        if name not in named and isinstance(value, Path) and is_remote(value):
            raise InputError(
                f"--{name.replace('_', '-')} names something on this machine; got the address of an object store, "
                f"{RemoteFolder.of(value)}. Only run folders may lie there."
            )
    with ExitStack() as stack:
        yield {**options, **{name: _local(options[name], stack) for name in named if options.get(name)}}


def _named(work: Callable[..., None]) -> list[str]:
    """The arguments of a command that name run folders."""
    parameters = inspect.signature(work).parameters.values()
    return [each.name for each in parameters if any(isinstance(a, RunFolder) for a in get_args(each.annotation))]


def _local(value: Path | list[Path], stack: ExitStack) -> Path | list[Path]:
    if isinstance(value, Path):
        return stack.enter_context(working_folder(value))
    whole = [each for path in value for each in (matching_folders(path) if is_remote(path) else (path,))]
    return [stack.enter_context(working_folder(each)) for each in whole]
