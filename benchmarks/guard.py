"""What a guard costs beyond its model, and whether it decides as the audit did.

    python benchmarks/guard.py [--quick] [--signal NAME…]

A guard is fitted on the bundled images, and three are asked in turn, one process, one thread, on batches of 1 and of
64: the module as it is (under no_grad), the classifier, which lays images out for speed and never asks about one alone,
and the guard. Differences are those of neighbouring asks: median and 99th percentile of guard minus classifier at batch
1, and ratios of medians at batch 64. Then every image is decided again and compared with the records of the audit, and
eight threads with one.
"""

import argparse
import contextlib
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch

import demur
from demur.guard import Guard
from demur.policies import decide
from demur.records import read

WIDTHS = "{:8.2f}{:12.2f}{:10.3f}{:8.3f}{:8.3f}{:11.3f}"
SIGNALS = ("msp", "entropy", "energy")
OTHERS = ("knn(k=10)", "mahalanobis", "tta")


def seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def triples(guard: Guard, x: torch.Tensor, size: int, rounds: int) -> np.ndarray:
    """(rounds, 3): seconds of module, classifier and guard on the same batch, asked in a drawn order."""
    module, rng = guard.classifier.as_module(), np.random.default_rng(0)

    def bare(batch: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return module(batch)

    def classifier(batch: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return guard.classifier(batch)

    batches = [x[start : start + size] for start in range(0, size * rounds, size)]
    asks = (bare, classifier, guard)
    found = np.empty((rounds, 3))
    for place, batch in enumerate([*batches[:10], *batches]):
        for column in rng.permutation(3):
            found[max(0, place - 10), column] = seconds(partial(asks[column], batch))
    return found


def figures(guard: Guard, x: torch.Tensor, *, quick: bool) -> dict[str, float]:
    """Milliseconds at batch 1 and what the guard adds, and ratios at batch 64."""
    alone = 1000 * triples(guard, x, 1, 300 if quick else 2000)
    many = np.median(triples(guard, x, 64, 30 if quick else 150), axis=0)
    added = alone[:, 2] - alone[:, 1]
    return {
        "module_ms": float(np.median(alone[:, 0])),
        "classifier_ms": float(np.median(alone[:, 1])),
        "added_median_ms": float(np.median(added)),
        "added_p99_ms": float(np.quantile(added, 0.99)),
        "ratio_at_64": float(many[2] / many[1]),
        "ratio_to_module_at_64": float(many[2] / many[0]),
    }


def fitted(folder: Path, signal: str, limit: int | None) -> tuple[Guard, Path]:
    """A guard whose certificate is on a signal, and the run it was made by."""
    plan = {
        "conditions.use": ["clean"],
        "signals.use": [signal],
        "policies.use": [
            f"certified(risk=0.1, second={signal}, budget=0.05)" if signal != "msp" else "certified(risk=0.02)"
        ],
        "data.limit": limit,
    }
    out = folder / "".join(letter if letter.isalnum() else "_" for letter in signal)
    settings = {key: value for key, value in plan.items() if value is not None}
    with contextlib.chdir(folder):
        guard = demur.fit_guard("fashion", "fashion", out=out, plan=settings)
    return guard, max((folder / "runs").glob("*/run.json"), key=lambda path: path.stat().st_mtime).parent


def agreement(guard: Guard, run: Path, x: torch.Tensor, places: dict[str, int]) -> dict[str, int]:
    """How many images the guard decides otherwise than the audit, near its bounds and elsewhere."""
    clean = read(run, "clean")
    before = decide(guard.policy, {name: clean[f"signal.{name}"].to_numpy() for name in guard.policy.signals})
    after = guard(x[[places[name] for name in clean["sample_id"]]])
    moved = before.accepted != after.accepted
    return {
        "images": len(clean),
        "moved_near": int((moved & after.near).sum()),
        "moved": int((moved & ~after.near).sum()),
        "labels": int((after.predicted != clean["predicted"].to_numpy()).sum()),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer images and rounds")
    parser.add_argument("--signal", nargs="*", help=f"by default {', '.join((*SIGNALS, *OTHERS))}")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    names = options.signal or ("msp", "knn(k=10)") if options.quick else options.signal or (*SIGNALS, *OTHERS)
    source = demur.open_data("fashion")
    rows = list(source.read(range(len(source))))
    x, places = torch.stack([row.image for row in rows]), {row.sample_id: k for k, row in enumerate(rows)}
    found = {}
    print(f"{'signal':<14}{'module':>8}{'classifier':>12}{'+ median':>10}{'+ p99':>8}{'at 64':>8}{'of module':>11}")
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            guard, run = fitted(Path(folder), name, 3200 if options.quick else None)
            same = agreement(guard, run, x, places)
            found[name] = {**figures(guard, x, quick=options.quick), **same}
            print(f"{name:<14}" + WIDTHS.format(*list(found[name].values())[:6]))
            print(
                f"{'':<14}of {same['images']:,} images decided otherwise than in the audit: {same['moved_near']} near "
                f"a bound, {same['moved']} elsewhere; labelled otherwise: {same['labels']}"
            )
        part = x[:1000]
        one = guard(part)
        with ThreadPoolExecutor(8) as pool:
            alike = all((each.accepted == one.accepted).all() for each in pool.map(guard, [part] * 8))
        print(f"eight threads × 1,000 images: {'as one' if alike else 'otherwise'}")
    print(json.dumps({"benchmark": "guard", "signals": found, "threads_alike": alike}))


if __name__ == "__main__":
    main()
