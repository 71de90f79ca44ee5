"""Everything one pass through a model shows."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from demur.errors import ModelError
from demur.shapes import Features, Logits


@dataclass(frozen=True, eq=False)
class Look:
    """Logits, penultimate features where the model has them, and the outputs of the layers asked for."""

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

    def rows(self, index: Tensor) -> "Look":
        """The look at some rows."""
        features = None if self.penultimate is None else self.penultimate[index]
        return Look(self.logits[index], features, {name: kept[index] for name, kept in self.activations.items()})
