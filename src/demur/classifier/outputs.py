"""What a model's outputs mean, and everything one forward pass shows."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from demur.classifier.contract import Output
from demur.errors import ModelError
from demur.shapes import Features, Logits


def columns(raw: object) -> Tensor:
    """A model's raw answer as (rows, outputs); one number per row becomes one column."""
    if not isinstance(raw, Tensor):
        raise ModelError(
            f"a model answers with one tensor (rows, classes); this one gave a {type(raw).__name__}. "
            "Wrap it in a module whose forward returns the logits alone."
        )
    if raw.ndim == 1:
        return raw[:, None]
    if raw.ndim != 2:
        raise ModelError(
            f"a model answers with one tensor (rows, classes); this one gave the shape {tuple(raw.shape)}. "
            "Wrap it in a module that reduces the other axes."
        )
    return raw


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
