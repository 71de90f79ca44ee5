"""A small adversarially trained classifier of clothes, so that attacks have something to differ on."""

import hashlib
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from demur.data import Index, Source
from demur.training.batches import fresh, gather, random_shift
from demur.training.learning_loop import learn
from demur.training.model_card import write_model
from demur.training.recipe import Lesson
from demur.training.standard import Standard
from demur.training.training_task import split
from demur.zoo import CompactResNet

EPS = 0.1
"""The L∞ radius trained for."""


@dataclass(frozen=True, kw_only=True)
class Adversarial:
    """Cross-entropy at the worst point that a few sign steps find in an L∞ ball around each image.

    Madry et al. (2018), arXiv:1706.06083; few steps that overreach the ball, as Wong et al. (2020), arXiv:2001.03994.
    """

    eps: float = EPS
    steps: int = 3
    epochs: int = 20
    batch: int = 128
    learning_rate: float = 0.2

    def optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return self._standard.optimizer(parameters)

    def pace(self, done: int, total: int) -> Mapping[str, float]:
        return self._standard.pace(done, total)

    def view(self, images: Tensor, dice: torch.Generator) -> Tensor:
        return random_shift(images, 1, dice)

    def loss(self, student: nn.Module, lesson: Lesson) -> Tensor:
        return functional.cross_entropy(student(self.worst(student, lesson.images, lesson.labels)), lesson.labels)

    def worst(self, student: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        """Found with the statistics of batch normalisation held still."""
        student.eval()
        low, high = (images - self.eps).clamp(min=0), (images + self.eps).clamp(max=1)
        x = low + (high - low) * torch.rand_like(images)
        for _ in range(self.steps):
            x.requires_grad_()
            (gradient,) = torch.autograd.grad(functional.cross_entropy(student(x), labels, reduction="sum"), x)
            x = (x.detach() + 2.5 * self.eps / self.steps * gradient.sign()).clamp(low, high)
        student.train()
        return x

    @property
    def _standard(self) -> Standard:
        return Standard(epochs=self.epochs, batch=self.batch, learning_rate=self.learning_rate)


def trained(source: Source, index: Index, recipe: Adversarial | None = None) -> nn.Module:
    """The net, in evaluation mode, learned from the rows that `demur train` would set aside.

    Kept in the temporary folder under a name that says what it depends on.
    """
    recipe = recipe or Adversarial()
    said = repr((recipe, CompactResNet.__name__, source.address, index.sha256, torch.__version__))
    kept = Path(tempfile.gettempdir()) / f"demur-benchmark-{hashlib.sha256(said.encode()).hexdigest()[:16]}.safetensors"
    network = fresh(lambda: CompactResNet(source.input_shape[0], len(source.classes)), 0)
    if not kept.exists():
        rows = split(index).learned
        images = gather(source, index.positions[rows].tolist(), torch.from_numpy(index.labels[rows]))
        write_model(kept, learn(recipe, network, images, 0), {})
    network.load_state_dict(load_file(kept))
    return network.eval()
