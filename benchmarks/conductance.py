"""Conductance of the pooled layer by the closed form against captum's path integral, in one process.

Both give what each feature map adds to the answer's logit; captum walks the path in 10 steps. Runs alternate; times
are CPU seconds of this process, both are called once before the clock starts, so that captum is imported, and both
walk the same classifier, with its memory layout. A layer further down has no closed form: its completeness error is
printed for some steps.

    python benchmarks/conductance.py [--quick] [--images N] [--threads N]

Uses resnet20 on CIFAR-10 from the folder in DEMUR_SHARED, or the shipped classifier on Fashion-MNIST without it.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch

from common.nets import fashion, resnet20
from demur.classifier import BoundClassifier
from demur.classifier.channel_contributions import Contributions, along_a_path, is_pooled
from demur.errors import MissingExtraError
from demur.evidence import Evidence

STEPS = 10


def seconds(work: Callable[[], Contributions]) -> tuple[float, Contributions]:
    began = time.process_time()
    found = work()
    return time.process_time() - began, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer images, under a minute")
    parser.add_argument("--images", type=int, help="how many images")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    images = arguments.images or (64 if arguments.quick else 256)
    try:
        print(json.dumps(measure(images, pairs=2 if arguments.quick else 5)))
    except MissingExtraError as error:
        print(f"nothing to compare with: {error}")
        print(json.dumps({"images": images}))


def measure(images: int, pairs: int) -> dict[str, object]:
    subject = resnet20(images) or fashion(images)
    model = BoundClassifier(
        subject.network,
        classes=subject.classes,
        input_shape=tuple(subject.x.shape[1:]),
        mean=subject.mean,
        std=subject.std,
    )
    with torch.no_grad():
        answers = model.logits(subject.x).argmax(dim=1)
        layer = pooled_layer(model, subject.x[:4])
        ratios = []
        along_a_path(model, subject.x[:2], layer, answers[:2], STEPS)
        Evidence(model, subject.x[:2], (layer,), features=True).contributions(layer)
        for _ in range(pairs):
            slow, path = seconds(lambda: along_a_path(model, subject.x, layer, answers, STEPS))
            fast, closed = seconds(lambda: Evidence(model, subject.x, (layer,), features=True).contributions(layer))
            ratios.append(slow / fast)
        difference = float((path.maps - closed.maps).abs().max())
        early = next(name for name in model.layer_names if name.endswith(("layer2", "blocks.1")))
        gaps = {}
        for steps in (10, 50):
            found = along_a_path(model, subject.x[:32], early, answers[:32], steps)
            gaps[steps] = float(found.gap.abs().mean())
    ratio = statistics.median(ratios)
    print(
        f"{subject.name}, {images} images, layer {layer!r}: closed form {ratio:.1f}× faster than captum, {STEPS} steps"
    )
    print(f"  largest difference {difference:.2g} logits")
    print(f"  layer {early!r} along the path: " + ", ".join(f"{n} steps miss {gap:.3f}" for n, gap in gaps.items()))
    return {
        "model": subject.name,
        "images": images,
        "layer": layer,
        "speedup": round(ratio, 2),
        "largest_difference": difference,
        "completeness_error": {steps: round(gap, 4) for steps, gap in gaps.items()},
    }


def pooled_layer(model: BoundClassifier, images: torch.Tensor) -> str:
    """The last layer whose maps are averaged into the features."""
    names = [name for name in model.layer_names if name.endswith(("layer3", "blocks", "blocks.2"))]
    output = model.forward_output(images, names)
    return next(name for name in names if is_pooled(output, name))


if __name__ == "__main__":
    main()
