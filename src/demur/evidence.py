"""The one cached, counted view of a batch that signals read.

Signals read evidence and never hold a model, so any number of them shares one forward pass.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from copy import copy
from dataclasses import replace
from functools import cached_property
from typing import Any, Protocol, TypeAlias, TypeVar, cast, runtime_checkable

import torch
from torch import Tensor, nn

from demur.classifier import AnyClassifier, BoundClassifier, ForwardOutput, bound
from demur.classifier.channel_contributions import Contributions, along_a_path, is_pooled, of_features
from demur.classifier.mean_probability import member_layers
from demur.classifier.partial_forward import Change
from demur.classifier.validation import check_images, clamped
from demur.errors import DataError, InputError, ModelError
from demur.foreign import is_out_of_memory
from demur.randomness import Keys
from demur.shapes import Features, Images, Logits, Scores

T = TypeVar("T")


class Evidence:
    """What one batch shows: images, logits, features, activations, each computed at most once.

    Energy()(Evidence(model, x)) scores some images; KNN(k=5).fit(Evidence(model, reference), labels) learns from one
    batch, and from a list of them alike.

    Autograd is the caller's business: under `torch.no_grad()` nothing here asks for gradients but `input_gradient`,
    which cannot do without. Logits and features come on the CPU, where float64 is at home; images, activations and
    gradients stay where the model is.

    Args:
        classifier: a `demur.Classifier`, or a module that reads images in [0, 1].
        images: (rows, channels, height, width) in [0, 1]; they are moved to the model's device.
        layers: those whose activations come with the first forward pass; any other costs one of its own.
        logits: the model's answer where it was computed before.
        features: whether the first forward pass keeps the features too, so that they cost none of their own.
        keys: one per row, for what is drawn at random; by default of seed 0 and each image's own bytes.
        groups: the unit of independence of each row; None where each row is its own.
        check: whether model, images, keys and groups are checked; an audit has done so before.

    Raises:
        DataError: wrong type, shape or range of the images.
        ModelError: no classifier, or one that breaks its contract.
        InputError: not one key, group or row of logits for each image.
    """

    def __init__(
        self,
        classifier: AnyClassifier | nn.Module,
        images: Images,
        layers: Sequence[str] = (),
        logits: Logits | None = None,
        *,
        features: bool = True,
        keys: Keys | None = None,
        groups: Sequence[str] | None = None,
        check: bool = True,
    ) -> None:
        given = {"logits": logits, "keys": keys, "groups": groups}
        self._classifier = _checked(classifier, images, given) if check else cast(BoundClassifier, classifier)
        self.images = clamped(images).to(self._classifier.device) if check else images
        self.groups = groups
        self.spent = torch.zeros(2, len(images if logits is None else logits), dtype=torch.int64)
        if logits is not None:  # the cached property starts filled
            self.logits = logits
        self._contributions = dict[tuple[tuple[str, ...], int], Mapping[str, Contributions]]()
        self._layers = tuple(layers)
        self._features = features
        self._keys = keys
        self._kept = dict[int, tuple[object, object]]()

    def __len__(self) -> int:
        return self.spent.shape[1]

    def __iter__(self) -> Iterator["Evidence"]:
        """Itself, once: one batch will do where signals are fitted to batches of evidence."""
        yield self

    def __repr__(self) -> str:
        return f"Evidence({self._classifier.name!r}, {len(self)} images, {self.forwards} forward passes)"

    @cached_property
    def logits(self) -> Logits:
        """Logits (rows, classes); by the pass that keeps features and layers too, where these were announced."""
        if self._features or self._layers:
            return self._output.logits.cpu()
        self.count(forwards=1)
        return self._classifier.logits(self.images).cpu()

    @property
    def features(self) -> Features:
        """Penultimate features (rows, width)."""
        return self._output.features.cpu()

    def activations(self, layer: str) -> Tensor:
        """The output of a named layer, rows first."""
        if "_output" not in self.__dict__:
            self._output = self._forward((*self._layers, layer))
        if layer not in self._output.activations:
            found = {**self._output.activations, **self._forward((layer,)).activations}
            self._output = replace(self._output, activations=found)
        return self._output.activations[layer]

    @property
    def head(self) -> tuple[Tensor, Tensor]:
        """Weight (classes, width) and bias (classes) with features·weightᵀ + bias = logits, up to one constant per row.

        Raises:
            ModelError: the model's last layer is not linear.
        """
        found = self._classifier.head
        if found is None:
            raise ModelError(
                "this signal reads the linear last layer, and the model has none that was found. "
                "Leave it out, or use a signal of logits."
            )
        return found[0].cpu(), found[1].cpu()

    @property
    def keys(self) -> Keys:
        """One key per row for what is drawn at random."""
        if self._keys is None:
            self._keys = Keys.of_images(self.images)
        return self._keys

    @property
    def member_logits(self) -> Tensor:
        """Logits (members, rows, classes) of each member of an ensemble; a forward pass, never kept.

        Raises:
            ModelError: the model is no ensemble.
        """
        layers = member_layers(self._classifier)
        if not layers:
            raise ModelError(
                f"this signal compares the members of an ensemble, and {self._classifier.name} is a single model. "
                "Leave it out, or name several: ensemble:ADDRESS,ADDRESS."
            )
        self.count(forwards=1)
        found = self._classifier.activations(self.images, layers)
        return torch.stack([found[name].cpu() for name in layers])

    def logits_of(self, images: Images, rows: Tensor | None = None) -> Logits:
        """Logits of other images, one for each row, or for each of some `rows`; never kept."""
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
            with self._classifier.dropping(seeds, step):
                passes.append(self.logits_of(self.images))
        return torch.stack(passes)

    def contributions(self, layers: Sequence[str] = (), steps: int = 10) -> Mapping[str, Contributions]:
        """What each map of some layers adds to the logit of the answer, from the origin to the image; kept.

        Without a layer, under the name "", and for one that is pooled into the linear head, by the closed form, at no
        further pass; for all others together along one path of `steps` + 1 forward and backward passes.
        """
        key = (tuple(layers), steps)
        if key not in self._contributions:
            self._contributions[key] = self._added(*key)
        return self._contributions[key]

    def _added(self, layers: tuple[str, ...], steps: int) -> Mapping[str, Contributions]:
        for layer in layers:
            self.activations(layer)
        answers = self._output.logits.argmax(dim=1)
        closed = [layer for layer in layers or ("",) if not layer or is_pooled(self._output, layer)]
        found: dict[str, Contributions] = {}
        if closed:
            added = of_features(self._classifier, self.head[0].to(answers.device), self._output, answers).cpu()
            found |= dict.fromkeys(closed, added)
        others = [layer for layer in layers if layer not in found]
        if others:
            self.count(forwards=steps + 1, backwards=steps + 1)
            walked = along_a_path(self._classifier, self.images, others, answers, steps)
            found |= {layer: added.cpu() for layer, added in walked.items()}
        return {layer: found[layer] for layer in layers or ("",)}

    @property
    def filters(self) -> Mapping[str, Tensor]:
        """The weights (filters, …) of the layers whose filters mutants replace, by layer.

        Raises:
            ModelError: the model has no such layer.
        """
        return self._classifier.filters

    def mutant_logits(
        self, mutants: Sequence[Sequence[Change]], rows: Tensor, batch: int = 256
    ) -> Iterator[tuple[int, Tensor, Logits]]:
        """Which mutant, which of some `rows` (their positions), and its logits of them; never kept.

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
        """The evidence of some rows; nothing is computed twice, and its count of passes is its own."""
        chosen, images, features = index.tolist(), self.images[index], self._features
        keys = None if self._keys is None else self._keys.rows(chosen)
        groups = None if self.groups is None else [self.groups[row] for row in chosen]
        part = Evidence(
            self._classifier, images, self._layers, features=features, keys=keys, groups=groups, check=False
        )
        if "logits" in self.__dict__:
            part.logits = self.logits[index]
        if "_output" in self.__dict__:
            part._output = self._output.rows(index)
        return part

    def still(self) -> "Evidence":
        """The same without a graph, whatever autograd does; what was computed and the count of passes are shared."""
        same, mine = copy(self), self.__dict__
        computed: dict[str, Any] = {
            name: mine[name].detach() for name in ("images", "logits", "_output") if name in mine
        }
        same.__dict__.update(computed, _contributions={}, _kept={})
        return same

    def answering(self, logits: Logits) -> "Evidence":
        """The same images, had the model given these logits; of use to signals that read logits alone."""
        return Evidence(self._classifier, self.images, logits=logits, keys=self._keys, groups=self.groups, check=False)

    def slopes(self, layers: Sequence[str]) -> Mapping[str, tuple[Tensor, Tensor]]:
        """The outputs of some layers, for autograd to follow, and the slope of the answer's logit at them, detached.

        A forward and a backward pass, never kept.
        """
        self.count(forwards=1, backwards=1)
        with torch.enable_grad(), self._classifier.frozen():
            found = self._classifier.forward_output(self.images, layers)
            claimed = found.logits.amax(dim=1).sum()
            slopes = torch.autograd.grad(claimed, [found.activations[name] for name in layers], retain_graph=True)
        return {name: (found.activations[name], slope) for name, slope in zip(layers, slopes, strict=True)}

    def once(self, what: object, work: Callable[[], T]) -> T:
        """What was worked out for this batch before, or is now: it is kept under `what`, the very object."""
        if id(what) not in self._kept:
            self._kept[id(what)] = (what, work())
        return cast(T, self._kept[id(what)][1])

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
        for place, passes in enumerate((forwards, backwards)):
            if passes:
                self.spent[place, index] += passes

    @cached_property
    def _output(self) -> ForwardOutput:
        return self._forward(self._layers)

    def _forward(self, layers: tuple[str, ...]) -> ForwardOutput:
        output = self._classifier.forward_output(self.images, layers)
        self.count(forwards=1)
        return output


