"""The training manifest beside a file of weights: which images the model has learned from."""

import hashlib
from pathlib import Path

from demur.adapters.weights import read_metadata
from demur.errors import ModelError

KEY = "manifest_sha256"
"""The entry of the weights' metadata that pins the manifest."""


def manifest_of(weights: Path) -> Path:
    """Where the manifest of a file of weights is: `model.safetensors` → `model.manifest`."""
    return weights.with_suffix(".manifest")


def manifest_text(contents: frozenset[str]) -> bytes:
    """The content hashes of the images that were learned from, one per line, sorted."""
    return "".join(f"{content}\n" for content in sorted(contents)).encode()


def learned_from(weights: str | None) -> frozenset[str]:
    """What is known of the images a model with these weights has learned from; nothing where it has none of its own."""
    return (None if weights is None else training_hashes(weights)) or frozenset()


def training_hashes(weights: Path | str) -> frozenset[str] | None:
    """The content hashes, as an `Index` has them, of the images a model has learned from; None where nobody noted them.

    Raises:
        ModelError: the weights name a manifest that is missing or another one.
    """
    weights = Path(weights)
    path = manifest_of(weights)
    pinned = read_metadata(str(weights)).get(KEY) if weights.suffix == ".safetensors" else None
    if not path.exists():
        if pinned is None:
            return None
        raise ModelError(
            f"{weights} was trained on images listed in {path.name}, and that file is missing. Put it back beside the "
            "weights: without it nobody can tell whether the model has seen the images it is measured on."
        )
    content = path.read_bytes()
    if pinned not in {None, hashlib.sha256(content).hexdigest()}:
        raise ModelError(
            f"{path} is not the manifest {weights} was trained with (its hash differs). Put that one back."
        )
    return frozenset(content.decode("ascii", "replace").split())
