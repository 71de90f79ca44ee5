"""A module as a graph of calls, and how fast its answer can change at most."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg

from demur.lipschitz.operation_constants import CONSTANTS, affine_call, affine_module, idle
from demur.lipschitz.operator_norms import Norm, Piece, Step, adjacent, sum_of

_ROOT = "0"
_ROOMS = "activation dropout flatten linear normalization padding pixelshuffle pooling upsampling"
_OPENED = frozenset(f"torch.nn.modules.{room}" for room in _ROOMS.split())
_KEPT = (
    nn.Linear, nn.Bilinear, nn.MultiheadAttention, nn.Softmax2d, nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d,
)  # fmt: skip


class NoBoundError(Exception):
    """Why no upper bound is known."""


@dataclass(frozen=True, eq=False)
class Trace:
    """The calls of a module in their order, the layers they are to, and the value of each on a probe."""

    nodes: tuple[fx.Node, ...]
    layers: Mapping[str, nn.Module]
    values: Mapping[fx.Node, Any]

    @classmethod
    def of(cls, module: nn.Module, probe: Tensor) -> "Trace":
        """Write a module down; activations, pools and pads are opened up to the functions they call.

        Raises:
            NoBoundError: it cannot be written down, or what was written down is not what it does.
        """
        graph = _list_of_steps(module)
        layers = dict(graph.named_modules())
        values: dict[fx.Node, Any] = {}
        with torch.no_grad():
            _run(graph, layers, values, probe)
            answer, expected = next(reversed(values.values())), module(probe)
        if not (isinstance(answer, Tensor) and answer.shape == expected.shape and _close(answer, expected)):
            raise NoBoundError(f"the steps written down of {type(module).__name__} do not answer as it does")
        return cls(tuple(graph.graph.nodes), layers, values)

    def act(self, node: fx.Node, given: Mapping[fx.Node, Any]) -> Any:
        """What a call answers where some of the values it reads are others than on the probe."""
        return _answer(node, self.layers, lambda read: given.get(read, self.values[read]))

    def layer(self, node: fx.Node) -> nn.Module | None:
        """The layer that a call is to, None of a function."""
        return self.layers[str(node.target)] if node.op == "call_module" else None


def call_name(node: fx.Node) -> str:
    """The name of torch's function or method that a node calls; empty of everything else."""
    if node.op == "call_method":
        return str(node.target)
    if node.op != "call_function":
        return ""
    if node.target is getattr:
        return str(node.args[1])
    room = getattr(node.target, "__module__", None) or "torch"
    known = room.split(".")[0] in {"torch", "_operator", "torchvision"}
    return str(getattr(node.target, "__name__", "")) if known else ""


def place(node: fx.Node) -> str:
    """The name of the layer that a node calls, or that it is called in; empty of the model itself."""
    if node.op == "call_module":
        return submodule_of(str(node.target))
    stack = list(node.meta.get("nn_module_stack", {}).values())
    return submodule_of(str(stack[-1][0])) if stack else ""


def submodule_of(target: str) -> str:
    """A name in the graph as the module has it."""
    return target.removeprefix(_ROOT).removeprefix(".")


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if type(m).__module__ in _OPENED and not isinstance(m, _KEPT):
            return False
        return fx.Tracer.is_leaf_module(self, m, module_qualified_name)


def _list_of_steps(module: nn.Module) -> fx.GraphModule:
    root = nn.Sequential(module)
    try:
        return fx.GraphModule(root, _Tracer().trace(root))
    except Exception as error:  # foreign code may raise anything when it is given a stand-in for images
        reason = (str(error) or type(error).__name__).partition("\n")[0][:200].rstrip(".")
        raise NoBoundError(f"{type(module).__name__} cannot be written down as a list of steps: {reason}") from error


def _run(graph: fx.GraphModule, layers: Mapping[str, nn.Module], values: dict[fx.Node, Any], probe: Tensor) -> None:
    """Fill in the values; one that was changed in place after it was made and is then read again is refused."""
    versions: dict[fx.Node, int | None] = {}
    for node in graph.graph.nodes:
        stale = [read for read in node.all_input_nodes if _version(values[read]) != versions[read]]
        if stale:
            raise NoBoundError(f"{place(stale[0]) or stale[0].name} is changed in place and read again afterwards")
        if node.op == "placeholder":
            values[node] = probe
        elif node.op == "get_attr":
            values[node] = _attribute(graph, str(node.target))
        else:
            values[node] = _answer(node, layers, values.__getitem__)
        versions[node] = _version(values[node])


