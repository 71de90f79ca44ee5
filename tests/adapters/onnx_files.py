"""ONNX graphs of small nets, written node by node, so that tests say exactly what is in them."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests import tiny

SHAPE = (3, 12, 12)
CLASSES = ("no", "yes", "so-so")


def weights(seed=0):
    """Of a convolution and a linear head."""
    rng = np.random.default_rng(seed)
    return {
        "kernel": rng.normal(0, 0.4, (6, 3, 3, 3)).astype(np.float32),
        "bias": rng.normal(0, 0.2, 6).astype(np.float32),
        "head": rng.normal(0, 2.0, (6, 3)).astype(np.float32),
        "offset": rng.normal(0, 0.2, 3).astype(np.float32),
    }


def write(
    path: Path, *, rows="rows", last=False, softmax=False, opset=17, constants=False, dtype=TensorProto.FLOAT, extra=()
):
    """Convolution, ReLU, mean over pixels, head; with channels last, a softmax or weights as nodes where asked."""
    channels, height, width = SHAPE
    shape = [rows, height, width, channels] if last else [rows, *SHAPE]
    start = [helper.make_node("Transpose", ["images"], ["first"], perm=[0, 3, 1, 2])] if last else []
    begin = "first" if last else "images"
    if dtype != TensorProto.FLOAT:
        start.append(helper.make_node("Cast", [begin], ["single"], to=TensorProto.FLOAT))
        begin = "single"
    nodes = [
        *start,
        helper.make_node("Conv", [begin, "kernel", "bias"], ["maps"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["maps"], ["active"]),
        helper.make_node("GlobalAveragePool", ["active"], ["pooled"]),
        helper.make_node("Flatten", ["pooled"], ["flat"], axis=1),
        helper.make_node("Gemm", ["flat", "head", "offset"], ["logits"]),
        *([helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1)] if softmax else []),
    ]
    tensors = [numpy_helper.from_array(value, name) for name, value in weights().items()]
    if constants:
        nodes = [helper.make_node("Constant", [], [each.name], value=each) for each in tensors] + nodes
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("images", dtype, shape), *extra],
        [helper.make_tensor_value_info("probabilities" if softmax else "logits", TensorProto.FLOAT, [rows, 3])],
        [] if constants else tensors,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)
    onnx.save(model, path)
    return f"onnx:{path}"


def answers(images, scale=1.0):
    """The logits of the same net in torch."""
    import torch
    from torch.nn import functional

    found = {name: torch.from_numpy(value).to(images.dtype) for name, value in weights().items()}
    maps = functional.conv2d(images * scale, found["kernel"], found["bias"], padding=1).relu()
    return maps.mean(dim=(2, 3)) @ found["head"] + found["offset"]


def patterns_graph(path):
    """The net of `tests.tiny` as a graph."""
    net = tiny.Net()
    tensors = [
        helper.make_tensor(
            "kernel", TensorProto.FLOAT, net.compare.weight.shape, net.compare.weight.flatten().tolist()
        ),
        helper.make_tensor("bias", TensorProto.FLOAT, [3], net.compare.bias.tolist()),
    ]
    nodes = [
        helper.make_node("Conv", ["images", "kernel", "bias"], ["maps"], kernel_shape=[8, 8]),
        helper.make_node("Flatten", ["maps"], ["logits"], axis=1),
    ]
    taken = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["rows", *tiny.SHAPE])
    put = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["rows", 3])
    graph = helper.make_graph(nodes, "patterns", [taken], [put], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return f"onnx:{path}"
