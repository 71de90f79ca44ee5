"""A graph of ONNX as a torch module, believed only where it answers as ONNX Runtime does."""

import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from demur.adapters.onnx_graph import Graph
from demur.classifier.fixed_batch import FixedBatch
from demur.classifier.outputs import parts_of
from demur.foreign import reason

IMAGES = 64
"""On how many images the two are compared."""

CLOSE = 1e-5
"""How far they may be apart: in logits, or as a share of the largest one where that is above 1."""

_OPSET = 17
"""The latest set of operations that the converter knows."""

_INSTALL = "onnx2torch is not installed. Install it with: pip install 'demur[onnx-gradients]'"


class Converted(nn.Module):
    """A graph as layers of torch; where it takes channels last, it is given them so."""

    def __init__(self, program: nn.Module, *, channels_last: bool) -> None:
        super().__init__()
        self.program = program
        self.channels_last = channels_last
        self.training = False

    def forward(self, images: Tensor) -> object:
        """What the graph answers."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what its layers do in an old way
            return self.program(images.permute(0, 2, 3, 1).contiguous() if self.channels_last else images)


def converted(
    graph: Graph, runtime: nn.Module, rows: int, input_shape: tuple[int, int, int], *, channels_last: bool
) -> tuple[nn.Module | None, str]:
    """The graph as a torch module, and how near it is; or None and the reason.

    Args:
        graph: what is to be converted.
        runtime: the same in ONNX Runtime, for any number of images.
        rows: how many images the graph takes at a time; 0 where it takes any.
        input_shape: (channels, height, width) of the images.
        channels_last: whether the graph takes channels last.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what the converter says of its own parts
            module = Converted(_torch_module(graph), channels_last=channels_last)
    except Exception as error:  # noqa: BLE001 - a converter of others may raise anything; it is said as the reason
        absent = isinstance(error, ModuleNotFoundError) and error.name == "onnx2torch"
        return None, _INSTALL if absent else f"the conversion failed ({reason(error)})"
    images = varied_images(input_shape)
    distances = []
    for found in (module, FixedBatch(module, rows)) if rows else (module,):
        distance = _distance(found, runtime, images)
        if isinstance(distance, float) and distance <= CLOSE:
            return found, f"on {IMAGES} images they differ by at most {distance:.1g}"
        distances.append(f"answers {distance:.1g} apart" if isinstance(distance, float) else distance)
    return None, f"the conversion gives {distances[-1]}, and may differ by {CLOSE:g}"


def _torch_module(graph: Graph) -> nn.Module:
    """The graph, in operations that the converter knows and with every constant a weight, as a module in evaluation."""
    import onnx2torch
    from onnx import version_converter

    proto = lifted(graph.proto)
    if _opset(proto).version > _OPSET:
        try:
            proto = version_converter.convert_version(proto, _OPSET)
        except Exception:  # noqa: BLE001 - it knows not every operation; what is made instead is compared as well
            proto = relabelled(proto)
    for node in (each for each in proto.graph.node if each.op_type == "Reshape"):
        _drop(node, "allowzero")  # which the converter does not know, and only an empty axis needs
    return onnx2torch.convert(proto).eval()


def _drop(node: Any, name: str) -> None:
    kept = [each for each in node.attribute if each.name != name]
    del node.attribute[:]
    node.attribute.extend(kept)


def _opset(proto: Any) -> Any:
    return next(each for each in proto.opset_import if each.domain in {"", "ai.onnx"})


def lifted(proto: Any) -> Any:
    """The graph with its constants as weights, which the converter needs them to be."""
    import onnx_ir
    from onnx_ir.passes.common import LiftConstantsToInitializersPass

    model = onnx_ir.serde.deserialize_model(proto)
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    return onnx_ir.serde.serialize_model(model)


def relabelled(proto: Any) -> Any:
    """The graph under the latest set that the converter knows; the axes of reductions are attributes there."""
    from onnx import helper, numpy_helper

    weights = {each.name: each for each in proto.graph.initializer}
    for node in proto.graph.node:
        if node.op_type.startswith("Reduce") and node.op_type != "ReduceSum" and len(node.input) == 2:
            axes = numpy_helper.to_array(weights[node.input.pop()]).tolist()
            node.attribute.append(helper.make_attribute("axes", axes))
    _opset(proto).version = _OPSET
    return proto


def varied_images(input_shape: tuple[int, int, int]) -> Tensor:
    """Made-up images of many kinds: fixed noise at many contrasts and in many grains."""
    channels, height, width = input_shape
    count = IMAGES * channels * height * width
    noise = (torch.arange(count, dtype=torch.float64) * 0.6180339887498949 % 1).view(IMAGES, *input_shape)
    whole = []
    for number, image in enumerate(noise.float()):
        grain = 1 << (number % 5)
        small = image[:, : max(1, height // grain), : max(1, width // grain)]
        large = nn.functional.interpolate(small[None], size=(height, width), mode="nearest")[0]
        contrast = (1 + number) / IMAGES
        whole.append(0.5 + contrast * (large - 0.5))
    return torch.stack(whole)


def _distance(module: nn.Module, runtime: nn.Module, images: Tensor) -> float | str:
    """How far answers are apart at most; or why one of them gives none."""
    try:
        with torch.no_grad():
            pairs = list(zip(_parts(module(images)), _parts(runtime(images)), strict=True))
    except Exception as error:  # noqa: BLE001 - a module of a converter may raise anything; it is said as the reason
        return f"no answers ({reason(error)})"
    if any(one.shape != other.shape for one, other in pairs):
        return "answers of another shape"
    apart = [((one - other).abs().max() / other.abs().max().clamp(min=1)).item() for one, other in pairs]
    return max(apart) if all(value == value for value in apart) else "answers that are no numbers"


def _parts(raw: object) -> Iterator[Tensor]:
    yield from [raw] if isinstance(raw, Tensor) else parts_of(raw).values()
