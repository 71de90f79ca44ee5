"""A module written down as a graph of calls, with what each of them answered to a probe."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_arg

_ROOT = "0"
_ROOMS = "activation dropout flatten linear normalization padding pixelshuffle pooling upsampling"
_OPENED = frozenset(f"torch.nn.modules.{room}" for room in _ROOMS.split())
_KEPT = (
    nn.Linear, nn.Bilinear, nn.MultiheadAttention, nn.Softmax2d, nn.CircularPad1d, nn.CircularPad2d, nn.CircularPad3d,
)  # fmt: skip


class NoBound(Exception):  # noqa: N818 — a finding with its reason, not a fault
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
            NoBound: it cannot be written down, or what was written down is not what it does.
        """
        graph = _written_down(module)
        layers = dict(graph.named_modules())
        values: dict[fx.Node, Any] = {}
        with torch.no_grad():
            _run(graph, layers, values, probe)
            answer, expected = next(reversed(values.values())), module(probe)
        if not (isinstance(answer, Tensor) and answer.shape == expected.shape and _close(answer, expected)):
            raise NoBound(f"the steps written down of {type(module).__name__} do not answer as it does")
        return cls(tuple(graph.graph.nodes), layers, values)

    def act(self, node: fx.Node, given: Mapping[fx.Node, Any]) -> Any:
        """What a call answers where some of the values it reads are others than on the probe."""
        return _answer(node, self.layers, lambda read: given.get(read, self.values[read]))

    def layer(self, node: fx.Node) -> nn.Module | None:
        """The layer that a call is to, None of a function."""
        return self.layers[str(node.target)] if node.op == "call_module" else None


def called(node: fx.Node) -> str:
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
        return inside(str(node.target))
    stack = list(node.meta.get("nn_module_stack", {}).values())
    return inside(str(stack[-1][0])) if stack else ""


def inside(target: str) -> str:
    """A name in the graph as the module has it."""
    return target.removeprefix(_ROOT).removeprefix(".")


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if type(m).__module__ in _OPENED and not isinstance(m, _KEPT):
            return False
        return fx.Tracer.is_leaf_module(self, m, module_qualified_name)


def _written_down(module: nn.Module) -> fx.GraphModule:
    root = nn.Sequential(module)
    try:
        return fx.GraphModule(root, _Tracer().trace(root))
    except Exception as error:  # foreign code may raise anything when it is given a stand-in for images
        reason = (str(error) or type(error).__name__).partition("\n")[0][:200].rstrip(".")
        raise NoBound(f"{type(module).__name__} cannot be written down as a list of steps: {reason}") from error


def _run(graph: fx.GraphModule, layers: Mapping[str, nn.Module], values: dict[fx.Node, Any], probe: Tensor) -> None:
    """Fill in the values; one that was changed in place after it was made and is then read again is refused."""
    versions: dict[fx.Node, int | None] = {}
    for node in graph.graph.nodes:
        stale = [read for read in node.all_input_nodes if _version(values[read]) != versions[read]]
        if stale:
            raise NoBound(f"{place(stale[0]) or stale[0].name} is changed in place and read again afterwards")
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
