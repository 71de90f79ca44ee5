"""Wrong labels, near-duplicates and bursts: what is found of what was planted, and what is raised where nothing was.

    python benchmarks/label_noise.py [--quick] [--table NAME]

The images are the bundled Fashion-MNIST test set under the shipped classifier and, with DEMUR_SHARED, a copy of
CIFAR-10 under ResNet-20. Sets of labels that are right by construction are clouds of points. Everything is measured by
the functions that an audit calls. The last line is one line of JSON.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from common.clouds import KINDS, cloud_answers, films, mislabelled, saved_again, shifted
from demur.adapters import load_model
from demur.analysis.verdict.burst_checks import _resemble
from demur.data import build_index, from_tensors, open_data
from demur.data.near_duplicates import near_duplicates, print_of
from demur.metrics.confident_learning import confident_joint, suspects
from demur.metrics.label_noise import label_noise
from demur.pipeline.image_similarity import neighbour_facts

Line = dict[str, Any]
CLASSES, GAPS = (3, 5, 10, 100), (2.0, 3.0, 5.0)
CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "mirrored": lambda images: images.flip(3),
    "moved by (1, 0)": lambda images: shifted(images, 1, 0),
    "moved by (3, −3)": lambda images: shifted(images, -3, 3),
    "saved again": saved_again,
    "saved again, mirrored, moved by (1, 2)": lambda images: shifted(saved_again(images.flip(3)), -2, 1),
    "a fifth darker": lambda images: 0.8 * images,
}


@dataclass(frozen=True)
class Effort:
    """How much of each: images in all, images searched for copies, copies, sets of a kind."""

    rows: int
    searched: int
    copies: int
    clouds: int
    shuffles: int


QUICK = Effort(rows=2000, searched=1000, copies=60, clouds=2, shuffles=5)
FULL = Effort(rows=10_000, searched=5000, copies=300, clouds=25, shuffles=100)


@dataclass(frozen=True, eq=False)
class Set:
    """Images (rows, channels, height, width), their labels and a classifier's logits (rows, classes)."""

    images: Tensor
    labels: NDArray[np.int64]
    logits: NDArray[np.float32]

    @property
    def classes(self) -> int:
        return self.logits.shape[1]


@cache
def image_sets(rows: int) -> dict[str, Set]:
    """The first rows of either set, and what its model answers."""
    addresses = {"fashion": ("fashion", "fashion")}
    if "DEMUR_SHARED" in os.environ:
        shared = os.environ["DEMUR_SHARED"]
        weights = f"{shared}/models/cifar10_resnet20.safetensors?mean=.485,.456,.406&std=.229,.224,.225"
        addresses["cifar10"] = (f"parquet:{shared}/data/cifar10/test.parquet", f"zoo:resnet20@{weights}")
    return {name: _opened(*each, rows) for name, each in addresses.items()}


def _opened(data: str, model: str, rows: int) -> Set:
    source = open_data(data)
    read = [row for row in source.read(range(min(rows, len(source)))) if row.image is not None]
    images = torch.stack([row.image for row in read if row.image is not None])
    classifier = load_model(model, classes=source.classes, input_shape=source.input_shape)
    with torch.no_grad():
        logits = torch.cat([classifier.logits(part) for part in images.split(250)]).numpy()
    return Set(images, np.array([row.label for row in read]), logits)


def clouds(effort: Effort) -> Iterator[tuple[str, Line]]:
    """Labels right by construction, and a tenth of them wrong at random."""
    for kind in KINDS:
        raised, errors, found, held = [], [], [], []
        for seed in range(effort.clouds):
            for classes in CLASSES:
                for gap in GAPS:
                    generator = np.random.default_rng([seed, classes, int(gap), KINDS.index(kind)])
                    logits, labels = cloud_answers(kind, classes, gap, 2000, generator)
                    right = label_noise(logits, labels)
                    raised.append(right.evidence)
                    errors.append(right.errors)
                    if right.errors < 0.1:
                        wrong, planted = mislabelled(labels, classes, 0.1, generator)
                        noise = label_noise(logits, wrong)
                        found.append(noise.evidence)
                        held.append(noise.share.low <= planted.mean() <= noise.share.high)
        yield (
            kind,
            {
                "sets": len(raised),
                "errors from": float(np.min(errors)),
                "errors to": float(np.max(errors)),
                "raised": float(np.mean(raised)),
                "sets with a tenth wrong": len(found),
                "found": float(np.mean(found)) if found else None,
                "interval holds": float(np.mean(held)) if held else None,
            },
        )


def labels_of_images(effort: Effort) -> Iterator[tuple[str, Line]]:
    """Real labels as they are, with some replaced at random, and by what the model thinks second likeliest."""
    for name, own in image_sets(effort.rows).items():
        for share in (0.0, 0.02, 0.05, 0.1, 0.2):
            yield f"{name}, {share:.0%} at random", _mean_of([_planted(own, share, seed) for seed in range(5)])
        yield f"{name}, 10% second choices", _mean_of([_second_choices(own, 0.1, seed) for seed in range(5)])


def _planted(own: Set, share: float, seed: int) -> Line:
    labels, wrong = mislabelled(own.labels, own.classes, share, np.random.default_rng(seed))
    return _judged(own, labels, wrong)


