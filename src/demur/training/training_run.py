"""A training from an address of data to a folder with weights, manifest and card."""

import hashlib
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from demur.adapters.weights import manifest_of
from demur.data import Source, open_data
from demur.files import write_atomically
from demur.training.batches import TrainingImages
from demur.training.checkpoints import CHECKPOINT, TEACHER, Checkpoints, open_training
from demur.training.held_out import evaluate
from demur.training.learner import channels_last
from demur.training.learning_curve import CURVE, FIGURE, LearningCurve
from demur.training.learning_loop import InputScaling, Quiet, TrainingProgress, learn, without_scaling
from demur.training.model_card import Scores, card, write_model
from demur.training.recipe import Recipe
from demur.training.training_task import TrainingTask


@dataclass(frozen=True)
class TrainingResult:
    """What a training leaves.

    Attributes:
        weights: the safetensors file; manifest and card lie beside it.
        address: the model address of the trained classifier.
        learned: how many images it has learned from.
        scores: how it does on rows set aside that may be looked at; None where there are none.
    """

    weights: Path
    address: str
    learned: int
    scores: Scores | None


def train(
    architecture: str,
    data: Source | str,
    *,
    recipe: str = "standard",
    seed: int = 0,
    out: Path | None = None,
    restart: bool = False,
    progress: TrainingProgress | None = None,
) -> TrainingResult:
    """Train an architecture on data by a recipe, and describe what came of it.

    The same call again continues a training that was interrupted, from the last whole epoch, and comes to the same
    bytes. What the weights were learned from is listed beside them, so that an audit can leave it out.

    Args:
        architecture: a name of the zoo, or `module:PKG.MOD:FACTORY`; `@FILE.safetensors` are weights to start from.
        data: a source or its address. Its own split is respected; else 60 % are learned from.
        recipe: such as `standard(epochs=10)`.
        seed: of everything random.
        out: the folder; by default one under `models` that the same task finds again.
        restart: give up what the folder holds.
        progress: told how far it is.

    Raises:
        InputError: something given cannot be used.
        RunError: the folder belongs to another training, or the training has diverged.
    """
    progress = progress or Quiet()
    progress.say("reading the images")
    task = TrainingTask.of(architecture, open_data(data) if isinstance(data, str) else data, recipe, seed)
    with open_training(out or task.folder, task.note(), restart=restart) as folder:
        checkpoints = Checkpoints(folder / CHECKPOINT)
        curve = LearningCurve(task.source, task.index, task.parts.tuned, folder, eps=getattr(task.recipe, "eps", None))
        options = task.architecture.options
        wrapped = InputScaling(task.network, options.mean, options.std)
        images = task.training_images()
        teacher = _teacher(task, wrapped, images, folder, progress)
        state = learn(
            task.recipe, wrapped, images, seed, progress=progress, checkpoints=checkpoints, curve=curve, teacher=teacher
        )
        task.network.load_state_dict(without_scaling(state))
        progress.say("measuring on images set aside")
        return _leave(task, folder)


def _teacher(
    task: TrainingTask, wrapped: nn.Module, images: TrainingImages, folder: Path, progress: TrainingProgress
) -> nn.Module | None:
    """The network that a recipe with a teacher learns from, trained from the same start; None where there is none."""
    recipe: Recipe | None = getattr(task.recipe, "teacher", None)
    if recipe is None:
        return None
    progress.say("training the teacher")
    teacher = deepcopy(wrapped)
    checkpoints = Checkpoints(folder / TEACHER)
    state = learn(recipe, wrapped, images, task.seed, progress=progress, checkpoints=checkpoints)
    teacher.load_state_dict(state)
    return channels_last(teacher.eval().requires_grad_(requires_grad=False))


def _leave(task: TrainingTask, folder: Path) -> TrainingResult:
    """Measure the trained network; write manifest, weights and card. A card that names these weights is kept."""
    weights = folder / "model.safetensors"
    classifier, parts, address = task.classifier(), task.parts, task.architecture.trained(str(weights))
    found = evaluate(classifier, task.source, task.index, parts.tuned)
    write_atomically(manifest_of(weights), task.manifest)
    write_model(weights, task.network.state_dict(), task.metadata())
    page = weights.with_suffix(".md")
    if not (page.exists() and hashlib.sha256(weights.read_bytes()).hexdigest() in page.read_text("utf-8")):
        told = {"address": address, "data": task.source.address, "recipe": task.recipe_name, "seed": str(task.seed)}
        files = {"curve": CURVE, "figure": FIGURE}
        write_atomically(page, card(told | files, classifier, weights, task.index, parts, found).encode())
    return TrainingResult(weights, address, len(parts.learned), found)
