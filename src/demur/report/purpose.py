"""What the plan declares of the purpose, and what it leaves open."""

from collections.abc import Mapping
from typing import Any

PURPOSE: Mapping[str, str] = {
    "intended_use": "Intended use",
    "population": "Population",
    "acquisition": "Acquisition",
    "abstentions_go_to": "Abstentions go to",
    "threat_model": "Threat model",
}
MISSING = "not declared"


def declarations(purpose: Mapping[str, Any]) -> tuple[tuple[str, str | None], ...]:
    """Every field by its label, with what was declared; None where nothing was."""
    return tuple((label, str(purpose[name]) if purpose.get(name) else None) for name, label in PURPOSE.items())


def undeclared(purpose: Mapping[str, Any]) -> tuple[str, ...]:
    """The labels of what was left open, but for the intended use, which has a sentence of its own."""
    return tuple(
        label[0].lower() + label[1:]
        for name, label in PURPOSE.items()
        if name != "intended_use" and not purpose.get(name)
    )
