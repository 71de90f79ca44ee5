"""A net run again and again with some filters replaced; what comes before the first of them is computed once."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, fx, nn
from torch.func import functional_call
from torch.fx.node import map_aggregate, map_arg
from torch.nn.utils.fusion import fuse_conv_bn_eval

from demur.classifier.fixed_batch import FixedBatch
from demur.classifier.outputs import columns
from demur.errors import ModelError

Values = dict[fx.Node, Any]


@dataclass(frozen=True, eq=False)
class Change:
    """Some output filters of a named layer, and the weights (filters, …) that stand in for theirs."""

    layer: str
    filters: Tensor
    weights: Tensor


@final
class PartialForward:
    """A module in evaluation mode as a list of steps, batch normalisation folded into the convolutions before it.

    The module itself is never touched. One whose Python cannot be written down as such a list is a single step.
    """

    def __init__(self, module: nn.Module, probe: Tensor, read: Callable[[object], Tensor] = columns) -> None:
        for graph in (_written_down(module, _Open()), _written_down(module, _Closed())):
            if graph is None:
                continue
            self._steps = tuple(graph.graph.nodes)
            self._layers = dict(graph.named_modules())
            self._scales = _fold(self._steps, self._layers)
            self._fixed = {step: _attribute(graph, step) for step in self._steps if step.op == "get_attr"}
            self._position = {step: position for position, step in enumerate(self._steps)}
            self._last_use = {step: max(map(self._position.__getitem__, step.users), default=0) for step in self._steps}
            self._overwrites = any(map(self._in_place, self._steps))
            if self._agrees(module, probe, read):
                break

    @property
    def length(self) -> int:
        """How many steps there are between images and answer; 1 where nothing can be shared."""
        return len(self._steps) - 2

    def start_of(self, changes: Sequence[Change]) -> int:
        """The first step that some changes alter; the answer itself where they alter nothing that is called."""
        owners = [self._owner(change.layer) for change in changes]
        return min((self._position[owner] for owner in owners if owner), default=len(self._steps) - 1)

    def run(self, x: Tensor, mutants: Sequence[Sequence[Change]]) -> Iterator[tuple[int, Tensor]]:
        """Which mutant, and its answer; those that differ late come last, for they share most of the way."""
        starts = [self.start_of(changes) for changes in mutants]
        values: Values = {self._steps[0]: x, **self._fixed}
        reached = 0
        for which in sorted(range(len(mutants)), key=starts.__getitem__):
            self._go(values, range(reached, starts[which]), {})
            reached = starts[which]
            own = {step: _copied(value) if self._overwrites else value for step, value in values.items()}
            self._go(own, range(reached, len(self._steps)), self._changed(mutants[which]))
            yield which, own[self._steps[-1]]

    def _agrees(self, module: nn.Module, probe: Tensor, read: Callable[[object], Tensor]) -> bool:
        """Whether the steps answer as the module does, with every filter in a layer that is called.

        Python that looks at numbers may have been written down wrong.
        """
        filters = [layer.weight for layer in module.modules() if isinstance(layer, nn.Conv2d)]
        if any(value is weight for value in self._fixed.values() for weight in filters):
            return False
        with torch.no_grad():
            try:
                values: Values = {self._steps[0]: probe.clone(), **self._fixed}
                self._go(values, range(len(self._steps)), {})
                answer = read(values[self._steps[-1]])
            except Exception:  # noqa: BLE001 — foreign code may raise anything, and the single step is still there
                return False
            return torch.allclose(answer, read(module(probe.clone())), rtol=1e-3, atol=1e-4)

    def _owner(self, layer: str) -> fx.Node | None:
        """The first step that calls a layer, or something the layer is inside of."""
        return next((step for step in self._steps if _holds(step, layer)), None)

    def _changed(self, changes: Sequence[Change]) -> dict[str, dict[str, Tensor]]:
        """Called module → its changed weights."""
        found: dict[str, dict[str, Tensor]] = {}
        for change in changes:
            owner = self._owner(change.layer)
            if owner is None:
                continue
            target = str(owner.target)
            inner = f"{_ROOT}.{change.layer}"[len(target) :].lstrip(".")
            name = f"{inner}.weight" if inner else "weight"
            weight = dict(self._layers[target].named_parameters())[name].detach()
            weights = change.weights.to(weight)
            if target in self._scales:
                weights = weights * self._scales[target][change.filters].view(-1, *[1] * (weight.ndim - 1))
            found.setdefault(target, {})[name] = weight.index_copy(0, change.filters.to(weight.device), weights)
        return found

    def _go(self, values: Values, positions: range, weights: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Take some steps, and forget what none after them needs."""
        for position in positions:
            step = self._steps[position]
            if step not in values:
                values[step] = self._value(step, values, weights.get(str(step.target), {}))
            for used in step.all_input_nodes:
                if self._last_use[used] == position and used not in self._fixed:
                    del values[used]

    def _in_place(self, step: fx.Node) -> bool:
        """Whether a step may write over what it reads."""
        if step.op == "call_module":
            inside = self._layers[str(step.target)].modules()
            return any(getattr(layer, "inplace", False) for layer in inside) or self.length == 1
        named = str(getattr(step.target, "__name__", step.target))
        return named.endswith("_") or bool(step.kwargs.get("inplace"))

    def _value(self, step: fx.Node, values: Values, weights: Mapping[str, Tensor]) -> Any:
        args = map_arg(step.args, values.__getitem__)
        kwargs = map_arg(step.kwargs, values.__getitem__)
        if step.op == "call_module":
            layer = self._layers[str(step.target)]
            return functional_call(layer, dict(weights), args, kwargs) if weights else layer(*args, **kwargs)
        if step.op == "call_method":
            return getattr(args[0], str(step.target))(*args[1:], **kwargs)
        if step.op == "output":
            return args[0]
        assert callable(step.target)
        return step.target(*args, **kwargs)


