"""The command line: arguments in, calls out, exit status.

Each command imports what it needs when it runs, so that help and lists are instant.

Exit status: 0 passed · 1 a gate or the measurement failed, or nothing could be certified · 2 usage or input ·
3 inconclusive: a gate is undecided, or no criterion was given · 70 an unexpected fault · 130 interrupted or told to
terminate (the same command continues). 0 and 1 are only of a command that has written its results.
"""

import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any

import typer

from demur import __version__
from demur.cli import guard_commands, watch_command
from demur.cli.attack_command import attack
from demur.cli.bench_command import bench
from demur.cli.certify_commands import certify, labels
from demur.cli.compare_command import PageCommand, compare
from demur.cli.explain_command import explain
from demur.cli.index_command import index
from demur.cli.matrix_command import matrix
from demur.cli.monitor_command import monitor
from demur.cli.part_commands import freeze, merge
from demur.cli.run_commands import audit, list_names, plan, report
from demur.cli.run_folders import local_folders
from demur.cli.second_wind import take_second_wind
from demur.cli.serve_command import serve
from demur.cli.settings import check_numbers, is_standard
from demur.cli.train_command import train
from demur.containment import close_exits, contained
from demur.errors import DemurError, FaultError, is_absent_torch, legible, needing_torch
from demur.foreign import blamed, fault, traceback_of

_FAULT, _INTERRUPTED = 70, 130
_LONGEST = 4_000

app = typer.Typer(
    name="demur",
    help="Tell when an image classifier can be trusted, and make it abstain when it should not answer.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(value: bool) -> None:
    if value:
        print(f"demur {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    pass


def _command(work: Callable[..., None]) -> Callable[..., None]:
    """A command that ends with a status of its own choice only; code of others has none in it."""

    @wraps(work)
    def command(*arguments: Any, **options: Any) -> None:
        with needing_torch(f"`demur {' '.join(sys.argv[1:2])}`"), contained():
            try:
                check_numbers(options)
                with blamed(), local_folders(work, options) as here:
                    work(*arguments, **here)
            except (DemurError, OSError, typer.Exit, KeyboardInterrupt):
                raise
            except BaseException as error:
                if is_absent_torch(error):
                    raise
                raise fault(error, _kept(error)) from error

    return command


def _kept(error: BaseException) -> str:
    """Where the traceback of a command without a run folder is."""
    with tempfile.NamedTemporaryFile("w", prefix="demur-fault-", suffix=".txt", delete=False) as file:
        file.write(traceback_of(error))
    return file.name


for _name, _work in (
    ("audit", audit),
    ("train", train),
    ("attack", attack),
    ("explain", explain),
    ("bench", bench),
    ("matrix", matrix),
    ("monitor", monitor),
    ("serve", serve),
    ("certify", certify),
    ("labels", labels),
    ("report", report),
    ("compare", compare),
    ("merge", merge),
    ("freeze", freeze),
    ("index", index),
    ("plan", plan),
    ("list", list_names),
):
    app.command(_name, cls=PageCommand if _work is compare else None)(_command(_work))

guard_app = typer.Typer(
    help="A model that answers or abstains, with a certificate, in one folder.", no_args_is_help=True
)

for _name, _guard_work in (
    ("fit", guard_commands.fit),
    ("show", guard_commands.show),
    ("predict", guard_commands.predict),
    ("certify", guard_commands.certify),
    ("export", guard_commands.export),
    ("selftest", guard_commands.selftest),
    ("sign", guard_commands.sign),
    ("verify", guard_commands.verify),
    ("watch", watch_command.watch),
    ("labels", watch_command.labels),
    ("reset", watch_command.reset),
):
    guard_app.command(_name)(_command(_guard_work))

app.add_typer(guard_app, name="guard")


def main() -> None:
    """Run the command line; an error is one paragraph on stderr, never a traceback."""
    take_second_wind()
    try:
        with _terminable():
            app()
    except FaultError as error:
        _fail(str(error), _FAULT)
    except DemurError as error:
        _fail(str(error), 2)
    except OSError as error:
        place = f" {error.filename}" if error.filename else ""
        _fail(
            f"cannot read or write{place}: {error.strerror or error}. Free some space or correct the rights; the same "
            "command continues.",
            2,
        )
    except SystemExit as left:  # typer leaves by it always, and by 130 when interrupted
        if left.code == _INTERRUPTED:
            _fail("interrupted; the same command continues where this one stopped.", _INTERRUPTED)
        raise
    finally:
        _flush()


@contextmanager
def _terminable() -> Iterator[None]:
    """A request to terminate is an interruption, unless whoever started this has chosen otherwise."""
    own = threading.current_thread() is threading.main_thread()
    if not own or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _flush() -> None:
    """Write what is left; a reader that has gone, such as `head`, is no error. What ends later has nothing to say."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            _fail(f"cannot write the answer: {error.strerror}. Send it elsewhere; files of a run are whole.", 2)
        return
    if is_standard(sys.stdout):
        os.dup2(2, 1)
        close_exits()


def _fail(message: str, status: int) -> None:
    half = _LONGEST // 2
    short = message if len(message) <= _LONGEST else f"{message[:half]} … {message[-half:]}"
    print("demur:", "\n".join(map(legible, short.split("\n"))), file=sys.stderr)
    sys.exit(status)
