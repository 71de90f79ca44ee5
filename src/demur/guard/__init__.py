"""The guard: a classifier that answers or abstains, with a certificate; `Guard.load(FOLDER)`, then `guard(images)`."""

from demur.guard.decisions import Decision, Decisions
from demur.guard.guard import Guard

__all__ = ["Decision", "Decisions", "Guard"]
