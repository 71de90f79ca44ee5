"""What a benchmark found, as plain JSON values, and what it was measured on."""

import math
import platform
from collections.abc import Callable, Sequence
from typing import Any

import torch

from demur.containment import contained
from demur.errors import InputError
from demur.foreign import blamed
from demur.metrics import Estimate
from demur.pipeline.bench.latency import Latency, Pace, latencies
from demur.pipeline.bench.subjects import Bench, LeftOut, bench_of


def bench(
    model: str,
    data: str | None,
    say: Callable[[str], None],
    *,
    signals: Sequence[str] = (),
    batches: Sequence[int] = (1, 64),
    seconds: float = 2.0,
    limit: int | None = None,
    seed: int = 0,
    device: str | None = None,
    threads: int | None = None,
) -> dict[str, Any]:
    """Time a model alone and with each signal, and say what each adds.

    Args:
        model: its address.
        data: the address of labelled images, on whose split fit signals are fitted; without it none are.
        say: told what is being done.
        signals: their names; by default every one that suits the model.
        batches: images an ask.
        seconds: how long each signal is asked for at each batch size.
        limit: use so many of the images only.
        seed: of everything random.
        device: where the model runs.
        threads: of the model.

    Raises:
        InputError: something that cannot be used.
    """
    pace = Pace(seconds)
    for size in batches:
        if size < 1:
            raise InputError(f"a batch has at least 1 image; got {size}. Such as --batch 1,64.")
    if threads is not None:
        if threads < 1:
            raise InputError(f"`threads` must be at least 1; got {threads}.")
        torch.set_num_threads(threads)
    with blamed(), contained():
        prepared = bench_of(model, data, signals, say, limit=limit, seed=seed, device=device)
        found, failed = latencies(prepared, tuple(dict.fromkeys(batches)), pace, say)
    return _facts(model, prepared, found, (*prepared.left_out, *failed), pace)


def _facts(
    model: str, prepared: Bench, found: Sequence[Latency], left_out: Sequence[LeftOut], pace: Pace
) -> dict[str, Any]:
    classifier = prepared.alone.classifier
    return {
        "model": model,
        "model_sha256": classifier.sha256,
        "parameters": classifier.parameters,
        "input_shape": list(classifier.input_shape),
        "images": prepared.origin,
        "device": _device(classifier.device),
        "threads": torch.get_num_threads(),
        "seconds": pace.seconds,
        "versions": {"python": platform.python_version(), "torch": str(torch.__version__)},
        "rows": [_row(each) for each in found],
        "left_out": [vars(each) for each in left_out],
    }


def _device(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device.type} ({platform.machine()})"


def _row(found: Latency) -> dict[str, Any]:
    return {name: _numbers(value) if isinstance(value, Estimate) else value for name, value in vars(found).items()}


def _numbers(found: Estimate) -> dict[str, Any]:
    """Value, ends and the number of asks; what is undefined is null and has a reason."""
    ends = {name: None if math.isnan(end := getattr(found, name)) else end for name in ("value", "low", "high")}
    return {**ends, "n": found.n, "reason": found.reason}
