"""Images beside their maps, as data that the report can hold."""

import base64
from collections.abc import Mapping
from typing import Any

from demur.analysis.looked import Overlay
from demur.analysis.run import Run
from demur.records import read_json


def overlays(run: Run, name: str) -> tuple[Overlay, ...]:
    """The pictures kept of one map, in the order they were kept; none where the run has no pictures of maps."""
    path = run.path / "facts" / "overlays.json"
    kept = read_json(path).get(name, []) if path.exists() else []
    clean = run.rows("clean")
    rows = {row["sample_id"]: row for row in clean.select("sample_id", "label", "predicted").to_dicts()} if kept else {}
    return tuple(_overlay(run, entry, rows[entry["sample_id"]]) for entry in kept if entry["sample_id"] in rows)


def _overlay(run: Run, entry: Mapping[str, str], row: Mapping[str, Any]) -> Overlay:
    return Overlay(
        sample_id=entry["sample_id"],
        label=run.classes[row["label"]],
        predicted=run.classes[row["predicted"]],
        image=_inlined(run, entry["image"]),
        overlay=_inlined(run, entry["overlay"]),
    )


def _inlined(run: Run, name: str) -> str | None:
    path = run.path / "thumbs" / name
    return f"data:image/webp;base64,{base64.b64encode(path.read_bytes()).decode()}" if path.exists() else None
