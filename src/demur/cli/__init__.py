"""The command line: arguments in, calls out, exit status.

Each command imports what it needs when it runs, so that help and lists are instant.

Exit status: 0 passed · 1 the measurement failed or nothing could be certified · 2 usage or input · 3 nothing was
asked to be certified · 130 interrupted (the same command continues).
"""

import os
import sys

import typer

from demur import __version__
from demur.cli.audit import audit
from demur.cli.lists import list_names
from demur.cli.plan import plan
from demur.cli.report import report
from demur.errors import DemurError

app = typer.Typer(
    name="demur",
    help="Tell when an image classifier can be trusted, and make it decline when it should.",
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
app.command("report")(report)
app.command("plan")(plan)
app.command("list")(list_names)


def main() -> None:
    """Run the command line; an error is one paragraph on stderr, never a traceback."""
    try:
        app()
    except DemurError as error:
        _fail(str(error), 2)
    except KeyboardInterrupt:
        _fail("interrupted; the same command continues from the last whole shard.", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


def _fail(message: str, status: int) -> None:
    print(f"demur: {message}", file=sys.stderr)
    sys.exit(status)
