"""Training recipes: (architecture, data, recipe) → weights. What they leave is audited like any other model.

A recipe says what one step is; `learn` owns the loop, `train` the folder.
"""

from demur.training.batches import TrainingImages, fresh, gather, seeded_torch
from demur.training.learning_curve import EpochRow
from demur.training.learning_loop import Quiet, TrainingProgress, learn
from demur.training.processes import Alone, Processes, started_processes
from demur.training.recipe import Lesson, Recipe
from demur.training.standard import Standard
from demur.training.training_run import TrainingResult, train

__all__ = [
    "Alone",
    "EpochRow",
    "Lesson",
    "Processes",
    "Quiet",
    "Recipe",
    "Standard",
    "TrainingImages",
    "TrainingProgress",
    "TrainingResult",
    "fresh",
    "gather",
    "learn",
    "seeded_torch",
    "started_processes",
    "train",
]
