"""Images set aside, and how a network does on them: at the end, and after each epoch."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from demur.attacks.core.driving import driven
from demur.attacks.core.harness import Stepwise
from demur.attacks.core.losses import cross_entropy
from demur.classifier import BoundClassifier
from demur.data import Index, Source
from demur.proofs import network_bounds
from demur.shapes import Images
from demur.training.backbone import evaluating
from demur.training.model_card import Scores, scores
from demur.training.training_task import Rows

BATCH = 128


@torch.inference_mode()
def evaluate(classifier: BoundClassifier, source: Source, index: Index, rows: Rows) -> Scores | None:
    """Scores on some readable rows, in evaluation mode and on the images as they are; None where there are no rows."""
    if not len(rows):
        return None
    answers = [classifier.logits(images).argmax(dim=1) for images in _batches(source, index, rows)]
    predicted = torch.cat(answers).numpy()
    return scores(predicted, index.labels[rows], classifier.classes, _groups(index, rows))


@torch.no_grad()
def answers(student: nn.Module, source: Source, index: Index, rows: Rows) -> Tensor:
    """Logits (rows, classes) of a network in training, in evaluation mode; it then trains on as if never asked.

    A network that draws at random even in evaluation mode leaves the global stream as it was.
    """
    mode, device = student.training, _device(student)
    student.eval()
    with torch.random.fork_rng(devices=[]):
        found = [
            student(images.to(device, memory_format=torch.channels_last)) for images in _batches(source, index, rows)
        ]
    student.train(mode)
    return torch.cat(found).cpu()


def robust_accuracy(
    student: nn.Module, source: Source, index: Index, rows: Rows, attack: Stepwise | None
) -> float | None:
    """The share of some rows that an attack from one start leaves right; None where there are none.

    The same points are begun from at every epoch. A short search is for telling epochs apart, not for claims.
    """
    if attack is None or not len(rows):
        return None
    mode, device, right = student.training, _device(student), 0
    student.eval()
    for at, images in enumerate(_batches(source, index, rows)):
        labels = torch.from_numpy(index.labels[rows[at * BATCH : (at + 1) * BATCH]]).to(device)
        seeds = torch.arange(at * BATCH, at * BATCH + len(labels), device=device)
        with torch.random.fork_rng(devices=[]):
            points = driven(attack, student, images.to(device), labels, seeds, cross_entropy)
            with torch.no_grad():
                right += int((student(points).argmax(dim=1) == labels).sum())
    student.train(mode)
    return right / len(rows)


@torch.no_grad()
def proven_accuracy(student: nn.Module, source: Source, index: Index, rows: Rows, eps: float) -> float | None:
    """The share of some rows that bounds show to be answered rightly within eps; None where there are no rows."""
    if not len(rows):
        return None
    device, right = _device(student), 0
    exact = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)  # a GPU that rounds more would prove too much
    with evaluating(student), torch.random.fork_rng(devices=[]), exact:
        for at, images in enumerate(_batches(source, index, rows)):
            labels = torch.from_numpy(index.labels[rows[at * BATCH : (at + 1) * BATCH]]).to(device)
            right += int(network_bounds(student, images.to(device), labels, eps).right.sum())
    return right / len(rows)


def mean_loss(logits: Tensor, labels: NDArray[np.int64]) -> float:
    """The mean cross-entropy, in nats, every image counting the same."""
    return float(functional.cross_entropy(logits.double(), torch.from_numpy(labels)))


def _device(student: nn.Module) -> torch.device:
    return next((value.device for value in student.parameters()), torch.device("cpu"))


def _batches(source: Source, index: Index, rows: Rows) -> Iterator[Images]:
    for start in range(0, len(rows), BATCH):
        positions = index.positions[rows[start : start + BATCH]].tolist()
        yield torch.stack([row.image for row in source.read(positions) if row.image is not None])


def _groups(index: Index, rows: Rows) -> NDArray[np.str_] | None:
    """The unit of each row; a row without a group is one of its own."""
    if index.group_count is None:
        return None
    return np.array([index.groups[row] or f"\x1f{index.sample_ids[row]}" for row in rows])
