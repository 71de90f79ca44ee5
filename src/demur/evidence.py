"""The one lazy, counted door to the model for a batch.

Signals read evidence and never hold a model, so any number of them costs one look.
"""

from functools import cached_property

from torch import Tensor

from demur.classifier import Classifier, Look
from demur.shapes import Features, Images, Logits


class Evidence:
    """What one batch shows: images, logits, features, activations, each computed at most once.

    Autograd is the caller's business: under `torch.no_grad()` nothing here asks for gradients. `forwards` counts the
    passes of the whole batch made so far.
    """

    def __init__(
        self, classifier: Classifier, images: Images, layers: tuple[str, ...] = (), logits: Logits | None = None
    ) -> None:
        self.images = images
        self.forwards = 0
        if logits is not None:  # an attack has already asked; the cached property starts filled
            self.logits = logits
        self._classifier = classifier
        self._layers = layers

    @cached_property
    def logits(self) -> Logits:
        """Logits (rows, classes); from the full look when activations were asked for, else from a bare pass."""
        if self._layers:
            return self._look.logits
        self.forwards += 1
        return self._classifier.logits(self.images)

    @property
    def features(self) -> Features:
        """Penultimate features (rows, width)."""
        return self._look.features

    def activations(self, layer: str) -> Tensor:
        """The output of a named layer, rows first; the layer must be among those asked for at construction."""
        return self._look.activations[layer]

    @cached_property
    def _look(self) -> Look:
        self.forwards += 1
        return self._classifier.look(self.images, self._layers)
