"""What every signal adds to the time of its model, in one process of one thread, asked in turn with the model alone.

    python benchmarks/signal_overhead.py [--quick] [--seconds S] [--signal NAME] [--page FILE]

The models are the shipped one on Fashion-MNIST and, with DEMUR_SHARED, ResNet-20 on CIFAR-10; batches are of 1 and 64.
Times are those of `demur bench`. Run it on a machine that does nothing else: an overhead with a wide interval was
measured on a busy one. The last line is JSON; `holds` says whether activation entropy stays within 1.5 × the model.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from demur.containment import contained
from demur.pipeline.bench.bench_facts import bench
from demur.registry import parse
from demur.report.overhead_words import in_percent, milliseconds, rate

SHARED = os.environ.get("DEMUR_SHARED")
BATCHES = (1, 64)
BOUND, BOUND_SIGNAL, BOUND_BATCH = 1.5, "activation_entropy", 64
QUICK_IMAGES, QUICK_SECONDS = 3000, 0.05
QUICK_SIGNALS = ("msp", BOUND_SIGNAL)
Found = Mapping[str, Any]

HEAD = """# What every signal adds

Written by `python benchmarks/signal_overhead.py --page docs/reference/signal-overhead.md`. Each signal is asked in turn
with the model alone about the same images, in one process of one thread; the figure is the median of what it adds to
the ask of the model beside it, in per cent of that, with its 95 % interval over asks. 100 % is one more pass. How it is
measured: [measure latency](../how-to/measure-latency.md). Fitted signals learned from the split `fit` of the data.
`passes` are forward passes beyond the one that all share, as the signal declares them.
"""


def models() -> Iterator[tuple[str, str, str]]:
    """Name, model and data."""
    yield "shipped model, Fashion-MNIST", "fashion", "fashion"
    if SHARED:
        weights = f"{SHARED}/models/cifar10_resnet20.safetensors?mean=.485,.456,.406&std=.229,.224,.225"
        yield "ResNet-20, CIFAR-10", f"zoo:resnet20@{weights}", f"parquet:{SHARED}/data/cifar10/test.parquet"


def measured(arguments: argparse.Namespace) -> dict[str, Found]:
    """What the bench found of each model."""
    seconds = QUICK_SECONDS if arguments.quick else arguments.seconds
    limit = QUICK_IMAGES if arguments.quick else None
    found: dict[str, Found] = {}
    for name, model, data in models():
        signals = arguments.signal or (QUICK_SIGNALS if arguments.quick and found else ())
        with contained():
            found[name] = bench(
                model, data, say, signals=signals, batches=BATCHES, seconds=seconds, limit=limit, threads=1
            )
    return found


def say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


def alone(found: Mapping[str, Found]) -> list[str]:
    """The table of the models by themselves."""
    text = [
        "| model alone | batch | p50 ms | p95 | p99 | images/s | asks |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, facts in found.items():
        for row in facts["rows"]:
            if row["overhead"]["value"] is None:
                times = " | ".join(milliseconds(row[share]["value"]) for share in ("p50", "p95", "p99"))
                text.append(f"| {name} | {row['batch']} | {times} | {rate(row['throughput'])} | {row['asks']:,} |")
    return text


def overheads(found: Mapping[str, Found]) -> list[str]:
    """The table of the signals, the cheapest at a batch of 64 of the first model first."""
    places = [(name, size) for name in found for size in BATCHES]
    cells = {
        (row["name"], name, row["batch"]): row
        for name, facts in found.items()
        for row in facts["rows"]
        if row["overhead"]["value"] is not None
    }
    first = next(iter(found))
    names = sorted(
        dict.fromkeys(signal for signal, _, _ in cells),
        key=lambda signal: cells[signal, first, 64]["overhead"]["value"] if (signal, first, 64) in cells else 1e9,
    )
    text = ["", f"| signal | passes | {' | '.join(f'{name}, batch {size}' for name, size in places)} |"]
    text.append("| --- | --- |" + " --- |" * len(places))
    for signal in names:
        rows = [cells.get((signal, *place)) for place in places]
        passes = next(f"{row['passes']:.4g}" for row in rows if row is not None)
        text.append(f"| `{signal}` | {passes} | {' | '.join(map(cell, rows))} |")
    return text


def cell(row: Found | None) -> str:
    if row is None:
        return "–"
    added = row["overhead"]
    span = "" if added["low"] is None else f" ({in_percent(added['low'])} to {in_percent(added['high'])})"
    return f"{in_percent(added['value'])} %{span}"


def untimed(found: Mapping[str, Found]) -> list[str]:
    """What was left out, with the reason."""
    reasons: dict[tuple[str, str], list[str]] = {}
    for name, facts in found.items():
        for entry in facts["left_out"]:
            reasons.setdefault((entry["signal"], entry["reason"]), []).append(name)
    return ["", *(f"- `{signal}` is not timed ({', '.join(of)}): {reason}" for (signal, reason), of in reasons.items())]


def bound(found: Mapping[str, Found]) -> dict[str, float]:
    """How many passes of the model an answer with activation entropy takes, at a batch of 64."""
    return {
        name: round(1 + row["overhead"]["value"], 3)
        for name, facts in found.items()
        for row in facts["rows"]
        if parse(row["name"]).name == BOUND_SIGNAL and row["batch"] == BOUND_BATCH
    }


def page(found: Mapping[str, Found]) -> str:
    """The documentation's page."""
    facts = next(iter(found.values()))
    where = f"{facts['device']}, {facts['threads']} thread, torch {facts['versions']['torch']}, {facts['seconds']:g} s"
    kept = ", ".join(f"{ratio:.2f} × the model alone on {name}" for name, ratio in bound(found).items())
    text = [HEAD, f"Measured on {where} for each signal and batch size.", ""]
    if kept:
        text += [f"An answer with activation entropy takes {kept}, at a batch of 64 (bound: {BOUND:g} ×).", ""]
    return "\n".join([*text, *alone(found), *overheads(found), *untimed(found)]).rstrip() + "\n"


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="3,000 images, a twentieth of a second each, two signals of ResNet-20"
    )
    parser.add_argument("--seconds", type=float, default=2.0, help="for each signal and batch size")
    parser.add_argument("--signal", action="append", default=[], help="these only; again for another")
    parser.add_argument("--page", type=Path, help="write the tables as a page of the documentation")
    arguments = parser.parse_args(words)
    began = time.monotonic()
    found = measured(arguments)
    text = page(found)
    print(text)
    if arguments.page:
        arguments.page.write_text(text, "utf-8")
    ratios = bound(found)
    print(
        json.dumps(
            {
                "seconds": round(time.monotonic() - began, 1),
                "signals": len({row["name"] for facts in found.values() for row in facts["rows"]} - {"model"}),
                "activation_entropy": ratios,
                "holds": bool(ratios) and max(ratios.values()) <= BOUND,
                "models": found,
            }
        )
    )


if __name__ == "__main__":
    main()
