"""A training from an address of data to a folder with weights, manifest and card."""

import hashlib
from contextlib import nullcontext
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from demur.adapters.weights import manifest_of
from demur.data import Source, open_data
from demur.errors import InputError, RunError
from demur.files import write_atomically
from demur.training.batches import TrainingImages
from demur.training.checkpoints import CHECKPOINT, TEACHER, Checkpoints, open_training
from demur.training.held_out import evaluate
from demur.training.learner import channels_last
from demur.training.learning_curve import CURVE, FIGURE, LearningCurve
from demur.training.learning_loop import InputScaling, Quiet, TrainingProgress, learn, without_scaling
from demur.training.model_card import Scores, card, write_model
from demur.training.processes import Alone, Processes
from demur.training.recipe import Recipe
from demur.training.stopping_rule import course, patience
from demur.training.training_task import TrainingTask


@dataclass(frozen=True)
class TrainingResult:
    """What a training leaves.

    Attributes:
        weights: the safetensors file; manifest and card lie beside it.
        address: the model address of the trained classifier.
        learned: how many images it has learned from.
        scores: how it does on rows set aside that may be looked at; None where there are none.
        words: sentences on the weights it started from.
        course: sentences on how the training went, where something is to be said.
    """

    weights: Path
    address: str
    learned: int
    scores: Scores | None
    words: tuple[str, ...] = ()
    course: tuple[str, ...] = ()


def train(
    architecture: str,
    data: Source | str,
    *,
    recipe: str = "standard",
    seed: int = 0,
    out: Path | None = None,
    restart: bool = False,
    progress: TrainingProgress | None = None,
    processes: Processes | None = None,
) -> TrainingResult:
    """Train an architecture on data by a recipe, and describe what came of it.

    The same call again continues a training that was interrupted, from the last whole epoch, and comes to the same
    bytes. What the weights were learned from is listed beside them, so that an audit can leave it out.

    Args:
        architecture: a name of the zoo, or `module:PKG.MOD:FACTORY`; `@FILE` are weights to start from, beneath a new
            head where their number of classes is another.
        data: a source or its address. Its own split is respected; else 60 % are learned from.
        recipe: such as `standard(epochs=10)`.
        seed: of everything random.
        out: the folder; by default one under `models` that the same task finds again.
        restart: give up what the folder holds.
        progress: told how far it is.
        processes: those that train together, as `started_processes` finds them; by default this one alone.

    Raises:
        InputError: something given cannot be used.
        RunError: the folder belongs to another training, or the training has diverged.
    """
    progress, processes = progress or Quiet(), processes or Alone()
    progress.say("reading the images")
    task = TrainingTask.of(architecture, open_data(data) if isinstance(data, str) else data, recipe, seed)
    _check_patience(task)
    note = _common_note(task, processes)
    folder = out or task.folder
    with open_training(folder, note, restart=restart) if processes.first else nullcontext():
        state = _learned(task, folder, progress, processes)
        task.network.load_state_dict(without_scaling(state))
        progress.say("measuring on images set aside")
        return processes.find(lambda: _leave(task, folder, processes.count))


def _learned(task: TrainingTask, folder: Path, progress: TrainingProgress, processes: Processes) -> dict[str, Tensor]:
    """The state that a task comes to, its teacher's training before it."""
    options = task.architecture.options
    wrapped = InputScaling(task.network, options.mean, options.std)
    images = task.training_images()
    return learn(
        task.recipe,
        wrapped,
        images,
        task.seed,
        progress=progress,
        checkpoints=Checkpoints(folder / CHECKPOINT),
        curve=_curve(task, folder),
        teacher=_teacher(task, wrapped, images, folder, progress, processes),
        backbone=task.backbone,
        processes=processes,
    )


def _curve(task: TrainingTask, folder: Path) -> LearningCurve:
    eps, proves = getattr(task.recipe, "eps", None), getattr(task.recipe, "proves", False)
    return LearningCurve(task.source, task.index, task.parts.tuned, folder, eps=eps, proves=proves)


def _check_patience(task: TrainingTask) -> None:
    """Refuse to wait for a better epoch where nothing tells epochs apart."""
    if patience(task.recipe) and not len(task.parts.tuned):
        raise InputError(
            f"`patience` compares epochs on images set aside, and {task.source.address} leaves none. Take patience=0, "
            "or data with images that are not learned from."
        )


def _common_note(task: TrainingTask, processes: Processes) -> dict[str, str]:
    """What the folder must agree with, the same in all processes."""
    note = {**task.note(), **({"processes": str(processes.count)} if processes.count > 1 else {})}
    first = processes.find(lambda: note)
    other = [key for key, value in note.items() if first[key] != value]
    if other:
        raise RunError(
            f"the processes train different things: {other[0]} is {note[other[0]]} here and {first[other[0]]} in the "
            "first. Every host needs the same data, code and options."
        )
    return note


def _teacher(
    task: TrainingTask,
    wrapped: nn.Module,
    images: TrainingImages,
    folder: Path,
    progress: TrainingProgress,
    processes: Processes,
) -> nn.Module | None:
    """The network that a recipe with a teacher learns from, trained from the same start; None where there is none."""
    recipe: Recipe | None = getattr(task.recipe, "teacher", None)
    if recipe is None:
        return None
    progress.say("training the teacher")
    teacher = deepcopy(wrapped)
    checkpoints = Checkpoints(folder / TEACHER)
    state = learn(
        recipe,
        wrapped,
        images,
        task.seed,
        progress=progress,
        checkpoints=checkpoints,
        backbone=task.backbone,
        processes=processes,
    )
    teacher.load_state_dict(state)
    return processes.place(channels_last(teacher.eval().requires_grad_(requires_grad=False)))


def _leave(task: TrainingTask, folder: Path, count: int) -> TrainingResult:
    """Measure the trained network; write manifest, weights and card. A card that names these weights is kept."""
    weights = folder / "model.safetensors"
    classifier, parts, address = task.classifier(), task.parts, task.architecture.trained(str(weights))
    found = evaluate(classifier, task.source, task.index, parts.tuned)
    write_atomically(manifest_of(weights), task.manifest)
    write_model(weights, task.network.state_dict(), task.metadata())
    moment = Checkpoints(folder / CHECKPOINT).read()
    told_course = course(() if moment is None else moment.rows, task.recipe)
    page = weights.with_suffix(".md")
    if not (page.exists() and hashlib.sha256(weights.read_bytes()).hexdigest() in page.read_text("utf-8")):
        told = {"address": address, "data": task.source.address, "recipe": task.recipe_name, "seed": str(task.seed)}
        told["start"] = "; ".join(task.start.words) or "weights of chance"
        told |= {"curve": CURVE, "figure": FIGURE, "processes": f" in each of {count} processes" if count > 1 else ""}
        told["course"] = "".join(f"{sentence}\n\n" for sentence in told_course)
        write_atomically(page, card(told, classifier, weights, task.index, parts, found).encode())
    return TrainingResult(weights, address, len(parts.learned), found, task.start.words, told_course)
