"""Train the classifier that ships with demur and write its weights with a model card.

Run as `python tools/weights.py --train FOLDER`, where FOLDER holds the four IDX files of Fashion-MNIST. The test images
are read once, after the last step, to fill in the card; nothing is chosen by them.
"""

import argparse
import hashlib
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import demur
from demur.cli.settings import progress_display
from demur.data import Source, build_index, open_data
from demur.data.fashion import CLASSES
from demur.metrics.binomial import wilson
from demur.metrics.estimate import Estimate
from demur.training import Standard, fresh, gather, learn
from demur.zoo import CompactResNet

SEED = 0
RECIPE = Standard(epochs=25)
HERE = Path(demur.__file__).parent / "zoo" / "weights"
CARD = Path(__file__).parent / "card.md"


def main() -> None:
    """Train, save, measure, describe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", type=Path, required=True, help="folder of the IDX files to learn from")
    parser.add_argument("--out", type=Path, default=HERE, help="folder for fashion.safetensors and fashion.md")
    parser.add_argument("--card-only", action="store_true", help="keep the weights, measure and describe them again")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    weights = arguments.out / "fashion.safetensors"
    if not arguments.card_only:
        train(arguments.train, weights)
    (arguments.out / "fashion.md").write_text(card(arguments.train, weights), encoding="utf-8")


def train(folder: Path, weights: Path) -> None:
    """Learn from the training split of a folder and save the weights."""
    torch.set_num_threads(2)
    source = open_data(f"idx:{folder}?split=train")
    index = build_index(source)
    lessons = gather(source, index.positions.tolist(), torch.from_numpy(index.labels))
    with progress_display() as progress:
        state = learn(RECIPE, fresh(CompactResNet, SEED), lessons, SEED, progress=progress)
    save_file(state, weights, metadata={"classes": ",".join(CLASSES)})


def card(folder: Path, weights: Path) -> str:
    """The model card, with what was measured on the bundled test images."""
    module = CompactResNet()
    module.load_state_dict(load_file(weights))
    module.eval()
    right, labels = judged(module, open_data("fashion"))
    shares = [wilson(int(right[labels == k].sum()), int((labels == k).sum())) for k in range(len(CLASSES))]
    worst = min(range(len(CLASSES)), key=lambda k: shares[k].value)
    return CARD.read_text(encoding="utf-8").format(
        version=demur.__version__,
        torch=torch.__version__,
        parameters=f"{sum(value.numel() for value in module.parameters()):,}",
        size=f"{weights.stat().st_size:,}",
        sha256=digest(weights),
        recipe=RECIPE,
        seed=SEED,
        accuracy=shown(wilson(int(right.sum()), len(right))),
        wrong=int((~right).sum()),
        rows=len(right),
        classes="\n".join(f"| {name} | {shown(share)} |" for name, share in zip(CLASSES, shares, strict=True)),
        worst=f"{CLASSES[worst]}, {100 * shares[worst].value:.1f} % right",
        files="\n".join(f"| `{path.name}` | `{digest(path)}` |" for path in sorted(folder.glob("train-*"))),
    )


@torch.inference_mode()
def judged(module: nn.Module, source: Source) -> tuple[Tensor, Tensor]:
    """Whether each image is classified right, and its label."""
    rows = [row for row in source.read(range(len(source))) if row.image is not None]
    images = torch.stack([row.image for row in rows if row.image is not None])
    labels = torch.tensor([row.label for row in rows])
    predicted = torch.cat([module(batch).argmax(dim=1) for batch in torch.split(images, 500)])
    return predicted == labels, labels


def shown(share: Estimate) -> str:
    """A share in per cent with its interval."""
    return f"{100 * share.value:.1f} % ({100 * share.low:.1f} to {100 * share.high:.1f})"


def digest(path: Path) -> str:
    """The SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
