"""The one lazy, counted door to the model for a batch.

Signals read evidence and never hold a model, so any number of them costs one look.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property

import torch
from torch import Tensor

from demur.classifier import Classifier, ForwardOutput
from demur.classifier.channel_contributions import Contributions, along_a_path, is_pooled, of_features
from demur.classifier.modes import dropping
from demur.classifier.partial_forward import Change, filters_of
from demur.errors import InputError, ModelError
from demur.randomness import Keys
from demur.shapes import Features, Images, Logits, Scores


class Evidence:
    """What one batch shows: images, logits, features, activations, each computed at most once.

    Autograd is the caller's business: under `torch.no_grad()` nothing here asks for gradients but `input_gradient`,
    which cannot do without. Logits and features come on the CPU, where float64 is at home; images, activations and
    gradients stay where the model is.

    Args:
        classifier: the model that is asked.
        images: (rows, channels, height, width) in [0, 1].
        layers: those whose activations will be asked for.
        logits: what the model is already known to answer.
        features: whether features will be asked for, so that one pass gives logits and features.
        keys: one per row, for what is drawn at random.
        groups: the unit of independence of each row; None where each row is its own.
    """

    def __init__(
        self,
        classifier: Classifier,
        images: Images,
        layers: tuple[str, ...] = (),
        logits: Logits | None = None,
        *,
        features: bool = False,
        keys: Keys | None = None,
        groups: Sequence[str] | None = None,
    ) -> None:
        self.images = images
        self.groups = groups
        self.spent = torch.zeros(2, len(images if logits is None else logits), dtype=torch.int64)
        if logits is not None:  # an attack has already asked; the cached property starts filled
            self.logits = logits
        self._classifier = classifier
        self._layers = layers
        self._looks = features or bool(layers)
        self._keys = keys

    def __len__(self) -> int:
        return self.spent.shape[1]

    @cached_property
    def logits(self) -> Logits:
        """Logits (rows, classes); from the full look when features or layers will be asked for, else a bare pass."""
        if self._looks:
            return self._look.logits.cpu()
        self.count(forwards=1)
        return self._classifier.logits(self.images).cpu()

    @property
    def features(self) -> Features:
        """Penultimate features (rows, width)."""
        return self._look.features.cpu()

    def activations(self, layer: str) -> Tensor:
        """The output of a named layer, rows first; the layer must be among those asked for at construction."""
        return self._look.activations[layer]

    @property
    def head(self) -> tuple[Tensor, Tensor]:
        """Weight (classes, width) and bias (classes) with features·weightᵀ + bias = logits, up to one constant per row.

        Raises:
            ModelError: the model's last layer is not linear.
        """
        found = self._classifier.head
        if found is None:
            raise ModelError(
                "this signal reads the linear last layer and the model has none that is known. "
                "Leave it out, or use a signal of logits."
            )
        return found[0].cpu(), found[1].cpu()

    @property
    def keys(self) -> Keys:
        """One key per row for what is drawn at random."""
        if self._keys is None:
            raise InputError(
                "this signal draws random numbers and the evidence came without keys to draw them from. "
                "Give Evidence(…, keys=Keys.of(seed, sample_ids, condition))."
            )
        return self._keys

    def logits_of(self, images: Images, rows: Tensor | None = None) -> Logits:
        """What the model answers to other images, one for each row, or for each of some `rows`; never kept."""
        self.count(forwards=1, rows=rows)
        return self._classifier.logits(images).cpu()

    def input_gradient(self, loss: Callable[[Logits], Scores]) -> Images:
        """The gradient of each row's loss with respect to its image; a forward and a backward pass, never kept.

        Autograd is on inside, whatever the caller chose; weights take no gradient.
        """
        self.count(forwards=1, backwards=1)
        return self._classifier.loss_gradient(self.images, loss)[1]

    def dropout_logits(self, n: int, keys: Keys) -> Tensor:
        """Logits (n, rows, classes) of n passes through which only dropout layers are random; drawn from the keys.

        Raises:
            ModelError: the model has no dropout layer that drops anything.
        """
        seeds, passes = keys.seeds("dropout"), []
        for step in range(n):
            with dropping(self._classifier.module, seeds, step):
                passes.append(self.logits_of(self.images))
        return torch.stack(passes)

    def contributions(self, layer: str = "", steps: int = 10) -> Contributions:
        """What each map of a layer adds to the logit of the answer, from the origin to the image; never kept.

        Without a layer, and for one that is pooled into the linear head, by the closed form, from the look; for any
        other along a path, `steps` + 1 forward and backward passes and a forward one to see how complete it is.
        """
        answers = self._look.logits.argmax(dim=1)
        if not layer or is_pooled(self._look, layer):
            weight = self.head[0].to(answers.device)
            return of_features(self._classifier, weight, self._look, answers).cpu()
        self.count(forwards=steps + 2, backwards=steps + 1)
        return along_a_path(self._classifier, self.images, layer, answers, steps).cpu()

    @property
    def filters(self) -> Mapping[str, Tensor]:
        """The weights (filters, …) of the layers whose filters mutants replace, by layer.

        Raises:
            ModelError: the model has no such layer.
        """
        return filters_of(self._classifier.module)

    def mutant_logits(
        self, mutants: Sequence[Sequence[Change]], rows: Tensor, batch: int = 256
    ) -> Iterator[tuple[int, Tensor, Logits]]:
        """Which mutant, which of some `rows` (their positions), and what it answers to them; never kept.

        A mutant is the model with some filters replaced. What comes before the first replaced filter is computed once
        for all mutants, `batch` rows at a time.
        """
        model = self._classifier
        for piece in torch.split(rows, batch):
            self.count(forwards=1, rows=piece)
            for which, raw in model.replay.run(model.prepare(self.images[piece]), mutants):
                self.count(forwards=1, rows=piece)
                yield which, piece, model.interpret(raw, len(piece)).cpu()

    def rows(self, index: Tensor) -> "Evidence":
        """The evidence of some rows; what is known already is not computed again, and what it spends is its own."""
        chosen = index.tolist()
        part = Evidence(
            self._classifier,
            self.images[index],
            self._layers,
            features=self._looks,
            keys=None if self._keys is None else self._keys.rows(chosen),
            groups=None if self.groups is None else [self.groups[row] for row in chosen],
        )
        if "logits" in self.__dict__:
            part.logits = self.logits[index]
        if "_look" in self.__dict__:
            part._look = self._look.rows(index)
        return part

    def answering(self, logits: Logits) -> "Evidence":
        """The same images, had the model given these logits; of use to signals that read logits alone."""
        return Evidence(self._classifier, self.images, logits=logits, keys=self._keys, groups=self.groups)

    @property
    def forwards(self) -> int:
        """Forward passes made so far; of the row that took most."""
        return int(self.spent[0].max())

    @property
    def backwards(self) -> int:
        """Backward passes made so far; of the row that took most."""
        return int(self.spent[1].max())

    def count(self, *, forwards: int = 0, backwards: int = 0, rows: Tensor | None = None) -> None:
        """Note passes made for every row, or for some `rows` (their positions)."""
        index = slice(None) if rows is None else rows
        self.spent[0, index] += forwards
        self.spent[1, index] += backwards

    @cached_property
    def _look(self) -> ForwardOutput:
        self.count(forwards=1)
        return self._classifier.forward_output(self.images, self._layers)
