"""Train the classifiers that ship with demur and write their weights with model cards.

Run as `python tools/weights.py --train FOLDER`, where FOLDER holds the four IDX files of Fashion-MNIST. The test images
are read once, after the last step, to fill in the cards; nothing is chosen by them.
"""

import argparse
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import demur
from demur.cli.settings import progress_display
from demur.cli.train_command import EpochTable
from demur.data import Source, build_index, open_data
from demur.data.fashion import CLASSES
from demur.metrics.binomial import wilson
from demur.metrics.estimate import Estimate
from demur.proofs import network_bounds
from demur.training import Recipe, Standard, fresh, gather, learn
from demur.training.verifiable import IBP
from demur.zoo import CompactResNet, VerifiableCNN

SEED = 0
SIZES = (2 / 255, 0.02, 0.05, 0.1)
HERE = Path(demur.__file__).parent / "zoo" / "weights"


@dataclass(frozen=True)
class Shipped:
    """A classifier that comes with demur: what is trained, how, by how many threads, and whether bounds are told."""

    factory: Callable[[], nn.Module]
    recipe: Recipe
    threads: int
    proven: bool = False


NETS = {
    "fashion": Shipped(CompactResNet, Standard(epochs=25), threads=2),
    "fashion_ibp": Shipped(VerifiableCNN, IBP(epochs=25, eps=0.07), threads=1, proven=True),
}


def main() -> None:
    """Train, save, measure, describe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=Path, required=True, help="folder of the IDX files to learn from")
    parser.add_argument("--out", type=Path, default=HERE, help="folder for NAME.safetensors and NAME.md")
    parser.add_argument("--only", choices=sorted(NETS), help="one of the classifiers; by default all")
    parser.add_argument("--card-only", action="store_true", help="keep the weights, measure and describe them again")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in [arguments.only] if arguments.only else NETS:
        weights = arguments.out / f"{name}.safetensors"
        if not arguments.card_only:
            train(NETS[name], arguments.train, weights)
        weights.with_suffix(".md").write_text(card(name, arguments.train, weights), encoding="utf-8")


def train(net: Shipped, folder: Path, weights: Path) -> None:
    """Learn from the training split of a folder and save the weights."""
    torch.set_num_threads(net.threads)
    source = open_data(f"idx:{folder}?split=train")
    index = build_index(source)
    lessons = gather(source, index.positions.tolist(), torch.from_numpy(index.labels))
    with progress_display() as display:
        state = learn(net.recipe, fresh(net.factory, SEED), lessons, SEED, progress=EpochTable(display))
    save_file(state, weights, metadata={"classes": ",".join(CLASSES)})


def card(name: str, folder: Path, weights: Path) -> str:
    """The model card, with what was measured on the bundled test images."""
    net, module = NETS[name], loaded(NETS[name], weights)
    images, labels = read(open_data("fashion"))
    right = judged(module, images, labels)
    shares = [wilson(int(right[labels == k].sum()), int((labels == k).sum())) for k in range(len(CLASSES))]
    worst = min(range(len(CLASSES)), key=lambda k: shares[k].value)
    told = {
        "version": demur.__version__,
        "torch": torch.__version__,
        "parameters": f"{sum(value.numel() for value in module.parameters()):,}",
        "size": f"{weights.stat().st_size:,}",
        "sha256": digest(weights),
        "recipe": net.recipe,
        "seed": SEED,
        "threads": net.threads,
        "accuracy": shown(wilson(int(right.sum()), len(right))),
        "wrong": int((~right).sum()),
        "rows": len(right),
        "classes": "\n".join(f"| {one} | {shown(share)} |" for one, share in zip(CLASSES, shares, strict=True)),
        "worst": f"{CLASSES[worst]}, {100 * shares[worst].value:.1f} % right",
        "files": "\n".join(f"| `{path.name}` | `{digest(path)}` |" for path in sorted(folder.glob("train-*"))),
        **(beside_the_ordinary(module, images, labels) if net.proven else {}),
    }
    return (Path(__file__).parent / f"card_{name}.md").read_text(encoding="utf-8").format(**told)


def loaded(net: Shipped, weights: Path) -> nn.Module:
    """A network with its weights, to be asked."""
    module = net.factory()
    module.load_state_dict(load_file(weights))
    return module.eval()


def beside_the_ordinary(module: nn.Module, images: Tensor, labels: Tensor) -> dict[str, str]:
    """What is proven of a network, and how often the ordinary one, as it ships, is right."""
    ordinary = judged(loaded(NETS["fashion"], HERE / "fashion.safetensors"), images, labels)
    return {
        "ordinary": shown(wilson(int(ordinary.sum()), len(ordinary))),
        "proven": "\n".join(proven_lines(module, images, labels)),
    }


def read(source: Source) -> tuple[Tensor, Tensor]:
    """All images that can be read, and their labels."""
    rows = [row for row in source.read(range(len(source))) if row.image is not None]
    images = torch.stack([row.image for row in rows if row.image is not None])
    return images, torch.tensor([row.label for row in rows])


@torch.no_grad()
def proven_lines(module: nn.Module, images: Tensor, labels: Tensor) -> Iterator[str]:
    """A line of a table for each size: the share answered rightly whatever is done within it."""
    batches = list(zip(images.split(500), labels.split(500), strict=True))
    for eps in SIZES:
        right = sum(int(network_bounds(module, x, y, eps).right.sum()) for x, y in batches)
        yield f"| {eps:.4f} | {shown(wilson(right, len(labels)))} |"


@torch.inference_mode()
def judged(module: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
    """Whether each image is classified right."""
    return torch.cat([module(batch).argmax(dim=1) for batch in images.split(500)]) == labels


def shown(share: Estimate) -> str:
    """A share in per cent with its interval."""
    return f"{100 * share.value:.1f} % ({100 * share.low:.1f} to {100 * share.high:.1f})"


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
