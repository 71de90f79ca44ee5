"""The most memory that some work held at once."""

import ctypes
import gc
import re
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

_KIB = 1024
_RESET = Path("/proc/self/clear_refs")
_STATUS = Path("/proc/self/status")


def peak_memory(device: torch.device, work: Callable[[], None]) -> tuple[int | None, int | None]:
    """Bytes held at most while `work` ran, in all and beyond those held before it; None where no machine tells.

    On CUDA what torch allocated there, weights among it; else the resident memory of the process, which Linux alone
    counts anew on request (`/proc/self/clear_refs`).
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        torch.cuda.synchronize(device)
        peak = torch.cuda.max_memory_allocated(device)
        return peak, peak - before
    _give_back()
    try:
        _RESET.write_text("5")
        before = _resident("VmRSS")
        work()
        peak = _resident("VmHWM")
    except OSError:
        return None, None
    return peak, max(0, peak - before)


def _give_back() -> None:
    """Free what earlier work left, so that it is no part of the measurement."""
    gc.collect()
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL("libc.so.6").malloc_trim(0)


def _resident(line: str) -> int:
    found = re.search(rf"^{line}:\s+(\d+) kB$", _STATUS.read_text("utf-8"), re.MULTILINE)
    if found is None:
        raise OSError(f"{_STATUS} has no line {line}")
    return int(found[1]) * _KIB