SignalLike: TypeAlias = Callable[[Evidence], Scores]
"""A signal that is ready to score: evidence → one score (rows,) per row, higher = more uncertainty."""


@runtime_checkable
class Surrogated(Protocol):
    """A signal whose score has no gradient of use, with a stand-in that has one."""

    def surrogate(self, evidence: Evidence) -> Scores:
        """One number per row that rises where the score does, for autograd to follow."""
        ...


def surrogate_of(signal: SignalLike, evidence: Evidence) -> Scores:
    """What autograd follows in place of a score: its surrogate, else itself; flat where autograd breaks it."""
    try:
        return signal.surrogate(evidence) if isinstance(signal, Surrogated) else signal(evidence)
    except Exception as error:  # of a plug-in; what is not about autograd comes again below
        if is_out_of_memory(error) or isinstance(signal, Surrogated):
            raise
    with torch.no_grad():
        return signal(evidence.still())


def scores_of(signals: Mapping[str, SignalLike], evidence: Evidence) -> Mapping[str, Scores]:
    """The score of each signal, by name, float64 on the CPU; NaN for rows whose logits are not finite."""
    finite = evidence.logits.detach().isfinite().all(dim=1)
    if finite.all():
        return {name: signal(evidence).cpu().double() for name, signal in signals.items()}
    some, scores = evidence.rows(finite.nonzero()[:, 0]), dict[str, Scores]()
    for name, signal in signals.items():
        scores[name] = torch.full((len(evidence),), torch.nan, dtype=torch.float64)
        if len(some):
            scores[name][finite] = signal(some).cpu().double()
    return scores


def _checked(
    classifier: AnyClassifier | nn.Module, images: Images, rows: Mapping[str, Sized | None]
) -> BoundClassifier:
    """The classifier for these images, which fit it."""
    if not isinstance(images, Tensor):
        raise DataError(
            f"images are one tensor (rows, channels, height, width) in [0, 1]; got a {type(images).__name__}. "
            "Stack them: torch.stack(list_of_images)."
        )
    found = bound(classifier, images)
    check_images(images, found.input_shape)
    for name, given in rows.items():
        if given is not None and len(given) != len(images):
            raise InputError(f"`{name}` must have one entry per image; got {len(given)} for {len(images)} images.")
    return found
