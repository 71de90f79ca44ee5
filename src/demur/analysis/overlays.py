"""Images beside their maps, as data that the report can hold."""

from collections.abc import Mapping
from typing import Any

from demur.analysis.looked import Overlay
from demur.analysis.run import Run


def overlays(run: Run, name: str) -> tuple[Overlay, ...]:
    """The pictures kept of one map, in the order they were kept; none where the run has no pictures of maps."""
    kept = (run.noted("overlays") or {}).get(name, [])
    clean = run.rows("clean")
    rows = {row["sample_id"]: row for row in clean.select("sample_id", "label", "predicted").to_dicts()} if kept else {}
    return tuple(_overlay(run, entry, rows[entry["sample_id"]]) for entry in kept if entry["sample_id"] in rows)


def _overlay(run: Run, entry: Mapping[str, str], row: Mapping[str, Any]) -> Overlay:
    return Overlay(
        sample_id=entry["sample_id"],
        label=run.classes[row["label"]],
        predicted=run.classes[row["predicted"]],
        image=run.thumb(entry["image"]),
        overlay=run.thumb(entry["overlay"]),
    )
