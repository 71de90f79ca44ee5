"""The process as it was: what code of others sets for all of it is set back, and none ends it.

Inside, `os._exit` and the calls that replace the process raise `SystemExit`, and a child that was forked ends where it
returns. Python cannot hold everything: code that ends the process past Python, by ctypes or a signal, ends it (with a
status of its choice by ctypes alone), and functions of a library that it replaced stay replaced.

Entered once per run, where a model is loaded, and once per shard; never per batch.
"""

import ctypes
import gc
import locale
import logging
import os
import platform
import random
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TextIO


@dataclass(frozen=True)
class Setting:
    """Something that holds for the whole process: how it is read, and how it is set."""

    read: Callable[[], Any]
    write: Callable[[Any], object]


def _set_environment(before: dict[str, str]) -> None:
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update({name: value for name, value in before.items() if os.environ.get(name) != value})


def _set_filters(before: Sequence[Any]) -> None:
    warnings.resetwarnings()  # what was shown once is forgotten with the filters
    warnings.filters[:] = list(before)  # type: ignore[index]  # a list, which its stub keeps open


def _set_logging(before: tuple[int, tuple[logging.Handler, ...], int]) -> None:
    logging.root.setLevel(before[0])
    logging.root.handlers[:] = before[1]
    logging.disable(before[2])


def _set_handlers(before: dict[int, Any]) -> None:
    for number, handler in before.items():
        if handler is not None and signal.getsignal(number) is not handler:
            signal.signal(number, handler)


def _set_stream(name: str, stream: TextIO) -> None:
    if not stream.closed:
        setattr(sys, name, stream)


def _folder() -> str:
    try:
        return str(Path.cwd())
    except FileNotFoundError:
        return ""


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


_CATCHABLE = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})

_PROCESS = (
    Setting(_folder, lambda path: os.chdir(path) if path else None),
    Setting(lambda: dict(os.environ), _set_environment),
    Setting(lambda: list(sys.path), lambda path: sys.path.__setitem__(slice(None), path)),
    Setting(lambda: list(sys.argv), lambda words: sys.argv.__setitem__(slice(None), words)),
    Setting(lambda: tuple(warnings.filters), _set_filters),
    Setting(lambda: warnings.showwarning, lambda function: setattr(warnings, "showwarning", function)),
    Setting(lambda: (logging.root.level, tuple(logging.root.handlers), logging.root.manager.disable), _set_logging),
    Setting(lambda: sys.stdout, partial(_set_stream, "stdout")),
    Setting(lambda: sys.stderr, partial(_set_stream, "stderr")),
    Setting(lambda: sys.excepthook, lambda hook: setattr(sys, "excepthook", hook)),
    Setting(sys.getrecursionlimit, sys.setrecursionlimit),
    Setting(gc.isenabled, lambda on: gc.enable() if on else gc.disable()),
    Setting(lambda: locale.setlocale(locale.LC_ALL), lambda name: locale.setlocale(locale.LC_ALL, name)),
    Setting(_umask, os.umask),
)

_MAIN_THREAD = (
    Setting(lambda: {number: signal.getsignal(number) for number in _CATCHABLE}, _set_handlers),
    Setting(lambda: signal.getitimer(signal.ITIMER_REAL)[0] > 0, lambda on: None if on else signal.alarm(0)),
)


def _torch_settings() -> Iterator[Setting]:
    """What holds for all tensors; nothing where torch was not imported yet."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "get_default_device"):
        return
    cudnn = torch.backends.cudnn
    yield Setting(torch.get_default_dtype, torch.set_default_dtype)
    yield Setting(lambda: _default_device(torch), torch.set_default_device)
    yield Setting(torch.is_grad_enabled, torch.set_grad_enabled)
    yield Setting(torch.get_num_threads, torch.set_num_threads)
    yield Setting(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision)
    yield Setting(
        lambda: (torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()),
        lambda on: torch.use_deterministic_algorithms(on[0], warn_only=on[1]),
    )
    yield Setting(torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly)
    for kind in ("cpu", "cuda"):
        yield Setting(partial(torch.is_autocast_enabled, kind), partial(torch.set_autocast_enabled, kind))
    for name in ("enabled", "benchmark", "deterministic", "allow_tf32"):
        yield Setting(partial(getattr, cudnn, name), partial(setattr, cudnn, name))


def _default_device(torch: Any) -> Any:
    """None for the CPU: a default device that is set costs every call."""
    device = torch.get_default_device()
    return None if device.type == "cpu" else device


@contextmanager
def same_draws() -> Iterator[None]:
    """The global streams of random numbers go on afterwards as if nothing had been drawn inside."""
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    with ExitStack() as streams:
        streams.callback(random.setstate, random.getstate())
        if numpy is not None:
            streams.callback(numpy.random.set_state, numpy.random.get_state())
        if torch is not None:
            streams.callback(torch.set_rng_state, torch.get_rng_state())
        yield


@contextmanager
def contained() -> Iterator[None]:
    """What code of others sets for the whole process inside is set back; a child that it forked ends here."""
    settings = [*_PROCESS, *(_MAIN_THREAD if _is_main() else ()), *_torch_settings()]
    owner, before = os.getpid(), [each.read() for each in settings]
    with _without_exits():
        try:
            yield
        finally:
            if os.getpid() != owner:
                _EXIT(0)
            for setting, value in zip(settings, before, strict=True):
                _restore(setting, value)


class Changes:
    """Whether what runs inside sets anything for the whole process, or forks; it is set back either way."""

    def __enter__(self) -> "Changes":
        self._settings = [*_PROCESS, *(_MAIN_THREAD if _is_main() else ()), *_torch_settings()]
        self._before, self._owner, self._forks = [each.read() for each in self._settings], os.getpid(), len(_FORKS)
        return self

    def __exit__(self, *_error: object) -> None:
        if os.getpid() != self._owner:
            _EXIT(0)
        now = [setting.read() for setting in self._settings]
        self._found = now != self._before or len(_FORKS) != self._forks
        for setting, value in zip(self._settings, self._before, strict=True):
            _restore(setting, value)

    def contained(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function itself, or one that sets back what it sets at every call where it did so inside."""
        return contained()(function) if self._found else function


