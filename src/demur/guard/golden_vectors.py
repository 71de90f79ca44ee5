"""Golden vectors: 32 pictures and what was decided about them, to see whether another machine decides alike."""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from demur.errors import InputError
from demur.files import write_json
from demur.guard.decisions import Decision, plain_decision
from demur.guard.guard import Guard
from demur.policies import Tolerance

FOLDER, FILE = "golden", "golden/decisions.json"

ELSEWHERE = 1e-4
"""How far scores may lie apart on another machine, as a share of their size and in their unit, beside the tolerance."""

Encoded: TypeAlias = tuple[str, bytes]
"""A suffix and the content of a file."""


def as_file(image: Tensor) -> Encoded:
    """An image (channels, height, width) in [0, 1] as a file from which it is read again to the last bit.

    A PNG where its pixels are multiples of 1/255 and it is grey or RGB, else an array of NumPy.
    """
    pixels = (image.double() * 255).round()
    if image.shape[0] in {1, 3} and torch.equal((pixels.float() / 255).to(image.dtype), image):
        values = pixels.byte().permute(1, 2, 0).numpy()
        content = io.BytesIO()
        Image.fromarray(values[:, :, 0] if image.shape[0] == 1 else values).save(content, "PNG", optimize=True)
        return ".png", content.getvalue()
    content = io.BytesIO()
    np.save(content, image.numpy(), allow_pickle=False)
    return ".npy", content.getvalue()


def write_golden(
    folder: Path, guard: Guard, files: Sequence[Encoded], sites: Sequence[str | None] | None = None
) -> None:
    """Write pictures, and what a guard decides about each alone, into its folder."""
    entries = []
    (folder / FOLDER).mkdir(exist_ok=True)
    for place, (suffix, content) in enumerate(files):
        name = f"{FOLDER}/{place:02d}{suffix}"
        (folder / name).write_bytes(content)
        site = None if sites is None else sites[place]
        entries.append({"file": name, "site": site, **plain_decision(_decide(guard, folder / name, site))})
    write_json(folder / FILE, entries)


def read_pictures(folder: Path) -> tuple[list[Encoded], list[str | None]]:
    """The golden pictures of a guard as files, and the sites they come from."""
    entries = _entries(folder)
    files = [(Path(each["file"]).suffix, (folder / each["file"]).read_bytes()) for each in entries]
    return files, [each["site"] for each in entries]


def _entries(folder: Path) -> list[Any]:
    try:
        return json.loads((folder / FILE).read_bytes())
    except (OSError, ValueError) as error:
        raise InputError(f"{folder / FILE} cannot be read ({error}). This guard has no golden vectors.") from None


def _decide(guard: Guard, path: Path, site: str | None) -> Decision:
    sites = np.array([site], object)  # None is an unknown site
    if path.suffix != ".npy":
        return guard.read([path], sites)[0]
    return guard(np.load(path, allow_pickle=False), sites)[0]


@dataclass(frozen=True, kw_only=True)
class SelfTest:
    """How a machine, or a graph of ONNX, decides the golden vectors of a guard.

    Attributes:
        images: how many there are.
        near: of them so near a bound that another machine may decide otherwise, and which do so here.
        largest: the largest difference of a score, as a share of what is allowed.
        differences: what is decided or scored otherwise without being near a bound, a sentence each.
    """

    images: int
    near: int
    largest: float
    differences: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether they are decided alike."""
        return not self.differences


def selftest(folder: Path, guard: Guard) -> SelfTest:
    """Decide the golden vectors of a guard again.

    Raises:
        InputError: it has none, or they cannot be read.
    """
    entries = _entries(folder)
    found = [_compare(guard, entry, _decide(guard, folder / entry["file"], entry["site"])) for entry in entries]
    return SelfTest(
        images=len(entries),
        near=sum(moved for _, moved, _ in found),
        largest=max((share for _, _, share in found), default=0.0),
        differences=tuple(sentence for sentence, _, _ in found if sentence),
    )


def _compare(guard: Guard, entry: Mapping[str, Any], now: Decision) -> tuple[str, bool, float]:
    """What differs, empty if nothing counts; whether a decision moved within the tolerance; how far scores moved."""
    share = max((_apart(guard, entry, now, name) for name in now.scores), default=0.0)
    if entry["label"] != now.label and not _may_turn(entry, now):
        return f"{entry['file']}: {now.label} here, {entry['label']} when it was written", False, share
    if share > 1:
        return f"{entry['file']}: a score moved by {share:.3g} times what is allowed", False, share
    moved = bool(entry["accepted"] != now.accepted)
    if moved and not any(_touches(guard, now, name) for name in now.distances):
        return f"{entry['file']}: {now.reason or 'answered'} here", False, share
    return "", moved, share


def _touches(guard: Guard, now: Decision, name: str) -> bool:
    """Whether a score lies so near its bound that another machine may decide otherwise."""
    return abs(now.distances[name]) <= _width(guard, name, now.scores[name])


def _width(guard: Guard, name: str, score: float) -> float:
    """How far a score may lie from what another machine found."""
    return float(guard.tolerances.get(name, Tolerance()).of(np.array([score]))[0]) + ELSEWHERE * max(1.0, abs(score))


def _may_turn(entry: Mapping[str, Any], now: Decision) -> bool:
    """Whether two classes are so close that rounding decides between them."""
    return not entry["accepted"] and not now.accepted and abs((entry["confidence"] or 0) - now.confidence) < ELSEWHERE


def _apart(guard: Guard, entry: Mapping[str, Any], now: Decision, name: str) -> float:
    """How far a score lies from the golden one, as a share of what may be."""
    before, after = entry["scores"].get(name), now.scores[name]
    if before is None or not np.isfinite(after):
        return 0.0 if before is None and not np.isfinite(after) else np.inf
    return abs(after - before) / _width(guard, name, before)
