"""The images on which a guard and its graph are compared, and what the guard says of them."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from demur.errors import InputError
from demur.guard.golden_vectors import FILE, FOLDER
from demur.guard.guard import Guard
from demur.guard.guard_graph import INPUT, SCORE, SITE, sites_of
from demur.guard.intake import LARGEST
from demur.registry.regular_files import content_of
from demur.shapes import Images


def golden_of(guard: Guard, images: Images, sites: Sequence[str | None] | None) -> dict[str, NDArray[Any]]:
    """Images, and what the guard says of them, by the names of the graph's inputs and outputs."""
    places = {site: place for place, site in enumerate(sites_of(guard.policy))}
    rows = [None] * len(images) if sites is None else list(sites)
    found = guard(images, np.array(rows, object) if places else None)
    return {
        INPUT: images.numpy(),
        SITE: np.array([-1 if site is None else places.get(site, -1) for site in rows], np.int64),
        "predicted": found.predicted,
        "confidence": found.confidence,
        "accepted": found.accepted,
        "near": found.near,
        **{f"{SCORE}{name}": score for name, score in found.scores.items()},
    }


def golden_images(folder: Path, guard: Guard) -> tuple[Images, list[str | None]]:
    """The golden images of a guard's folder, as they are decoded, and the site of each.

    Raises:
        InputError: it has none, or they cannot be read.
    """
    try:
        entries = json.loads((folder / FILE).read_bytes())
        found = [_decoded(folder / entry["file"], guard) for entry in entries]
        return torch.stack(found), [entry["site"] for entry in entries]
    except (OSError, ValueError, LookupError, RuntimeError) as error:
        raise InputError(f"{folder / FOLDER} cannot be read ({error}). This guard has no golden vectors.") from None


def _decoded(path: Path, guard: Guard) -> Tensor:
    if path.suffix == ".npy":
        return guard.intake.tensor(np.load(path, allow_pickle=False))[0]
    image, why = guard.intake.decode(content_of(path, LARGEST))
    if image is None:
        raise ValueError(why)
    return image


def made_up(guard: Guard, rows: int = 32) -> Images:
    """Images for a guard that brings none: noise on grounds from dark to bright."""
    shape = guard.classifier.input_shape
    noise = torch.from_numpy(np.random.default_rng(0).random((rows, *shape), np.float32))
    ground = torch.linspace(0, 1, rows)[:, None, None, None]
    return 0.5 * ground + 0.5 * noise


def packed(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Arrays as the content of an `.npz` file without pickles; the same arrays make the same bytes."""
    content = io.BytesIO()
    np.savez_compressed(content, allow_pickle=False, **arrays)
    return content.getvalue()
