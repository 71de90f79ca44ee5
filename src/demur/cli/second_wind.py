"""A command that measures goes on although its process died: it runs in a child, which is started again.

Nothing but the command line is imported by the process that waits, so it costs a millisecond and a few megabytes. Where
one crashed for what was measured, its successor looks for the image in processes of its own, so that a few are enough.
"""

import ctypes
import os
import signal
import sys
import threading
import time
from contextlib import suppress

from demur.cli.settings import is_standard
from demur.containment import follow_crash, has_closed_exits

_COMMANDS = ("audit", "merge", "freeze", "index")

_CRASHES = frozenset({
    signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGKILL,
})  # fmt: skip

_TRIES = 5
"""Processes that may follow one that died, unless they lived long."""

_LONG = 600.0
"""Seconds after which a death has nothing to do with the one before."""

_TOLD = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})

_GRACE = 1.0
"""Seconds that a child has to act upon a signal that it was probably sent, too, before it is sent on."""

_INTERRUPTED, _UNKNOWN = 130, 70

_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG


def take_second_wind() -> None:
    """Return in a child that does the command; where it is not one that measures, or not alone here, in this process.

    The process that was called returns never: it ends as the last child did.
    """
    if sys.argv[1:2] not in [[each] for each in _COMMANDS] or not _may_fork():
        return
    tries, parent = 0, os.getpid()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # whoever started this may ignore it, and then nobody tells of an end
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {*_TOLD, signal.SIGCHLD})
    while True:
        begun = time.monotonic()
        child = os.fork()
        if not child:
            _end_with(parent)
            if tries:
                follow_crash()
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            return
        status, told = _ended(child)
        tries = 1 if time.monotonic() - begun > _LONG else tries + 1
        if told and -status in _CRASHES:
            _leave(_INTERRUPTED)
        if -status not in _CRASHES or tries > _TRIES:
            _leave(status)
        name = signal.Signals(-status).name
        print(f"demur: the process ended by {name}; another goes on where it stopped", file=sys.stderr, flush=True)
        _wait(2.0 ** (tries - 1))


def _may_fork() -> bool:
    """Whether this is a process of the command line, with nothing in it yet that a child could not take along."""
    alone = threading.active_count() == 1 and "torch" not in sys.modules and not has_closed_exits()
    return alone and sys.platform == "linux" and is_standard(sys.stdout)


def _end_with(parent: int) -> None:
    """A child of a process that was killed is to measure no more."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _ended(child: int) -> tuple[int, bool]:
    """How a child ended, and whether this process was told to end meanwhile, which it tells the child."""
    asked = False
    while True:
        told = signal.sigwaitinfo({*_TOLD, signal.SIGCHLD})
        try:
            found, status = os.waitpid(child, os.WNOHANG)
        except ChildProcessError:  # it is gone, and how it ended is not known
            return _UNKNOWN, asked
        if found:
            return os.waitstatus_to_exitcode(status), asked
        asked = asked or told.si_signo in _TOLD
        if told.si_signo in _TOLD and told.si_pid:  # what the terminal sends, it sends to the child, too
            _tell(child, told.si_signo)


def _tell(child: int, number: int) -> None:
    """Send a signal on, unless the child ends of itself, as where a whole group was sent it."""
    signal.sigtimedwait({signal.SIGCHLD}, _GRACE)
    os.kill(child, number)  # not waited for yet, so that nobody else has its number
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGCHLD)  # the wait has taken the news of its end


def _wait(seconds: float) -> None:
    """Wait before the next try, unless told to end."""
    if signal.sigtimedwait(_TOLD, seconds) is not None:
        _leave(_INTERRUPTED)


def _leave(status: int) -> None:
    """End as a child did."""
    if status >= 0:
        os._exit(status)
    number = signal.Signals(-status)
    if number in _CRASHES:
        said = f"the process ended by {number.name}, and so did those that went on. What was measured is whole; "
        print(f"demur: {said}the same command continues.", file=sys.stderr, flush=True)
    signal.signal(number, signal.SIG_DFL) if number != signal.SIGKILL else None
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
    os._exit(1)
