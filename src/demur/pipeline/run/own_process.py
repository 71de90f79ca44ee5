"""How a process of this interpreter is started that answers at a pipe: its command, and how many threads it has."""

import json
import os
import sys
from collections.abc import Sequence

DYING = 10.0
"""Seconds that a process may take to end once its end of the pipe is closed; it may be writing its core."""

_HELPING = "DEMUR_HELPING"

_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS")


def command(serve: str, descriptor: int, paths: Sequence[str]) -> list[str]:
    """What runs a function that answers at a pipe.

    Args:
        serve: the function, with its module.
        descriptor: of the pipe, which the process inherits.
        paths: where it finds modules.
    """
    module, _, name = serve.rpartition(".")
    boot = f"sys.path[:] = json.loads(sys.argv[2]); from {module} import {name}; {name}(int(sys.argv[1]))"
    return [sys.executable, "-P", "-c", f"import json, sys; {boot}", str(descriptor), json.dumps(list(paths))]


def environment(threads: int) -> dict[str, str]:
    """That of this process, for libraries that start so many threads; `is_helping` there."""
    return {**os.environ, **dict.fromkeys(_THREADS, str(threads)), _HELPING: "1"}


def is_helping() -> bool:
    """Whether this process helps another: it starts no more, whatever the modules do that its duty is defined in."""
    return _HELPING in os.environ
