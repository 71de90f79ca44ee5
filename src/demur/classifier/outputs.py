"""What a model's outputs mean, and everything one forward pass shows."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass

import torch
from torch import Tensor

from demur.classifier.contract import Output
from demur.errors import ModelError
from demur.shapes import Features, Logits


def columns(raw: object, part: str = "") -> Tensor:
    """A model's raw answer, or its named part, as (rows, outputs); axes of length 1 behind the rows are dropped."""
    found = parts_of(raw).get(part) if part else raw
    if not isinstance(found, Tensor):
        what = f"a {type(raw).__name__} without the part {part!r}" if part else f"a {type(raw).__name__}"
        raise ModelError(
            f"a model answers with one tensor (rows, classes); this one gave {what}. "
            "Wrap it in a module whose forward returns the logits alone."
        )
    if found.ndim == 2 and found.is_floating_point():
        return found
    if not found.is_floating_point():
        raise ModelError(
            f"a model answers with floating-point numbers, one per class; this one gave {found.dtype}. "
            "Return the logits, not the number of the class or a complex or quantised value."
        )
    if found.ndim == 0 or sum(side != 1 for side in found.shape[1:]) > 1:
        raise ModelError(
            f"a model answers with one tensor (rows, classes); this one gave the shape {tuple(found.shape)}. "
            "Wrap it in a module that reduces the other axes."
        )
    return found[:, None] if found.ndim == 1 else found.flatten(start_dim=1)


def parts_of(raw: object) -> dict[str, Tensor]:
    """The tensors of an answer by name: keys, fields or positions; inside others with dots between."""
    return dict(_named_parts(raw, "", 0))


_DEEPEST = 4
"""Levels of an answer that are looked into: one may hold itself."""


def _named_parts(raw: object, name: str, depth: int) -> Iterator[tuple[str, Tensor]]:
    if isinstance(raw, Tensor):
        yield name, raw
    elif depth < _DEEPEST:
        for key, value in _inside(raw):
            yield from _named_parts(value, f"{name}.{key}" if name else key, depth + 1)


def _inside(raw: object) -> Iterator[tuple[str, object]]:
    """Keys, fields, attributes or positions of what may hold tensors, and what is there."""
    if isinstance(raw, Mapping):
        yield from ((str(key), value) for key, value in raw.items())
    elif is_dataclass(raw):
        yield from ((field.name, getattr(raw, field.name, None)) for field in fields(raw))
    elif isinstance(raw, (tuple, list)):
        names = getattr(raw, "_fields", range(len(raw)))
        yield from zip(map(str, names), raw, strict=True)
    elif not isinstance(raw, (type(None), str, bytes, int, float)):
        yield from ((key, value) for key, value in getattr(raw, "__dict__", {}).items() if not key.startswith("_"))


def to_logits(raw: Tensor, output: Output) -> Logits:
    """Logits (rows, classes) whose softmax is what the model claims.

    - `logits`: as they are.
    - `probabilities`: log p, kept finite by the smallest normal number.
    - `sigmoid`: one column p becomes (0, log p/(1−p)); several independent sigmoids become their own logits
      log pₖ/(1−pₖ), so the largest still wins, while the softmax over them is a ranking and not the sigmoid.
    - `logit`: one column z becomes (0, z).
    """
    if output == "logits":
        return raw
    if output == "probabilities":
        return raw.clamp(min=torch.finfo(raw.dtype).tiny).log()
    if output == "sigmoid":
        raw = torch.logit(raw, eps=torch.finfo(raw.dtype).eps)
    return against_zero(raw) if raw.shape[1] == 1 else raw


def against_zero(column: Tensor) -> Tensor:
    """(0, z) for a column of z: the two-class logits with the same answer."""
    return torch.cat([torch.zeros_like(column), column], dim=1)


def spoken(logits: Logits, output: Output) -> list[Tensor]:
    """What a model with these last linear outputs could have answered under a declaration."""
    if output == "probabilities":
        return [logits.softmax(dim=1)]
    if output == "sigmoid":
        return [logits.sigmoid()]
    return [logits, logits.log_softmax(dim=1)] if output == "logits" else [logits]


@dataclass(frozen=True, eq=False)
class ForwardOutput:
    """Logits, penultimate features where the model has them, and the outputs of named layers."""

    logits: Logits
    penultimate: Features | None
    activations: Mapping[str, Tensor]

    @property
    def features(self) -> Features:
        """Penultimate features (rows, width); a ModelError where the model has none that are known."""
        if self.penultimate is None:
            raise ModelError(
                "this model has no linear last layer whose input could serve as features. "
                "Name the layer whose output should: features='LAYER'."
            )
        return self.penultimate

    def rows(self, index: Tensor) -> "ForwardOutput":
        """The same of some rows."""
        features = None if self.penultimate is None else self.penultimate[index]
        return ForwardOutput(
            self.logits[index], features, {name: kept[index] for name, kept in self.activations.items()}
        )

    def detach(self) -> "ForwardOutput":
        """The same without a graph."""
        features = None if self.penultimate is None else self.penultimate.detach()
        return ForwardOutput(
            self.logits.detach(), features, {name: kept.detach() for name, kept in self.activations.items()}
        )
