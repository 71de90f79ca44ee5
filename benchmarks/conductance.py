"""Conductance of the pooled layer by the closed form against captum's path integral, in one process.

Both give what each feature map adds to the answer's logit; captum walks the path in 10 steps. Runs alternate; times are
CPU seconds of this process, both are called once before the clock starts, and both walk the same classifier, with its
memory layout. A layer further down has no closed form: what its path misses is printed for some steps, as a share of
what the logits gain, by our trapezoidal rule and by captum's `riemann_trapezoid`, which takes the slopes of the left
ends.

    python benchmarks/conductance.py [--quick] [--images N] [--threads N]

Uses resnet20 on CIFAR-10 from the folder in DEMUR_SHARED, or the shipped classifier on Fashion-MNIST without it.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
from captum.attr import LayerConductance

from common.nets import fashion, resnet20
from demur.classifier import BoundClassifier
from demur.classifier.channel_contributions import along_a_path, is_pooled
from demur.evidence import Evidence

STEPS = 10


def by_captum(model: BoundClassifier, x: torch.Tensor, layer: str, answers: torch.Tensor, steps: int) -> torch.Tensor:
    """What each map adds, (rows, maps), by the library."""
    conductance = LayerConductance(model.as_module(), model.as_module().get_submodule(layer))
    inside = model.prepare(x)
    found = []
    for part, target in zip(torch.split(inside, 32), torch.split(answers, 32), strict=True):
        neurons = conductance.attribute(
            part, torch.zeros_like(part), target=target, n_steps=steps, method="riemann_trapezoid"
        )
        found.append(neurons.detach().sum(dim=(2, 3)))
    return torch.cat(found)


def seconds(work: Callable[[], torch.Tensor]) -> tuple[float, torch.Tensor]:
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
    print(json.dumps(measure(images, pairs=2 if arguments.quick else 5)))


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
        by_captum(model, subject.x[:2], layer, answers[:2], STEPS)
        contributions(model, subject.x[:2], layer)
        for _ in range(pairs):
            slow, path = seconds(lambda: by_captum(model, subject.x, layer, answers, STEPS))
            fast, closed = seconds(lambda: contributions(model, subject.x, layer))
            ratios.append(slow / fast)
        difference = float((path - closed).abs().max())
        early = next(name for name in model.layer_names if name.endswith(("layer2", "blocks.1")))
        x, c = subject.x[:64], answers[:64]
        risen = (model.logits(x) - model.logits(model.origin)).gather(1, c[:, None])[:, 0].abs().mean()
        missed = {}
        for steps in (10, 50):
            ours = along_a_path(model, x, (early,), c, steps)[early]
            theirs = by_captum(model, x, early, c, steps).sum(dim=1) - (ours.maps.sum(dim=1) - ours.gap)
            missed[steps] = tuple(round(float(gap.abs().mean() / risen), 4) for gap in (ours.gap, theirs))
    ratio = statistics.median(ratios)
    print(
        f"{subject.name}, {images} images, layer {layer!r}: closed form {ratio:.1f}× faster than captum, {STEPS} steps"
    )
    print(f"  largest difference {difference:.2g} logits")
    for steps, (ours, theirs) in missed.items():
        print(f"  layer {early!r} along a path of {steps} steps misses {ours:.1%} of the gain, captum's {theirs:.1%}")
    return {
        "model": subject.name,
        "images": images,
        "layer": layer,
        "speedup": round(ratio, 2),
        "largest_difference": difference,
        "completeness_share": missed,
    }


def contributions(model: BoundClassifier, x: torch.Tensor, layer: str) -> torch.Tensor:
    """What each map adds, by the closed form."""
    return Evidence(model, x, (layer,), features=True).contributions((layer,))[layer].maps


def pooled_layer(model: BoundClassifier, images: torch.Tensor) -> str:
    """The last layer whose maps are averaged into the features."""
    names = [name for name in model.layer_names if name.endswith(("layer3", "blocks", "blocks.2"))]
    output = model.forward_output(images, names)
    return next(name for name in names if is_pooled(output, name))


if __name__ == "__main__":
    main()
