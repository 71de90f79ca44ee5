"""The page of a comparison: one HTML document that asks the network for nothing."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from demur.analysis.paired_runs import Comparison
from demur.analysis.quantity import by_chance
from demur.files import write_atomically
from demur.report import comparison_lines as lines
from demur.report.charts.comparison_charts import comparison_charts
from demur.report.page import asset, digest, environment
from demur.report.perturbation_words import difference_interval, perturbation_size, quantile_interval, size_words
from demur.report.vega_script import vega_script

CONTENTS = (
    ("phases", "Phases side by side"),
    ("noise", "Which differences are noise"),
    ("overlaid", "Curves"),
    ("classes", "Classes"),
    ("searches", "Minimal perturbations"),
    ("measurement", "Checks of the measurement"),
    ("runs", "The runs"),
    ("raw", "Raw numbers"),
)
_SHOWN = 50
"""Of more classes, those that changed most."""


def comparison_page(found: Comparison) -> str:
    """The whole document."""
    drawings = list(comparison_charts(found, lines.run_names(found)))
    scripts = {"library": vega_script(), "behaviour": "\n".join(map(asset, ("pictures.js", "report.js")))}
    return (
        environment()
        .get_template("comparison.html")
        .render(
            found=found,
            contents=_contents(found),
            drawings={drawing.name: drawing for drawing in drawings},
            names=lines.run_names(found),
            raw=found.model_dump_json(indent=1),
            shown=_SHOWN,
            style="\n".join(asset(name) for name in ("style.css", "conditions.css", "comparison.css")),
            scripts=scripts,
            script_hashes=[digest(text) for text in scripts.values()],
            **_words(),
        )
    )


def write_comparison(path: Path, found: Comparison) -> Path:
    """Write the page; it appears whole or not at all.

    Raises:
        RunError: the place cannot be written.
    """
    write_atomically(path, comparison_page(found).encode())
    return path


def _contents(found: Comparison) -> tuple[tuple[str, str], ...]:
    """The sections there is something to show in."""
    there = {
        "overlaid": found.standing or found.risks,
        "searches": any(pair.searches for pair in found.pairs),
    }
    return tuple((name, title) for name, title in CONTENTS if there.get(name, True))


def _words() -> Mapping[str, Any]:
    """What the template says things with."""
    names = (
        "answer_line",
        "answer_tone",
        "phase_groups",
        "phase_value",
        "phase_spread",
        "difference_words",
        "difference_spread",
        "outcome_lists",
        "cost_words",
        "class_rows",
        "share_words",
    )
    return {
        **{name: getattr(lines, name) for name in names},
        "signs": lines.SIGNS,
        "by_chance": by_chance,
        "quantile": perturbation_size,
        "quantile_spread": quantile_interval,
        "size_difference": size_words,
        "size_spread": difference_interval,
    }
