"""The guard: a classifier that answers or abstains, with a certificate; `Guard.load(FOLDER)`, then `guard(images)`.

Names are imported when they are first used, so that a list of files is compared without torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from demur.guard.decisions import Decision as Decision
    from demur.guard.decisions import Decisions as Decisions
    from demur.guard.guard import Guard as Guard

_FILES = {"Decision": "demur.guard.decisions", "Decisions": "demur.guard.decisions", "Guard": "demur.guard.guard"}

__all__ = sorted(_FILES)


def __getattr__(name: str) -> Any:
    if name not in _FILES:
        raise AttributeError(f"module 'demur.guard' has no attribute {name!r}")
    return getattr(importlib.import_module(_FILES[name]), name)
