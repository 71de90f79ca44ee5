"""The graph in an `.onnx` file: what it takes and puts out, read without running it and without leaving its folder."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from demur.adapters.archive_members import check_file
from demur.errors import ModelError, brief, legible, missing_extra
from demur.foreign import reason

_MOST = (1 << 31) - 1
"""Bytes of a graph with its weights that protocol buffers can hold."""

_DTYPES = {1: "float32", 10: "float16", 11: "float64"}
"""ONNX's numbers for the types that images can have, and numpy's names."""

_CHANNELS = frozenset({1, 3, 4})


@dataclass(frozen=True, eq=False)
class Graph:
    """A classifier as a graph.

    Attributes:
        proto: with all weights inside.
        input: the name of its input.
        sides: of the input, (rows, a, b, c); None where any will do.
        dtype: of the input, as numpy calls it.
        outputs: names.
        peeled: whether a softmax at its end was taken off.
    """

    proto: Any
    input: str
    sides: tuple[int | None, ...]
    dtype: str
    outputs: tuple[str, ...]
    peeled: bool

    @property
    def input_shape(self) -> tuple[int, int, int] | None:
        """(channels, height, width) of the images it takes, where it says all three."""
        first, second, third = self.sides[1:]
        if first is None or second is None or third is None:
            return None
        last = third in _CHANNELS and first not in _CHANNELS
        return (third, first, second) if last else (first, second, third)

    @property
    def width(self) -> int | None:
        """How many numbers it puts out for an image, where it says so."""
        sides = self.proto.graph.output[0].type.tensor_type.shape.dim
        return int(sides[-1].dim_value) or None if len(self.outputs) == 1 and len(sides) == 2 else None

    def channels_last(self, input_shape: tuple[int, int, int]) -> bool:
        """Whether it takes (rows, height, width, channels): its sides fit images of a shape so, and only so."""
        channels, height, width = input_shape
        if self._fits(input_shape):
            return False
        return self._fits((height, width, channels)) or (
            self.sides[3] in _CHANNELS and self.sides[1] not in _CHANNELS and self.sides[1] != channels
        )

    def _fits(self, shape: tuple[int, int, int]) -> bool:
        return all(side is None or side == own for side, own in zip(self.sides[1:], shape, strict=True))


def read_graph(path: Path, *, logits: bool) -> Graph:
    """The graph in a file.

    Args:
        path: of the file; weights beside it may lie in its folder.
        logits: whether its outputs are to be logits, so that a softmax at the end is taken off.

    Raises:
        AddressError: there is no such file.
        ModelError: it is no graph from one batch of images to numbers, or its weights lie elsewhere.
        MissingExtraError: the extra `onnx` is not installed.
    """
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise missing_extra("a model of onnx:", "onnx") from error
    check_file(path, "ONNX graph")
    try:
        proto = onnx.load(path, load_external_data=False)
    except Exception as error:  # noqa: BLE001 - a file that is none may raise anything
        raise ModelError(f"{path} is no ONNX graph ({reason(error)}). Export it again.") from None
    _check_outside(proto, path)
    _check_sizes(proto.graph, path)
    onnx.load_external_data_for_model(proto, str(path.parent))
    if proto.ByteSize() > _MOST:
        raise ModelError(
            f"{path} has more than 2 GiB with its weights, and is not read. Save the model as another format."
        )
    peeled = logits and _peel(proto.graph)
    taken = _input_of(proto.graph, path)
    tensor = taken.type.tensor_type
    return Graph(
        proto=proto,
        input=taken.name,
        sides=tuple(side.dim_value if side.dim_value > 0 else None for side in tensor.shape.dim),
        dtype=_DTYPES[tensor.elem_type],
        outputs=tuple(each.name for each in proto.graph.output),
        peeled=peeled,
    )


def _input_of(graph: Any, path: Path) -> Any:
    """The one input that is no weight."""
    weights = {each.name for each in graph.initializer}
    inputs = [each for each in graph.input if each.name not in weights]
    if len(inputs) != 1:
        names = ", ".join(repr(brief(legible(each.name))) for each in inputs) or "none"
        raise ModelError(
            f"a classifier takes one batch of images; {path} takes {len(inputs)} inputs ({names}). Export it with one."
        )
    tensor = inputs[0].type.tensor_type
    if tensor.elem_type not in _DTYPES or len(tensor.shape.dim) != 4:
        raise ModelError(
            f"a classifier takes images as floating-point numbers with four axes; {path} takes type {tensor.elem_type} "
            f"of ONNX with {len(tensor.shape.dim)} axes. Export it with such an input."
        )
    return inputs[0]


def _peel(graph: Any) -> bool:
    """Take a softmax over the classes off the end of a graph with one output: what it reads are logits."""
    if len(graph.output) != 1:
        return False
    last = next((each for each in graph.node if graph.output[0].name in each.output), None)
    sides = graph.output[0].type.tensor_type.shape.dim
    axis = {each.name: each.i for each in getattr(last, "attribute", ())}.get("axis", -1)
    if last is None or last.op_type != "Softmax" or axis not in {-1, 1} or len(sides) != 2:
        return False
    graph.output[0].name = last.input[0]
    graph.node.remove(last)
    return True


def _check_outside(proto: Any, path: Path) -> None:
    """Refuse weights outside the folder of the graph: another path, or a link that leads away."""
    folder = path.parent.resolve()
    for place in dict.fromkeys(_places_outside(proto)):
        whole = PurePosixPath(place)
        leaves = whole.is_absolute() or ".." in whole.parts or "\\" in place
        if leaves or not (path.parent / place).resolve().is_relative_to(folder):
            raise ModelError(
                f"{path} says that its weights lie at {brief(legible(place))!r}, outside its own folder. Nothing was "
                "read; export it again, with its weights inside or beside it."
            )
        check_file(path.parent / place, "file of weights of an ONNX graph")


def _check_sizes(graph: Any, path: Path) -> None:
    """Refuse constants that a few numbers blow up to more than any image needs."""
    from onnx import numpy_helper

    known = {each.name: each for each in graph.initializer}
    known |= {each.output[0]: part.t for each in graph.node if each.op_type == "Constant" for part in each.attribute}
    for node in graph.node:
        shape = known.get(node.input[_GROWING[node.op_type]]) if node.op_type in _GROWING else None
        values = 0 if shape is None or shape.data_type != _INT64 else math.prod(numpy_helper.to_array(shape).tolist())
        if values > _LARGEST:
            raise ModelError(
                f"{path} makes a constant of {values:,} values by {node.op_type}, more than the {_LARGEST:,} that a "
                "classifier may have. Nothing of it was run; export it again."
            )


_GROWING = {"ConstantOfShape": 0, "Expand": 1, "Tile": 1}
"""Operations whose output is as large as one of their inputs says, and which input that is."""

_INT64 = 7
_LARGEST = 1 << 28


def _places_outside(message: Any) -> Iterator[str]:
    """The files that any tensor of a graph lies in, those of functions and branches among them."""
    from onnx import TensorProto

    for tensor in _tensors(message):
        if tensor.data_location == TensorProto.EXTERNAL:
            yield from (each.value for each in tensor.external_data if each.key == "location")


def _tensors(message: Any) -> Iterator[Any]:
    """Every tensor in a message of protocol buffers."""
    for field, value in message.ListFields():
        parts = value if field.is_repeated else [value]
        if field.message_type is None:
            continue
        for part in parts:
            if field.message_type.name == "TensorProto":
                yield part
            elif field.message_type.name in _HOLDERS:
                yield from _tensors(part)


_HOLDERS = frozenset({"AttributeProto", "FunctionProto", "GraphProto", "NodeProto", "SparseTensorProto"})