_FORKS = list[int]()
"""Children that this process has forked since this was imported."""

os.register_at_fork(after_in_parent=lambda: _FORKS.append(1))


def _is_main() -> bool:
    return threading.current_thread() is threading.main_thread()


@contextmanager
def contained_tensors() -> Iterator[None]:
    """What is set for all tensors inside is set back; the rest stays, for code that goes on to rely on it."""
    settings = list(_torch_settings())
    before = [setting.read() for setting in settings]
    try:
        yield
    finally:
        for setting, value in zip(settings, before, strict=True):
            _restore(setting, value)


def _restore(setting: Setting, value: Any) -> None:
    if setting.read() != value:
        setting.write(value)


_EXIT = os._exit
_WAYS_OUT = [(module, name) for module in (os, sys.modules["posix"]) for name in ("_exit", "execv", "execve")]


@contextmanager
def _without_exits() -> Iterator[None]:
    """Calls that end or replace this process raise instead; in a child that was forked they do what they did."""
    with ExitStack() as ways:
        for module, name in _WAYS_OUT:
            before = getattr(module, name)
            setattr(module, name, _raising(f"os.{name}", before))
            ways.callback(setattr, module, name, before)
        yield


def close_exits() -> None:
    """Keep the exit status of this process from here on, also from an `os._exit` when it ends."""
    for module, name in _WAYS_OUT:
        setattr(module, name, _in_children(getattr(module, name), lambda *_arguments: None))


_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1


def keep_freed_memory() -> None:
    """Let the memory of a batch serve the next one: glibc else gives it back, and faults it in again page by page.

    Faults are a third of a pass of a small net over 64 images, and several processes that fault hinder each other.
    Elsewhere than with glibc nothing happens.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_MMAP_THRESHOLD, 32 << 20)
    libc.mallopt(_TRIM_THRESHOLD, 256 << 20)


def give_back_memory() -> None:
    """Give back what is free between things that are kept; making many small ones leaves as much again as they take."""
    if platform.libc_ver()[0] == "glibc":
        ctypes.CDLL(None).malloc_trim(0)


_CRASHED = [False]


def follow_crash() -> None:
    """Tell this process that it goes on where another one crashed."""
    _CRASHED[0] = True


def follows_crash() -> bool:
    """Whether this process goes on where another one crashed, so that what it does may end it, too."""
    return _CRASHED[0]


def how_it_ended(status: int) -> str:
    """How a process ended, after its name, by its status or minus the signal that ended it."""
    if status >= 0:
        return f"ended with status {status}"
    return f"ended by {signal.Signals(-status).name}{', as for want of memory' if -status == signal.SIGKILL else ''}"


def has_closed_exits() -> bool:
    """Whether this process cannot end past Python any more, as once a command of it was done."""
    return os._exit is not _EXIT


def _raising(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
    def refuse(*arguments: Any) -> None:
        raise SystemExit(f"{name}({', '.join(map(repr, arguments))})")

    return _in_children(real, refuse)


def _in_children(real: Callable[..., Any], other: Callable[..., Any]) -> Callable[..., Any]:
    """What does the real thing in a child that is forked from now on, and something else in this process."""
    owner = os.getpid()

    def way_out(*arguments: Any) -> Any:
        return (other if os.getpid() == owner else real)(*arguments)

    return way_out
