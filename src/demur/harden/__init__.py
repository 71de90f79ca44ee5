"""Training recipes: (module, data, seed) → weights. What they return is audited like any other model."""

from demur.harden.seeded import fresh, seeded
from demur.harden.standard import Progress, Standard

__all__ = ["Progress", "Standard", "fresh", "seeded"]