def _answer(node: fx.Node, layers: Mapping[str, nn.Module], value: Callable[[fx.Node], Any]) -> Any:
    args, options = map_arg(node.args, value), map_arg(node.kwargs, value)
    if node.op == "call_module":
        return layers[str(node.target)](*args, **options)
    if node.op == "call_method":
        return getattr(args[0], str(node.target))(*args[1:], **options)
    if node.op == "output":
        return args[0]
    assert callable(node.target)
    return node.target(*args, **options)


def _attribute(graph: fx.GraphModule, target: str) -> Any:
    value: Any = graph
    for name in target.split("."):
        value = getattr(value, name)
    return value


def _version(value: Any) -> int | None:
    return value._version if isinstance(value, Tensor) else None  # noqa: SLF001 — torch has no public name for it


def _close(one: Tensor, other: Tensor) -> bool:
    return torch.allclose(one, other, rtol=1e-3, atol=1e-4)


Terms = Mapping[fx.Node, Piece]
"""A value as a sum of pieces, each of the value of another node."""

_SUMS = frozenset({"add", "add_", "iadd", "sub", "sub_", "isub"})
_JOINS = frozenset({"cat", "concat", "concatenate", "stack"})
_IN_PLACE = frozenset({"add_", "iadd", "sub_", "isub", "mul_", "imul", "div_", "itruediv"})
_ASKS = (
    "size shape dim ndim ndimension numel stride dtype device is_contiguous new_zeros new_ones new_full zeros_like "
    "ones_like full_like"
)
_UNMOVED = frozenset(_ASKS.split())


