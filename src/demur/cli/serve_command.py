"""`demur serve GUARD…`: guards over HTTP until the process is told to terminate."""

import os
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from demur.errors import InputError

if TYPE_CHECKING:
    from demur.alarms import AlarmPlan
    from demur.serve import ServiceSettings
    from demur.serve.served_guard import LoadedGuard

Guards = Annotated[
    list[str], typer.Argument(metavar="GUARD…", help="Folders of guards, or NAME=FOLDER; the first is the default one.")
]
Host = Annotated[str, typer.Option(help="Address to listen at; 0.0.0.0 for all of this machine.")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for a free one.")]
TokenFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="File of a token that clients must send; without one all may ask.")
]
Batch = Annotated[int, typer.Option(help="Images that a model is asked about at once, at most.")]
Queue = Annotated[int, typer.Option(help="Images that may wait for each guard; more are answered with 503.")]
Images = Annotated[int, typer.Option(help="Images in one request.")]
Bytes = Annotated[int, typer.Option(help="Bytes in the body of one request.")]
Pixels = Annotated[int, typer.Option(help="Pixels of all pictures of one request.")]
Timeout = Annotated[float, typer.Option(help="Seconds for a body to arrive, and again for its images to be decided.")]
OpenBytes = Annotated[int, typer.Option(help="Bytes in the bodies of all requests that are not answered yet.")]
Connections = Annotated[int, typer.Option(help="Connections at once; requests of more are answered with 503.")]
AllowHost = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="A name that clients reach it by without a token; for several, repeat it."),
]
State = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Where the alarms keep their state; else it ends with the process.")
]
Hook = Annotated[str | None, typer.Option(metavar="URL", help="Address that is told of alarms by POST.")]
Feedback = Annotated[float, typer.Option(help="Probability with which feedback on an answered image is asked for.")]
Alpha = Annotated[float, typer.Option(help="Probability of a false alarm, of each alarm, however long it runs.")]
Tolerance = Annotated[float, typer.Option(help="How much the share of abstentions may rise without an alarm.")]
Risk = Annotated[float | None, typer.Option(help="Share of wrong answers that is harm; by default the certificate's.")]
Group = Annotated[str, typer.Option(help="What is independent: image, or sequence for frames that are alike.")]
Sequences = Annotated[int, typer.Option(help="Sequences, such as cameras, that may be open at once.")]
Longest = Annotated[int, typer.Option(help="Images after which a sequence has told what it can.")]
Threads = Annotated[int, typer.Option(min=1, help="Threads of the model.")]
Decoders = Annotated[int, typer.Option(help="Threads that decode pictures.")]
Device = Annotated[str | None, typer.Option(help="Where the models run, such as cuda.")]


def serve(
    guards: Guards,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    token_file: TokenFile = None,
    batch: Batch = 64,
    queue: Queue = 1024,
    max_images: Images = 64,
    max_bytes: Bytes = 32 * 2**20,
    max_pixels: Pixels = 64_000_000,
    max_open_bytes: OpenBytes = 256 * 2**20,
    max_connections: Connections = 400,
    allow_host: AllowHost = None,
    timeout: Timeout = 10.0,
    state: State = None,
    webhook: Hook = None,
    feedback: Feedback = 0.05,
    alpha: Alpha = 0.01,
    tolerance: Tolerance = 0.03,
    harm_risk: Risk = None,
    group: Group = "image",
    sequences: Sequences = 64,
    longest: Longest = 100,
    threads: Threads = 1,
    decoders: Decoders = 2,
    device: Device = None,
) -> None:
    """Serve guards over HTTP: Open Inference Protocol v2, /predict, /metrics, alarms and a page.

    Exit status: 0 ended by SIGTERM or SIGINT, every accepted request answered; 2 wrong input.
    """
    settings = _settings(
        batch=batch, queue=queue, images=max_images, bytes=max_bytes, pixels=max_pixels, timeout=timeout,
        decoders=decoders, open_bytes=max_open_bytes, connections=max_connections, token=_token(token_file),
        hosts=tuple(name.lower() for name in (*(allow_host or ()), host)),
    )  # fmt: skip
    unit = {"group": group, "sequences": sequences, "longest": longest}
    plan = _plan(alpha=alpha, tolerance=tolerance, risk=harm_risk, feedback=feedback, **unit)
    _run(guards, threads, host, port, settings=settings, alarms=plan, state=state, webhook=webhook, device=device)


def _settings(**given: Any) -> "ServiceSettings":
    from demur.serve import ServiceSettings

    return ServiceSettings(**given)


def _plan(**given: Any) -> "AlarmPlan":
    from demur.alarms import AlarmPlan

    return AlarmPlan(**given)


def _run(guards: Sequence[str], threads: int, host: str, port: int, *, device: str | None, **parts: Any) -> None:
    from demur.containment import keep_freed_memory
    from demur.serve import Service
    from demur.serve import serve as run
    from demur.serve.http_server import listening
    from demur.serve.service_log import ServiceLog

    keep_freed_memory()
    loaded = _loaded(guards, threads, device)
    with closing(listening(host, port)) as place:
        service = Service(loaded, log=ServiceLog(sys.stderr), device=device, **parts)
        run(service, place, lambda: print(_served(loaded, host, place.getsockname()[1]), flush=True))


def _served(loaded: "Sequence[LoadedGuard]", host: str, port: int) -> str:
    """The guards, and where they are."""
    names = ", ".join(f"{each.name} ({each.version})" for each in loaded)
    return f"Serving {names} at http://{f'[{host}]' if ':' in host else host}:{port}"


def _loaded(guards: Sequence[str], threads: int, device: str | None) -> "list[LoadedGuard]":
    """The guards, one folder after the other.

    Raises:
        InputError: two of one name.
    """
    import torch

    from demur.cli.settings import results_alone
    from demur.serve.served_guard import LoadedGuard

    torch.set_num_threads(threads)
    named = [_named(guard) for guard in guards]
    names = [name for name, _ in named]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise InputError(f"two guards are called {twice[0]!r}. Give them names: NAME=FOLDER.")
    with results_alone():
        return [LoadedGuard.read(name, folder, device) for name, folder in named]


def _named(guard: str) -> tuple[str, Path]:
    """Name and folder: NAME=FOLDER, or a folder that is called so."""
    name, equals, folder = guard.partition("=")
    if equals and os.sep not in name:
        return name, Path(folder)
    return Path(guard).resolve().name, Path(guard)


def _token(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        return file.read_text("utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the token file {file} cannot be read ({error}). Write a token into it.") from None
