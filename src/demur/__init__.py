"""Tell when an image classifier can be trusted, and make it abstain when it should not answer.

Everything a user needs by name; a name is imported when it is first used, so that `import demur` costs nothing. Every
attack, signal and policy of the registry is a public class here too: `demur.PGD`, `demur.Energy`, `demur.Certified`.
"""

import importlib
from typing import TYPE_CHECKING, Any

from demur.errors import needing_torch
from demur.registry.tables import ATTACKS, POLICIES, SIGNALS

if TYPE_CHECKING:
    from demur.adapters import load_model as load_model
    from demur.analysis import Results as Results
    from demur.analysis import analyse as analyse
    from demur.api import audit as audit
    from demur.api import fit_guard as fit_guard
    from demur.classifier import Classifier as Classifier
    from demur.data import from_dataset as from_dataset
    from demur.data import from_tensors as from_tensors
    from demur.data import open_data as open_data
    from demur.errors import DemurError as DemurError
    from demur.evidence import Evidence as Evidence
    from demur.guard import Guard as Guard
    from demur.policies import certify as certify

__version__ = "0.1.0"

_ROOMS = {
    "Classifier": "demur.classifier",
    "DemurError": "demur.errors",
    "Evidence": "demur.evidence",
    "Guard": "demur.guard",
    "Results": "demur.analysis",
    "analyse": "demur.analysis",
    "audit": "demur.api",
    "certify": "demur.policies",
    "fit_guard": "demur.api",
    "from_dataset": "demur.data",
    "from_tensors": "demur.data",
    "load_model": "demur.adapters",
    "open_data": "demur.data",
}

_REGISTERED = {
    name: module
    for module, _, name in (line.partition(":") for table in (ATTACKS, POLICIES, SIGNALS) for line in table.values())
}

__all__ = sorted([*_ROOMS, *_REGISTERED])


def __getattr__(name: str) -> Any:
    room = _ROOMS.get(name) or _REGISTERED.get(name)
    if room is None:
        raise AttributeError(f"module 'demur' has no attribute {name!r}")
    with needing_torch(f"demur.{name}"):
        return getattr(importlib.import_module(room), name)


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
