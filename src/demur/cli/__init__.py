"""The command line: arguments in, calls out, exit status.

Each command imports what it needs when it runs, so that help and lists are instant.

Exit status: 0 passed · 1 a gate or the measurement failed, or nothing could be certified · 2 usage or input ·
3 inconclusive: a gate is undecided, or no criterion was given · 130 interrupted (the same command continues).
"""

import os
import sys

import typer

from demur import __version__
from demur.cli.attack_command import attack
from demur.cli.audit_command import audit
from demur.cli.explain_command import explain
from demur.cli.run_commands import compare, list_names, plan, report
from demur.cli.train_command import train
from demur.errors import DemurError, legible, needing_torch

_INTERRUPTED = 130
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


app.command("audit")(audit)
app.command("train")(train)
app.command("attack")(attack)
app.command("explain")(explain)
app.command("report")(report)
app.command("compare")(compare)
app.command("plan")(plan)
app.command("list")(list_names)


def main() -> None:
    """Run the command line; an error is one paragraph on stderr, never a traceback."""
    try:
        with needing_torch(f"`demur {' '.join(sys.argv[1:2])}`"):
            app()
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


def _flush() -> None:
    """Write what is left; a reader that has gone, such as `head`, is no error."""
    try:
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            _fail(f"cannot write the answer: {error.strerror}. Send it elsewhere; files of a run are whole.", 2)


def _fail(message: str, status: int) -> None:
    half = _LONGEST // 2
    short = message if len(message) <= _LONGEST else f"{message[:half]} … {message[-half:]}"
    print("demur:", "\n".join(map(legible, short.split("\n"))), file=sys.stderr)
    sys.exit(status)
