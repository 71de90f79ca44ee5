"""`onnx:FILE[?…]`: a graph, converted to torch where that answers alike, else run by ONNX Runtime without gradients."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from demur.adapters.declarations import Declaration
from demur.adapters.onnx_conversion import converted
from demur.adapters.onnx_graph import Graph, read_graph
from demur.adapters.program_files import (
    batch_words,
    declared_shape,
    file_of,
    for_any_batch,
    named_options,
    with_identity,
)
from demur.adapters.weights import learned_from
from demur.classifier import BoundClassifier
from demur.errors import ModelError, missing_extra
from demur.foreign import reason
from demur.registry import Address


def load_onnx(address: Address, classes: Sequence[str], input_shape: tuple[int, int, int]) -> BoundClassifier:
    """The classifier at an `onnx:` address; with gradients where it can be converted, and with the reason where not.

    Raises:
        AddressError: there is no such file.
        ModelError: it is no graph of a classifier, ONNX Runtime cannot run it, or it breaks the contract.
        MissingExtraError: the extra `onnx` is not installed.
    """
    path = file_of(address)
    options = named_options(address, classes, input_shape)
    graph = read_graph(path, logits=options.output.partition(":")[0] == "logits")
    last = graph.channels_last(options.input_shape)
    runtime = Runtime(graph, channels_last=last)
    module, rows = for_any_batch(runtime, options.input_shape, torch.float32)
    said = ["the graph takes images with their channels last"] if last else []
    said += ["the softmax at the end of the graph was taken off: what it read are the logits"] if graph.peeled else []
    found, why = converted(graph, module, rows, options.input_shape, channels_last=last)
    if found is None:
        runtime.reason = why
        said += [f"{path.name} is run by ONNX Runtime, without gradients: {why}", *batch_words(rows)]
    else:
        said += [f"{path.name} was converted to torch, and answers as in ONNX Runtime: {why}"]
    whole = module if found is None else found
    with_identity(whole, path)
    return options.wrap(whole, learned_from(str(path)), said)


def declare_onnx(address: Address) -> Declaration:
    """The shape that the graph says it takes, and how many outputs it has."""
    graph = read_graph(file_of(address), logits=False)
    return declared_shape("the graph", graph.input_shape, graph.width)


class Runtime(nn.Module):
    """A graph run by ONNX Runtime in one thread, so that its answers are the same whatever else runs.

    It has no gradients, and no copy: of `double` and other devices there is none.
    """

    def __init__(self, graph: Graph, *, channels_last: bool) -> None:
        super().__init__()
        self.graph, self.channels_last, self.reason = graph, channels_last, ""
        self.session = _session(graph)
        self.training = False

    def __deepcopy__(self, memo: dict[int, Any]) -> "Runtime":
        raise ModelError("ONNX Runtime answers in the precision of the graph, on the CPU, and there is no other copy")

    def forward(self, images: Tensor) -> Tensor | dict[str, Tensor]:
        """What the graph answers; several outputs by their names."""
        answers = _Answers.apply(images, self)  # type: ignore[no-untyped-call]
        return answers[0] if len(answers) == 1 else dict(zip(self.graph.outputs, answers, strict=True))

    def answers(self, images: Tensor) -> tuple[Tensor, ...]:
        """The outputs of the graph, in their order."""
        x = images.detach().permute(0, 2, 3, 1) if self.channels_last else images.detach()
        taken = {self.graph.input: x.contiguous().numpy().astype(self.graph.dtype)}
        return tuple(map(torch.from_numpy, self.session.run(list(self.graph.outputs), taken)))


class _Answers(torch.autograd.Function):
    """Outputs of a graph, with the reason in the place of a gradient."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, runtime: Runtime) -> tuple[Tensor, ...]:
        ctx.reason = runtime.reason
        return runtime.answers(images)

    @staticmethod
    def backward(ctx: Any, *_gradients: Tensor) -> tuple[None, None]:
        raise ModelError(f"ONNX Runtime computes none, and the graph was not converted to torch: {ctx.reason}")


def _session(graph: Graph) -> Any:
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise missing_extra("a model of onnx:", "onnx") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(
            graph.proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # noqa: BLE001 - of ONNX Runtime's many kinds
        raise ModelError(f"ONNX Runtime cannot run this graph: {reason(error)}. Export it again.") from None
