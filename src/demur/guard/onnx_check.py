"""Whether ONNX Runtime decides as the guard that a graph was exported from: golden vectors beside the graph."""

import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from demur.errors import InputError, missing_extra
from demur.foreign import reason
from demur.guard.golden_vectors import ELSEWHERE, SelfTest
from demur.guard.guard import BATCH
from demur.guard.guard_graph import FIRST, INPUT, SCORE, SITE
from demur.policies import Tolerance
from demur.policies.policy import Flags, Floats
from demur.policies.tolerance import EXACT

FORMAT, VERSION = "demur guard graph", "1"

Outputs: TypeAlias = Mapping[str, NDArray[Any]]
"""Name of an input or output of the graph → its rows."""


@dataclass(frozen=True, kw_only=True)
class GraphFacts:
    """What the metadata of a graph say of its decisions.

    Attributes:
        bounds: signal → the highest score at which an answer is given; for each site where there are sites.
        tolerances: signal → how far a score may move when an image is asked again.
    """

    bounds: Mapping[str, Floats]
    tolerances: Mapping[str, Tolerance]

    @classmethod
    def read(cls, metadata: Mapping[str, str]) -> "GraphFacts":
        """From the metadata of a graph.

        Raises:
            InputError: they are not of a graph that demur exported, or of another version.
        """
        if (metadata.get("format"), metadata.get("format_version")) != (FORMAT, VERSION):
            raise InputError(
                f"this graph has the format {metadata.get('format')!r} of version {metadata.get('format_version')!r}; "
                f"this demur reads {FORMAT!r} of version {VERSION}. Export the guard again."
            )
        return cls(
            bounds={name: np.asarray(bound, float) for name, bound in json.loads(metadata["bounds"]).items()},
            tolerances={name: Tolerance.load(each) for name, each in json.loads(metadata["tolerances"]).items()},
        )

    def width(self, name: str, scores: Floats) -> Floats:
        """How far each score may lie from what another runtime finds."""
        return self.tolerances.get(name, EXACT).of(scores) + ELSEWHERE * np.maximum(1, np.abs(scores))

    def bound(self, name: str, sites: NDArray[np.int64]) -> Floats:
        """The bound of each row."""
        bounds = self.bounds[name]
        if not bounds.ndim:
            return np.full(len(sites), float(bounds))
        return np.where(sites < 0, np.nan, bounds[np.maximum(sites, 0)])


def golden_file(path: Path) -> Path:
    """Where the golden vectors of a graph lie: `out.golden.npz` beside `out.onnx`."""
    return path.with_suffix(".golden.npz")


class Runtime:
    """A graph in ONNX Runtime, on the CPU.

    Args:
        graph: its bytes, or where it lies.

    Raises:
        InputError: it cannot be read.
        MissingExtraError: ONNX Runtime is not installed.
    """

    def __init__(self, graph: bytes | Path) -> None:
        try:
            import onnxruntime
        except ImportError:
            raise missing_extra("running an exported guard", "onnx") from None
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        source = graph if isinstance(graph, bytes) else str(graph)
        try:
            self._session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001 - a runtime may raise anything; it is said as the reason
            where = "the graph" if isinstance(graph, bytes) else str(graph)
            raise InputError(
                f"{where} cannot be run by ONNX Runtime: {reason(error)}. Export the guard again."
            ) from None

    @property
    def metadata(self) -> Mapping[str, str]:
        """What the graph says of itself."""
        return dict(self._session.get_modelmeta().custom_metadata_map)

    def __call__(self, inputs: Outputs) -> Outputs:
        """The outputs for some rows, `BATCH` of them at a time."""
        names = [each.name for each in self._session.get_outputs()]
        wanted = [each.name for each in self._session.get_inputs()]
        starts = range(0, len(inputs[INPUT]), BATCH)
        parts = [
            self._session.run(names, {name: inputs[name][start : start + BATCH] for name in wanted}) for start in starts
        ]
        return {name: np.concatenate(rows) for name, rows in zip(names, zip(*parts, strict=True), strict=True)}


def check_onnx(path: Path | str) -> SelfTest:
    """Decide the golden vectors beside an exported graph by ONNX Runtime, and say what differs.

    Raises:
        InputError: the graph or its golden vectors cannot be read.
        MissingExtraError: ONNX Runtime is not installed.
    """
    runtime, golden = Runtime(Path(path)), golden_file(Path(path))
    try:
        with np.load(golden, allow_pickle=False) as stored:
            before = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise InputError(f"{golden} cannot be read ({error}). Export the guard again.") from None
    return compare(GraphFacts.read(runtime.metadata), before, runtime(before))


def compare(facts: GraphFacts, before: Outputs, now: Outputs) -> SelfTest:
    """What differs between the decisions of a guard and those of its graph.

    Args:
        facts: bounds and tolerances.
        before: what the guard said, with the sites of the rows.
        now: what the graph says.
    """
    rows = len(before["predicted"])
    signals = [name.removeprefix(SCORE) for name in before if name.startswith(SCORE)]
    widths = {name: facts.width(name, before[f"{SCORE}{name}"]) for name in signals}
    shares = {name: _apart(before[f"{SCORE}{name}"], now[f"{SCORE}{name}"], width) for name, width in widths.items()}
    touching = np.zeros(rows, bool)
    for name in facts.bounds:
        touching |= np.abs(facts.bound(name, before[SITE]) - before[f"{SCORE}{name}"]) <= widths[name]
    moved = before["accepted"] != now["accepted"]
    wrong = {
        "another label": _otherwise(before, now),
        **{f"another score of {name}": share > 1 for name, share in shares.items()},
        "another decision": moved & ~touching,
    }
    return SelfTest(
        images=rows,
        near=int((moved & touching).sum()),
        largest=max((float(share.max(initial=0.0)) for share in shares.values()), default=0.0),
        differences=tuple(f"image {row}: {what}" for what, found in wrong.items() for row in np.flatnonzero(found)),
    )


def _apart(before: Floats, now: Floats, width: Floats) -> Floats:
    """How far scores lie apart, as a share of the width; infinitely far where only one of them is undefined."""
    both = np.isnan(before) & np.isnan(now)
    with np.errstate(invalid="ignore"):
        found = np.where(before == now, 0.0, np.abs(now - before)) / width
    return np.where(both, 0.0, np.nan_to_num(found, nan=np.inf))


def _otherwise(before: Outputs, now: Outputs) -> Flags:
    """Rows with another label; not those that are not answered and whose two classes are within rounding of a tie."""
    confidence = FIRST[2]
    tie = ~before["accepted"] & ~now["accepted"] & (np.abs(before[confidence] - now[confidence]) < ELSEWHERE)
    return (before["predicted"] != now["predicted"]) & ~tie
