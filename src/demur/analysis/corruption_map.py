"""Accuracy by corruption and severity on one map."""

from collections.abc import Mapping

import numpy as np

from demur.analysis.accuracy import accuracy
from demur.analysis.results import CorruptionMap, Quantity
from demur.analysis.run import Run, wrong
from demur.analysis.scored import CorruptionRow
from demur.metrics.corruption_error import ALEXNET, mean_corruption_error, relative_corruption_error

SEVERITIES = (1, 2, 3, 4, 5)
FEWEST = 4
"""Families below which the chart of accuracy against severity says the same."""
_IMAGENET = 1000


def corruption_map(run: Run) -> CorruptionMap | None:
    """The map; None where fewer than four families of corruption ran at a severity."""
    cells: dict[str, dict[int, Quantity]] = {}
    for entry in run.conditions("corruption"):
        if entry["severity"] in SEVERITIES:
            cells.setdefault(entry["family"], {})[int(entry["severity"])] = accuracy(run.rows(entry["name"]))
    if len(cells) < FEWEST:
        return None
    original, pictures = _pictures(run)
    errors = _errors(run, cells)
    return CorruptionMap(
        rows=tuple(
            CorruptionRow(
                family=family,
                accuracy=tuple(found.get(severity) for severity in SEVERITIES),
                thumb=pictures.get(family),
            )
            for family, found in cells.items()
        ),
        mean=float(np.mean([cell.value for found in cells.values() for cell in found.values()])),
        original=original,
        mean_corruption_error=mean_corruption_error(errors) if errors else None,
        relative_corruption_error=(
            relative_corruption_error(errors, float(wrong(run.rows("clean")).mean())) if errors else None
        ),
    )


def _errors(run: Run, cells: Mapping[str, Mapping[int, Quantity]]) -> dict[str, list[float]]:
    """Errors of the 15 common corruptions; nothing where one is missing or the classes cannot be ImageNet's."""
    complete = all(len(cells.get(family, {})) == len(SEVERITIES) for family in ALEXNET)
    if not complete or len(run.classes) != _IMAGENET:
        return {}
    return {family: [1 - cells[family][severity].value for severity in SEVERITIES] for family in ALEXNET}


def _pictures(run: Run) -> tuple[str | None, dict[str, str]]:
    """The one image kept, as it is and under each family."""
    facts = run.noted("corruptions")
    if facts is None:
        return None, {}
    found = {family: run.thumb(name) for family, name in facts["thumbs"].items()}
    return run.thumb(facts["original"]), {family: thumb for family, thumb in found.items() if thumb}
