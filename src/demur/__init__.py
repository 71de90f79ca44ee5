"""Tell when an image classifier can be trusted, and make it abstain when it should not answer.

Everything a user needs by name; a name is imported when it is first used, so that `import demur` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING

from demur.errors import needing_torch

if TYPE_CHECKING:
    from demur.adapters import load_model
    from demur.analysis import Results, analyse
    from demur.api import run_audit
    from demur.classifier import Classifier
    from demur.data import from_dataset, from_tensors, open_data
    from demur.errors import DemurError
    from demur.policies import Certified, Rule, Threshold

__version__ = "0.1.0"

__all__ = [
    "Certified",
    "Classifier",
    "DemurError",
    "Results",
    "Rule",
    "Threshold",
    "analyse",
    "from_dataset",
    "from_tensors",
    "load_model",
    "open_data",
    "run_audit",
]

_ROOMS = {
    "Certified": "demur.policies",
    "Classifier": "demur.classifier",
    "DemurError": "demur.errors",
    "Results": "demur.analysis",
    "Rule": "demur.policies",
    "Threshold": "demur.policies",
    "analyse": "demur.analysis",
    "from_dataset": "demur.data",
    "from_tensors": "demur.data",
    "load_model": "demur.adapters",
    "open_data": "demur.data",
    "run_audit": "demur.api",
}


def __getattr__(name: str) -> object:
    if name not in _ROOMS:
        raise AttributeError(f"module 'demur' has no attribute {name!r}")
    with needing_torch(f"demur.{name}"):
        return getattr(importlib.import_module(_ROOMS[name]), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