def _second_choices(own: Set, share: float, seed: int) -> Line:
    chosen = np.random.default_rng(seed).uniform(size=len(own.labels)) < share
    others = own.logits.copy()
    others[np.arange(len(others)), own.labels] = -np.inf
    return _judged(own, np.where(chosen, others.argmax(axis=1), own.labels), chosen)


def _judged(own: Set, labels: NDArray[np.int64], wrong: NDArray[np.bool_]) -> Line:
    """What is told, beside the truth; and how many of the listed images are planted ones."""
    noise, joint = label_noise(own.logits, labels), confident_joint(own.logits, labels)
    listed, named = suspects(own.logits, labels, int(wrong.sum()) or 100)
    return {
        "told": float(noise.evidence),
        "share": noise.share.value,
        "low": noise.share.low,
        "high": noise.share.high,
        "errors": noise.errors,
        "confident joint": joint.share,
        "listed are planted": float(wrong[listed].mean()) if wrong.any() and len(listed) else None,
        "named rightly": float((named == own.labels[listed])[wrong[listed]].mean()) if wrong[listed].any() else None,
    }


def _mean_of(lines: list[Line]) -> Line:
    return {key: None if lines[0][key] is None else float(np.mean([each[key] for each in lines])) for key in lines[0]}


def copies(effort: Effort) -> Iterator[tuple[str, Line]]:
    """Changed copies of some images in another split: how many are found, and how many pairs are none."""
    for name, own in image_sets(effort.rows).items():
        images = own.images[: effort.searched]
        among = _pairs(images, np.arange(len(images)))
        yield f"{name}, as it is", {"images": len(images), "copies": 0, "found": None, "other pairs": len(among)}
        many = effort.copies
        for title, change in CHANGES.items():
            joined = torch.cat([images, change(images[:many])])
            pairs = _pairs(joined, np.repeat([0, 1], [len(images), many]))
            right = int((pairs[:, 1] - len(images) == pairs[:, 0]).sum())
            found = {"found": right / many, "other pairs": len(pairs) - right}
            yield f"{name}, {title}", {"images": len(images), "copies": many, **found}


def _pairs(images: Tensor, parts: NDArray[np.int64]) -> NDArray[np.int64]:
    height, width = images.shape[2:]
    return near_duplicates(print_of(images), parts, (height, width))


def bursts(effort: Effort) -> Iterator[tuple[str, Line]]:
    """Whether images that follow one another are too much alike: shuffled sets, and films in order and shuffled."""
    times = effort.shuffles
    for name, own in image_sets(effort.rows).items():
        for size in (300, 1000):
            yield f"{name}, {size:,} shuffled images", _alarms(own, times, lambda g, own=own, n=size: _some(g, own, n))
        yield f"{name}, 30 films of 12 frames", _alarms(own, times, lambda g, own=own: _films(g, own, 12))
        yield f"{name}, 100 bursts of 3", _alarms(own, times, lambda g, own=own: _films(g, own, 3, 100))
        shuffled = "30 films of 12 frames, shuffled"
        yield f"{name}, {shuffled}", _alarms(own, times, lambda g, own=own: _films(g, own, 12, shuffle=True))


Draw = Callable[[np.random.Generator], tuple[Tensor, Tensor]]


def _alarms(own: Set, times: int, draw: Draw) -> Line:
    """How many of so many sets are warned of, and the mean share of neighbours that are alike."""
    raised, alike = [], []
    for seed in range(times):
        source = from_tensors(*draw(np.random.default_rng(seed)), classes=[str(each) for each in range(own.classes)])
        facts = neighbour_facts(source, build_index(source))
        raised.append(_resemble(facts))
        alike.append(facts["alike"] / max(1, facts["pairs"]))
    return {"sets": times, "raised": float(np.mean(raised)), "alike": float(np.mean(alike))}


def _some(generator: np.random.Generator, own: Set, size: int) -> tuple[Tensor, Tensor]:
    rows = generator.choice(len(own.labels), size, replace=False)
    return own.images[rows], torch.from_numpy(own.labels[rows])


def _films(
    generator: np.random.Generator, own: Set, frames: int, many: int = 30, *, shuffle: bool = False
) -> tuple[Tensor, Tensor]:
    images, labels = _some(generator, own, many)
    shown, said = films(images, frames, generator), labels.repeat_interleave(frames)
    order = torch.from_numpy(generator.permutation(len(said))) if shuffle else torch.arange(len(said))
    return shown[order], said[order]


TABLES: dict[str, Callable[[Effort], Iterator[tuple[str, Line]]]] = {
    "clouds": clouds,
    "labels": labels_of_images,
    "copies": copies,
    "bursts": bursts,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer sets of fewer images, within a minute on one core")
    parser.add_argument("--table", choices=sorted(TABLES), help="this table alone")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, dict[str, Line]] = {}
    for name, table in TABLES.items():
        if arguments.table in {None, name}:
            began, found[name] = time.process_time(), {}
            for title, line in table(QUICK if arguments.quick else FULL):
                found[name][title] = {
                    key: round(each, 4) if isinstance(each, float) else each for key, each in line.items()
                }
                print(f"  {title:<48} {json.dumps(found[name][title])}", flush=True)
            print(f"{name} ({time.process_time() - began:.1f} s of one core)", flush=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
