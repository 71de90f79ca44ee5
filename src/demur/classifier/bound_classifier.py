"""A model behind one contract: images in, logits out."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import cached_property, partial
from typing import Any, final

import torch
from torch import Tensor, nn

from demur.classifier import first_answer as first
from demur.classifier import hooks
from demur.classifier.contract import Capabilities, Contract, fingerprint
from demur.classifier.folding import fold
from demur.classifier.outputs import ForwardOutput, columns, to_logits
from demur.classifier.partial_forward import PartialForward, filters_of
from demur.classifier.preprocessing import Preprocessing
from demur.classifier.validation import check_images, check_mode, check_output, check_weights
from demur.containment import Changes
from demur.errors import ModelError
from demur.shapes import Features, Images, Logits, Scores


@final
class BoundClassifier:
    """A model that takes images in [0, 1], normalises inside and answers with logits.

    It never changes, and it never switches autograd off: the caller does. The module is shared, not copied, and must be
    in evaluation mode. Building one runs the module once, on two fixed images, and refuses a model that breaks the
    contract.

    Args:
        module: maps (rows, channels, height, width) to outputs per row: one tensor, or a tuple, dict or dataclass that
            has it. Of a compiled or parallel one the module inside is run.
        classes: names in the order of the outputs.
        input_shape: (channels, height, width).
        mean: subtracted per channel, in the [0, 1] pixel range.
        std: divided by per channel, in the [0, 1] pixel range.
        output: what the outputs are; see `demur.classifier.outputs.to_logits`. Behind a colon the part of the answer
            that they are, such as `logits:main`, where several would do.
        features: the layer whose outputs are the features; by default the input of the linear head, where there is one.
        name: how reports call the model; by default the module's type.
        learned_from: content hashes, as an `Index` has them, of the images it was trained on; an audit leaves them out.
        notes: sentences on how it came to be: what was unpacked, what code ran, what was converted.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        classes: Sequence[str],
        input_shape: tuple[int, int, int],
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
        output: str = "logits",
        features: str | None = None,
        name: str = "",
        learned_from: Collection[str] = (),
        notes: Sequence[str] = (),
    ) -> None:
        self._contract = contract = Contract(
            classes=tuple(classes),
            input_shape=input_shape,
            mean=None if mean is None else tuple(mean),
            std=None if std is None else tuple(std),
            output=output,
        )
        self._module = module = first.eager(module)
        self._name = name or type(module).__name__
        self._named_features, self._learned_from, self.notes = features, frozenset(learned_from), tuple(notes)
        check_weights(module)
        check_mode(module)
        self._parameters = tuple(module.parameters())
        intake, probe = Preprocessing.of(module, self._contract, self.device, self.dtype), self._probe
        with first.drifting(module) as self._drifting, Changes() as changes:
            raw, self._intake = first.first_answer(module, intake, probe, self._name)
        self._forward, find = changes.contained(module), changes.contained(hooks.find_penultimate)
        self._part, self._kind = first.part_that_counts(raw, len(probe), contract.part, contract), contract.kind
        check_output(self._read(raw), contract)
        self.penultimate = find(module, self._intake(probe), contract.kind, features, self._read)

    def __repr__(self) -> str:
        return f"BoundClassifier({self.name!r}, {len(self.classes)} classes, input_shape={self.input_shape})"

    @property
    def name(self) -> str:
        """How reports call the model."""
        return self._name

    def __call__(self, images: Images) -> Logits:
        """Logits (rows, classes); differentiable where autograd is on."""
        return self.logits(images)

    def as_module(self) -> nn.Module:
        """The wrapped module, which expects what `prepare` makes of images; for libraries that take modules."""
        return self._module

    @cached_property
    def capabilities(self) -> Capabilities:
        """What it offers beyond its answers."""
        return Capabilities(
            gradients=not self.gradient_fault,
            layers=bool(self.layer_names),
            linear_head=self.head is not None,
            module=bool(self._parameters),
            deterministic=self._answers_as(self),
        )

    def _answers_as(self, other: "BoundClassifier") -> bool:
        with torch.no_grad():
            logits, others = self.logits(self._probe), other.logits(self._probe)
        return bool((others - logits).abs().max() <= _SAME * logits.abs().max())

    @cached_property
    def gradient_fault(self) -> str:
        """Why its answers have no gradient with respect to the images, as an object of `have`; empty if they have."""
        with self.frozen():
            return first.gradient_fault(self.logits, self._probe)

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the logits."""
        return self._contract.classes

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        return self._contract.input_shape

    @property
    def contract(self) -> Contract:
        """Everything declared about the model."""
        return self._contract

    @property
    def learned_from(self) -> frozenset[str]:
        """Content hashes of the images it was trained on, as far as they are known."""
        return self._learned_from

    @property
    def parameters(self) -> int:
        """How many numbers were learned."""
        return sum(parameter.numel() for parameter in self._parameters)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self._parameters[0].device if self._parameters else torch.device("cpu")

    @property
    def dtype(self) -> torch.dtype:
        """The precision of the weights."""
        return next((tensor.dtype for tensor in self._module.parameters() if tensor.is_floating_point()), torch.float32)

    @cached_property
    def _probe(self) -> Images:
        return first.made_up_images(self.input_shape, self.device, self.dtype)

    @property
    def sha256(self) -> str:
        """Hash of layers, weights, buffers but those it counts in, and contract, whatever their order or device."""
        return fingerprint(self._module, self._contract, self._drifting)

    @property
    def layer_names(self) -> tuple[str, ...]:
        """The names of layers whose activations may be asked for."""
        return hooks.layer_names(self._module)

    @property
    def scripted(self) -> bool:
        """Whether it has parts of torch.jit, which hide their layers."""
        return any(isinstance(layer, torch.jit.ScriptModule) for layer in self._module.modules())

    @property
    def head(self) -> tuple[Tensor, Tensor] | None:
        """Weight (classes, width) and bias (classes) with features·weightᵀ + bias = logits; None if not linear.

        Where the model puts out probabilities, the equation holds up to one constant per row.
        """
        return self.penultimate.weights()

    def to(self, device: torch.device | str) -> "BoundClassifier":
        """A new classifier with a copy of the module on a device."""
        return self._with(first.copied(self._module, self.name).to(device))

    @cached_property
    def double(self) -> "BoundClassifier":
        """A classifier with a copy of the module in float64, for images in float64; itself where it bears none."""
        return self._exact[0] or self

    @property
    def double_fault(self) -> str:
        """Why there is no copy of it in float64; empty where there is one."""
        return self._exact[1]

    @cached_property
    def _exact(self) -> tuple["BoundClassifier | None", str]:
        return first.derived(self._module, self.name, nn.Module.double, self._with)

    @cached_property
    def folded(self) -> "BoundClassifier":
        """For searches: batch normalisation is folded into convolutions; itself where answers would differ."""
        change = partial(fold, prepared=self.prepare(self._probe))
        other = first.derived(self._module, self.name, change, self._with)[0]
        return other if other and self._answers_as(other) else self

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(BoundClassifier, **self._declared), (self._module,)

    def altered(self, change: Callable[[nn.Module], object], name: str) -> "BoundClassifier":
        """Another classifier, whose module is a copy that a function has changed in place."""
        module = first.copied(self._module, self.name)
        change(module)
        return BoundClassifier(module, **{**self._declared, "name": name})

    def _with(self, module: nn.Module) -> "BoundClassifier":
        return BoundClassifier(module, **self._declared)

    @property
    def _declared(self) -> dict[str, Any]:
        """What it was made with, but for the module."""
        found = {"features": self._named_features, "name": self._name, "learned_from": self._learned_from}
        return vars(self._contract) | found | {"notes": self.notes}

    def logits(self, images: Images) -> Logits:
        """Logits (rows, classes) in the precision of the images; differentiable where autograd is on."""
        if not len(images):  # a graph of no rows, for gradients of none
            return images.flatten(start_dim=1)[:, :1].expand(-1, len(self.classes))
        return self._ask(images)

    def _ask(self, images: Images) -> Logits:
        return self.interpret(self._forward(self._intake(images)), len(images)).to(images.dtype)

    def prepare(self, images: Images) -> Tensor:
        """What the module is given for some images: normalised, and two rows where there is one or none."""
        return self._intake(images)

    def interpret(self, raw: object, rows: int) -> Logits:
        """What the module's answer to prepared images means: logits of as many rows as there were images."""
        found = self._read(raw)
        if len(found) not in {rows, max(rows, 2)}:
            raise ModelError(
                f"the model {self.name} must answer every image once; it gave {len(found)} rows for {rows}."
            )
        return to_logits(found[:rows], self._kind).clone()  # a model may use its memory again

    def _read(self, raw: object) -> Tensor:
        return columns(raw, self._part)

    @property
    def origin(self) -> Images:
        """The one image (1, channels, height, width) that the module is given as zeros."""
        mean = torch.zeros(self.input_shape[0]) if self.contract.mean is None else torch.tensor(self.contract.mean)
        return mean.view(1, -1, 1, 1).expand(1, *self.input_shape).to(self.device, self.dtype)

    @cached_property
    def replay(self) -> PartialForward:
        """The module as a list of steps, to be run again with some filters replaced."""
        return PartialForward(self._module, self.prepare(self._probe), self._read)

    def features(self, images: Images) -> Features:
        """Penultimate features (rows, width)."""
        return self.forward_output(images).features

    def activations(self, images: Images, layers: Sequence[str]) -> Mapping[str, Tensor]:
        """The outputs of named layers, rows first."""
        return self.forward_output(images, layers).activations

    def forward_output(self, images: Images, layers: Sequence[str] = ()) -> ForwardOutput:
        """Logits, features and the outputs of named layers by one pass; no hook is left behind."""
        rows = len(images)
        with (
            hooks.outputs_of(self._module, layers, rows) as kept,
            self.penultimate.read(self._module, rows) as features,
        ):
            logits = self._ask(images)
            return ForwardOutput(logits, features(), {name: hooks.kept_output(kept, name) for name in layers})

    def dropping(self, seeds: Tensor, step: int) -> AbstractContextManager[None]:
        """Every dropout layer drops inside, drawn from each row's seed and the step; none changes its mode.

        Raises:
            ModelError: there is no layer that would drop anything.
        """
        return hooks.dropping(self._module, seeds, step)

    @property
    def filters(self) -> Mapping[str, Tensor]:
        """The weights (filters, …) of the layers whose filters can be replaced, by layer.

        Raises:
            ModelError: there is no such layer.
        """
        return filters_of(self._module)

    def each_output(self, images: Images, note: Callable[[str, object], None]) -> Logits:
        """Logits by one pass in which a function is called with the name and output of each layer, as it is called."""
        with hooks.noting_outputs(self._module, note):
            return self._ask(images)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """No weight requires a gradient inside; those that did do afterwards. Enter it once round many gradients."""
        thawed = [each for each in self._parameters if each.requires_grad and each.is_leaf]
        try:
            for parameter in thawed:
                parameter.requires_grad = False
            yield
        finally:
            for parameter in thawed:
                parameter.requires_grad = True

    def loss_gradient(self, images: Images, loss: Callable[[Logits], Scores]) -> tuple[Logits, Images]:
        """Logits, and the gradient of each row's loss with respect to that row's image; both detached."""
        logits, gradients = self.loss_gradients(images, lambda logits: loss(logits)[:, None])
        return logits, gradients[:, 0]

    def loss_gradients(self, images: Images, losses: Callable[[Logits], Tensor]) -> tuple[Logits, Tensor]:
        """Logits, and the gradients of several losses of each row, (rows, losses), with respect to that row's image.

        One forward, one backward for each loss; gradients are (rows, losses, channels, height, width).
        """
        with self.frozen(), torch.enable_grad():
            x = images.detach().requires_grad_()
            logits = self.logits(x)
            totals = losses(logits).sum(dim=0).unbind()
            if not totals[0].requires_grad:
                raise ModelError(
                    "the loss does not depend on the images, so it has no gradient. Look for detach(), no_grad() or "
                    "numpy inside the model's forward."
                )
            last = len(totals) - 1
            found = [torch.autograd.grad(total, x, retain_graph=k < last)[0] for k, total in enumerate(totals)]
        return logits.detach(), torch.stack(found, dim=1)

    def check(self, images: Images) -> None:
        """Refuse a real batch that breaks its contract, or answers to it that break the model's.

        Raises:
            DataError: wrong type, shape or range of the images.
            ModelError: layers in training mode; outputs that are not finite or not what was declared.
        """
        check_images(images, self.input_shape)
        check_mode(self._module)
        raw = first.answer(self._forward, self._intake, images, self.name)
        check_output(self._read(raw), self._contract)
        self.interpret(raw, len(images))


_SAME = 1e-5  # share of the largest logit by which two answers to the same images may differ
