"""Training recipes: (architecture, data, recipe) → weights. What they leave is audited like any other model.

A recipe says what one step is; `learn` owns the loop, `train` the folder.
"""

from demur.harden.learn import learn
from demur.harden.lessons import Lessons, gather
from demur.harden.progress import Progress, Quiet
from demur.harden.recipe import Recipe
from demur.harden.seeded import fresh, seeded
from demur.harden.standard import Standard
from demur.harden.training import Trained, train

__all__ = [
    "Lessons",
    "Progress",
    "Quiet",
    "Recipe",
    "Standard",
    "Trained",
    "fresh",
    "gather",
    "learn",
    "seeded",
    "train",
]
