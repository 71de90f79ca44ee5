"""What each registered signal costs on the shipped classifier, and how well it tells wrong answers.

    python benchmarks/signals.py [--quick] [--rows N] [--only NAME…]

The forward pass that all signals share is timed once, on full batches; then each signal on evidence whose forward pass
is made, so its figure is what it adds. Signals that must be fitted are fitted on the images of the split fit. CPU
seconds are those of the process. AUROC is against errors, on the images scored.
"""

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

import demur
from demur.classifier import BoundClassifier
from demur.data import Index, Source, build_index
from demur.errors import InputError
from demur.evidence import Evidence
from demur.metrics import auroc
from demur.randomness import Keys
from demur.registry import build, name_of, names
from demur.signals import AnySignal, Fittable, Needs, needs_of

BATCH = 128


@dataclass(frozen=True)
class Rows:
    """Evidence of some images, batch by batch, anew each time."""

    classifier: BoundClassifier
    source: Source
    index: Index
    rows: NDArray[np.int64]
    needs: Needs

    def __iter__(self) -> Iterator[Evidence]:
        for start in range(0, len(self.rows), BATCH):
            read = list(self.source.read(self.index.positions[self.rows[start : start + BATCH]].tolist()))
            keys = Keys.of(0, [row.sample_id for row in read], "benchmark")
            images = torch.stack([row.image for row in read if row.image is not None])
            yield Evidence(self.classifier, images, self.needs.layers, features=True, keys=keys)

    @property
    def labels(self) -> torch.Tensor:
        return torch.from_numpy(self.index.labels[self.rows].astype("int64"))


@dataclass(frozen=True)
class Figures:
    """Milliseconds per image, seconds of fitting, CPU share, and AUROC against errors."""

    name: str
    milliseconds: float
    cpu_milliseconds: float
    fitting_seconds: float
    passes: float
    spent: float
    auroc: float


def evidence_of(rows: Rows) -> tuple[list[Evidence], float]:
    """Evidence whose forward pass is made, and what that took in CPU milliseconds per image."""
    seen = list(rows)
    begun = time.process_time()
    for each in seen:
        _ = each.features, each.logits
    return seen, (time.process_time() - begun) * 1000 / len(rows.rows)


def measure(signal: AnySignal, reference: Rows, rows: Rows) -> Figures:
    begun = time.perf_counter()
    ready = signal.fit(reference, reference.labels) if isinstance(signal, Fittable) else signal
    fitting = time.perf_counter() - begun
    seen, _ = evidence_of(rows)
    ready(seen[0].rows(torch.arange(2)))  # what is imported or built on first use
    begun, cpu = time.perf_counter(), time.process_time()
    uncertainty = torch.cat([ready(each) for each in seen])
    cpu, seconds = time.process_time() - cpu, time.perf_counter() - begun
    wrong = torch.cat([each.logits for each in seen]).argmax(dim=1) != rows.labels
    spent = torch.cat([each.spent for each in seen], dim=1).double()
    return Figures(
        name=name_of("signal", signal),
        milliseconds=seconds * 1000 / len(rows.rows),
        cpu_milliseconds=cpu * 1000 / len(rows.rows),
        fitting_seconds=fitting if isinstance(signal, Fittable) else 0.0,
        passes=needs_of(signal).passes,
        spent=float((spent[0] + 1.25 * spent[1]).mean()) - 1,
        auroc=float(auroc(uncertainty.numpy(), wrong.numpy())),
    )


def show(found: Figures, forward: float) -> None:
    fitting = f"{found.fitting_seconds:8.2f} s" if found.fitting_seconds else " " * 10
    print(
        f"  {found.name:<22} {found.milliseconds:9.4f} ms {found.cpu_milliseconds:9.4f} ms CPU "
        f"{found.cpu_milliseconds / forward:8.2f} forwards {found.spent:8.2f} of {found.passes:<6g} passes {fitting}"
        f"  AUROC {found.auroc:.3f}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="256 images instead of 2,000")
    parser.add_argument("--rows", type=int, help="how many images are scored")
    parser.add_argument("--only", nargs="+", default=names("signal"), help="names of signals, fields allowed")
    arguments = parser.parse_args()
    source = demur.open_data("fashion")
    classifier = demur.load_model("fashion", classes=source.classes, input_shape=source.input_shape)
    index = build_index(source)
    count = arguments.rows or (256 if arguments.quick else 2000)
    fit, test = index.rows_of("fit"), index.rows_of("test")[:count]
    with torch.no_grad():
        evidence_of(Rows(classifier, source, index, test[:BATCH], Needs()))
        _, forward = evidence_of(Rows(classifier, source, index, test, Needs()))
        print(
            f"{len(test)} images, batch {BATCH}; a forward pass takes {forward:.4f} ms CPU an image; "
            f"{len(fit)} images to fit on"
        )
        figures, refused = list[Figures](), dict[str, str]()
        for name in arguments.only:
            try:
                signal = build("signal", name)
                parts = (Rows(classifier, source, index, rows, needs_of(signal)) for rows in (fit, test))
                figures.append(measure(signal, *parts))
                show(figures[-1], forward)
            except InputError as error:
                refused[name] = str(error).partition(". ")[0]
                print(f"  {name:<22} not here: {refused[name]}", flush=True)
    print(
        json.dumps(
            {
                "images": len(test),
                "forward_cpu_ms": round(forward, 5),
                "ms": {each.name: round(each.milliseconds, 5) for each in figures},
                "cpu_ms": {each.name: round(each.cpu_milliseconds, 5) for each in figures},
                "auroc": {each.name: round(each.auroc, 4) for each in figures},
                "refused": refused,
            }
        )
    )


if __name__ == "__main__":
    main()