_ROOT = "0"


class _Open(fx.Tracer):
    """Writes down every layer of its own."""


class _Closed(fx.Tracer):
    """Writes the whole module down as one step."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002 — torch names them
        return True


def _written_down(module: nn.Module, tracer: fx.Tracer) -> fx.GraphModule | None:
    root = nn.Sequential(module)
    try:
        return fx.GraphModule(root, tracer.trace(root))
    except Exception:  # noqa: BLE001 — foreign code may raise anything when it is given a stand-in for images
        return None


def _attribute(graph: fx.GraphModule, step: fx.Node) -> Any:
    value: Any = graph
    for name in str(step.target).split("."):
        value = getattr(value, name)
    return value


def _copied(value: Any) -> Any:
    """A value that may be written over; sizes and flags travel between steps as well as tensors."""
    return map_aggregate(value, lambda part: part.clone() if isinstance(part, Tensor) else part)


def _holds(step: fx.Node, layer: str) -> bool:
    return step.op == "call_module" and f"{_ROOT}.{layer}.".startswith(f"{step.target}.")


def _fold(steps: Sequence[fx.Node], layers: dict[str, nn.Module]) -> dict[str, Tensor]:
    """Fold what can be folded, in `layers`; convolution → the factor of each of its filters."""
    called = [step.target for step in steps if step.op == "call_module"]
    scales: dict[str, Tensor] = {}
    for step in steps:
        before = step.args[0] if step.args else None
        if step.op != "call_module" or not isinstance(before, fx.Node) or before.op != "call_module":
            continue
        norm, convolution = layers[str(step.target)], layers[str(before.target)]
        once = called.count(step.target) == called.count(before.target) == len(before.users) == 1
        if once and _foldable(norm, convolution):
            assert isinstance(norm, nn.BatchNorm2d)
            assert isinstance(convolution, nn.Conv2d)
            layers[str(before.target)] = fuse_conv_bn_eval(convolution, norm)
            layers[str(step.target)] = nn.Identity()
            scales[str(before.target)] = _scale(norm)
    return scales


def _foldable(norm: nn.Module, convolution: nn.Module) -> bool:
    return type(norm) is nn.BatchNorm2d and type(convolution) is nn.Conv2d and norm.running_var is not None


def _scale(norm: nn.BatchNorm2d) -> Tensor:
    assert norm.running_var is not None
    steepness = torch.rsqrt(norm.running_var + norm.eps)
    return steepness if norm.weight is None else (norm.weight * steepness).detach()


_OF_A_BLOCK = 4
"""Linear layers of a transformer's block: queries, keys and values at once, what is made of them, and two more."""


def filters_of(module: nn.Module) -> dict[str, Tensor]:
    """The weights of a net's filters by the name of their layer, in module order.

    They are those of convolutions; where there is none, or one alone that cuts patches for the blocks of a transformer,
    units of the linear layers before the last as well.

    Raises:
        ModelError: it has neither a convolution nor a linear layer before the last, or their weights are computed.
    """
    named = [] if isinstance(module, FixedBatch) else [(name, layer) for name, layer in module.named_modules() if name]
    found = {
        name: layer.weight.detach() for name, layer in named if isinstance(layer, (nn.Conv1d, nn.Conv2d, nn.Conv3d))
    }
    linear = {name: layer.weight.detach() for name, layer in named if isinstance(layer, nn.Linear)}
    if not found or (len(found) == 1 and len(linear) > _OF_A_BLOCK):
        found |= dict(list(linear.items())[:-1])
    if not found:
        raise ModelError(
            "mutants change the filters of convolutions, or units of linear layers before the last; this model has "
            "neither. Leave signals of mutants out."
        )
    own = dict(module.named_parameters(remove_duplicate=False))
    for name in found:
        if f"{name}.weight" not in own:
            raise ModelError(
                f"mutants replace weights, and those of the layer {name!r} are computed from others (weight or "
                "spectral normalisation, pruning). Make them plain first, with "
                "torch.nn.utils.parametrize.remove_parametrizations, or leave signals of mutants out."
            )
    return found