@dataclass(frozen=True, eq=False)
class SlopeProduct:
    """The way from images to answer, step by step.

    Affine steps are put off and merged into pieces as long as they can be. A step that is not affine ends the pieces
    that lead to it: there the constant of the tensor is the sum, over the pieces it is made of, of the constant where
    the piece begins times the piece's norm, and after it that times the step's own. `norms` are of pieces met so far.

    Virmaux & Scaman (2018), arXiv:1805.10965, who multiply layer by layer.
    """

    trace: Trace
    norms: dict[Piece, Norm]
    speeds: dict[fx.Node, float] = field(default_factory=dict)
    terms: dict[fx.Node, Terms] = field(default_factory=dict)

    def bound(self, first: Piece) -> float:
        """The constant of the answer for images that pass through a first piece.

        Raises:
            NoBoundError: some step is none whose constant is known.
        """
        *steps, output = self.trace.nodes
        for node in steps:
            if node.op == "placeholder":
                self.speeds[node], self.terms[node] = 1.0, {node: first}
            elif self._varying_inputs(node) and call_name(node) not in _UNMOVED:
                self.terms[node] = self._through(node)
        (answer,) = output.all_input_nodes
        if answer not in self.terms:
            raise NoBoundError("the answer does not depend on the image")
        return self._speed(answer)

    def _varying_inputs(self, node: fx.Node) -> list[fx.Node]:
        """What a call reads that depends on the image, as often as it reads it."""
        found: list[fx.Node] = []
        map_arg((node.args, dict(node.kwargs)), lambda read: found.append(read) if read in self.terms else None)
        return found

    def _through(self, node: fx.Node) -> Terms:
        name, moved = call_name(node), self._varying_inputs(node)
        if name == "detach" or idle(name, node.args, node.kwargs):
            return self.terms[moved[0]]
        several = len(set(moved)) > 1
        if several and name in _SUMS and list(node.args[:2]) == moved:
            return self._sum(node, *moved)
        if several and name in _JOINS:
            return self._join(node, moved)
        if self._affine(node, moved):
            return {base: piece.then(self._step(node, moved[0])) for base, piece in self.terms[moved[0]].items()}
        if len(moved) == 1 and name in CONSTANTS and node.args and node.args[0] is moved[0]:
            return self._ends(node, self._constant(node, name) * self._speed(moved[0]))
        raise NoBoundError(_without_constant(node, self.trace, moved))

    def _affine(self, node: fx.Node, moved: Sequence[fx.Node]) -> bool:
        """Whether a call is affine in the one value it reads, which it may read twice only to add it up."""
        name, layer = call_name(node), self.trace.layer(node)
        if len(moved) > 1:
            return len(set(moved)) == 1 and name in _SUMS | _JOINS
        if layer is not None:
            return affine_module(layer)
        value = self.trace.values[node]
        if isinstance(value, Tensor) and not value.is_floating_point():
            return False  # a conversion to whole numbers
        return affine_call(name, first=bool(node.args) and node.args[0] is moved[0])

    def _step(self, node: fx.Node, read: fx.Node) -> Step:
        copied = call_name(node) in _IN_PLACE

        def act(value: Any) -> Any:
            return self.trace.act(node, {read: value.clone() if copied else value})

        alone = node.op == "call_module" and len(node.args) == 1 and not node.kwargs
        name = submodule_of(str(node.target)) if alone else f"%{node.name}"
        return Step(name, act, (_label(node),))

    def _sum(self, node: fx.Node, left: fx.Node, right: fx.Node) -> Terms:
        """Terms that begin at the same node are added up as maps before their norm is taken."""
        sides = [self._side(node, left, right), self._side(node, right, left)]
        bases = dict.fromkeys(base for side in sides for base in side)
        return {base: sum_of([side[base] for side in sides if base in side]) for base in bases}

    def _side(self, node: fx.Node, read: fx.Node, other: fx.Node) -> Terms:
        """One side of a sum: as it is, or turned, weighed and spread out as the sum does."""
        values = self.trace.values
        plain = len(node.args) == 2 and not node.kwargs and values[read].shape == values[other].shape
        if plain and (read is node.args[0] or "add" in call_name(node)):
            return self.terms[read]
        nothing = torch.zeros_like(values[other])

        def act(value: Any) -> Any:
            return self.trace.act(node, {read: value.clone(), other: nothing.clone()})

        step = Step(f"%{node.name} of {read.name}", act, (_label(node),))
        return {base: piece.then(step) for base, piece in self.terms[read].items()}

    def _join(self, node: fx.Node, moved: Sequence[fx.Node]) -> Terms:
        """Parts of one tensor side by side: their constants add up like the sides of a right angle."""
        bases = {base for part in moved for base in self.terms[part]}
        if len(bases) > 1 or len(set(moved)) < len(moved):
            return self._ends(node, math.hypot(*(self._speed(part) for part in moved)))
        (base,) = bases
        pieces = [self.terms[part][base] for part in moved]

        def join(parts: Sequence[Any]) -> Any:
            return self.trace.act(node, dict(zip(moved, parts, strict=True)))

        return {base: adjacent(pieces, join, node.name)}

    def _ends(self, node: fx.Node, speed: float) -> Terms:
        self.speeds[node] = speed
        return {node: Piece(tuple(self.trace.values[node].shape))}

    def _constant(self, node: fx.Node, name: str) -> float:
        args, options = map_arg((node.args, dict(node.kwargs)), self.trace.values.__getitem__)
        return CONSTANTS[name](*args, **options)

    def _speed(self, node: fx.Node) -> float:
        return sum(self.speeds[base] * self._norm(piece).above for base, piece in self.terms[node].items())

    def _norm(self, piece: Piece) -> Norm:
        if piece not in self.norms:
            like = next(value for value in self.trace.values.values() if isinstance(value, Tensor))
            self.norms[piece] = piece.norm(like)
        return self.norms[piece]


def _label(node: fx.Node) -> str:
    """A layer by its name, a function by its own behind that of the layer that calls it."""
    return place(node) if node.op == "call_module" else ".".join(filter(None, (place(node), call_name(node))))


def _without_constant(node: fx.Node, trace: Trace, moved: Sequence[fx.Node]) -> str:
    """What stands in the way, and where."""
    where, layer = place(node), trace.layer(node)
    if layer is not None:
        return f"the layer {where or 'itself'} ({type(layer).__name__}) is none whose constant is known"
    what = call_name(node) or str(getattr(node.target, "__name__", node.target))
    inside_of = f"the layer {where}" if where else "the model"
    if len(moved) > 1:
        return f"{inside_of} puts together values that all depend on the image by `{what}`, which has no constant"
    return f"{inside_of} calls `{what}`, which is no operation whose constant is known"
