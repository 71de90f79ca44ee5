"""A guard as one ONNX graph: normalisation, logits, signals, bounds and the decision, for any runtime of ONNX."""

import contextlib
import io
import json
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from demur.errors import DemurError, InputError, ModelError, missing_extra
from demur.files import write_atomically
from demur.foreign import reason
from demur.guard.golden_vectors import SelfTest
from demur.guard.graph_vectors import golden_images, golden_of, made_up, packed
from demur.guard.guard import Guard, check_parts
from demur.guard.guard_graph import INPUT, SITE, GuardGraph, example, limits_of, sites_of
from demur.guard.onnx_check import FORMAT, VERSION, GraphFacts, Runtime, compare, golden_file
from demur.guard.traced_evidence import check_signals, refusal
from demur.policies import dump_policy
from demur.shapes import Images

OPSET = 18
"""The opset of exported graphs, which ONNX Runtime 1.14 and later run."""

_LARGEST = 2_000_000_000
"""Bytes that one file of ONNX may have."""

_CHATTY = ("torch.onnx", "torch.export", "onnxscript", "onnx_ir")


@dataclass(frozen=True, kw_only=True)
class OnnxExport:
    """An exported graph that ONNX Runtime was seen to run as the guard does.

    Attributes:
        path: of the graph.
        golden: of the golden vectors beside it.
        opset: of the graph.
        outputs: their names, in order.
        images: how many images were decided by guard and graph.
        near: of them so near a bound that they are decided otherwise by the two.
        largest: the largest difference of a score, as a share of what is allowed.
    """

    path: Path
    golden: Path
    opset: int
    outputs: tuple[str, ...]
    images: int
    near: int
    largest: float


def export_folder(folder: Path | str, path: Path | str, *, sha256: str | None = None) -> OnnxExport:
    """The guard in a folder as one ONNX graph, checked on the golden images of the folder.

    Args:
        folder: the guard's, every file of which must be as it was written.
        path: of the graph, ending in `.onnx`; `.golden.npz` is written beside it.
        sha256: the hash of the folder's list of files, where it is to be that one.
    """
    guard = Guard.load(folder, sha256=sha256)
    images, sites = golden_images(Path(folder), guard)
    return export_onnx(guard, path, images=images, sites=sites)


def export_onnx(
    guard: Guard, path: Path | str, *, images: Images | None = None, sites: Sequence[str | None] | None = None
) -> OnnxExport:
    """Write a guard as one ONNX graph, with golden vectors beside it; nothing is left that decides otherwise.

    The graph takes `images` (rows, channels, height, width) in [0, 1], float32, any number of them, and for a guard
    with a threshold for each site `site`, its position among the `sites` of the metadata, −1 where it is unknown.

    Args:
        guard: what; a signal that no graph can hold is refused by name before anything is traced.
        path: of the graph, ending in `.onnx`.
        images: those on which guard and graph are compared; made-up ones by default.
        sites: where each of them comes from.

    Raises:
        InputError: a signal or the policy cannot be exported, or the certificate has expired.
        ModelError: the model cannot be exported, or the graph decides otherwise than the guard.
        MissingExtraError: what exports and runs graphs is not installed.
    """
    target = Path(path)
    check(guard, target)
    away = guard.classifier.device.type != "cpu"  # some models do not bear a copy
    here = replace(guard, classifier=guard.classifier.to("cpu")) if away else guard
    shown = made_up(here) if images is None else here.intake.tensor(images)
    with torch.no_grad(), quiet():
        GuardGraph(here)(*example(here))  # what fails in a signal is named before anything is traced
        graph, content = exported(here)
        runtime, before = Runtime(content), golden_of(here, shown, sites)
        found = compare(GraphFacts.read(runtime.metadata), before, runtime(before))
    _refuse_differences(found)
    write_atomically(golden_file(target), packed(before))
    write_atomically(target, content)
    return OnnxExport(
        path=target,
        golden=golden_file(target),
        opset=OPSET,
        outputs=graph.outputs,
        images=found.images,
        near=found.near,
        largest=found.largest,
    )


def check(guard: Guard, path: Path) -> None:
    """Refuse what cannot be exported, before anything is traced.

    Raises:
        InputError: a signal, the policy, the day or the name of the file stands against it.
        MissingExtraError: what exports and runs graphs is not installed.
    """
    if path.suffix != ".onnx":
        raise InputError(f"the file of an exported guard ends in .onnx; got {path.name!r}. Rename it.")
    check_parts(guard)
    check_signals(guard.signals)
    limits_of(guard.policy)
    if guard.expired:
        raise InputError(
            f"the certificate of this guard ended on {guard.card.expires}, and a graph has no calendar. Fit it again."
        )
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError:
        raise missing_extra("exporting a guard", "onnx") from None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """What the exporter warns, logs and prints inside is not passed along."""
    loggers = [logging.getLogger(name) for name in _CHATTY]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def exported(guard: Guard) -> tuple[GuardGraph, bytes]:
    """The graph of a guard, as a module and as the content of a file.

    Raises:
        InputError: a signal cannot be exported; it is named.
        ModelError: the model cannot.
    """
    graph = GuardGraph(guard)
    try:
        proto = _proto(graph, example(guard))
    except DemurError:
        raise
    except Exception as error:  # tracing runs foreign code, which may raise anything
        raise _blamed(guard, error) from error
    return graph, _content(proto, _metadata(guard, graph))


def _proto(graph: GuardGraph, inputs: tuple[Tensor, ...]) -> Any:
    """The graph as the exporter makes it, constants worked out and what occurs twice kept once."""
    from onnx_ir.passes import common
    from onnxscript import optimizer

    rows = torch.export.Dim("rows", min=2, max=1 << 20)
    program = torch.export.export(graph, inputs, dynamic_shapes=tuple({0: rows} for _ in inputs), strict=False)
    if any(node.target is torch.ops.aten.cdist.default for node in program.graph.nodes):  # it takes as long as a trace
        program = program.run_decompositions({torch.ops.aten.cdist.default: distances})
    names = [INPUT, SITE][: len(inputs)]
    made = torch.onnx.export(
        program, input_names=names, output_names=graph.outputs, opset_version=OPSET, optimize=False, verbose=False
    )
    assert made is not None
    optimizer.fold_constants(made.model)
    for each in (
        common.CommonSubexpressionEliminationPass(),
        common.RemoveUnusedNodesPass(),
        common.LiftConstantsToInitializersPass(),
        common.ClearMetadataAndDocStringPass(),  # it names files of this machine
    ):
        each(made.model)
    return made.model_proto


def distances(x: Tensor, bank: Tensor, p: float = 2.0, compute_mode: int | None = None) -> Tensor:
    """Distances (rows, images) of x (rows, width) from a bank (images, width), in as much memory as they take.

    By products in float64 around the centre of the bank: of distances d among points of spread s the error is about
    1e−16·(d² + s²)/d, far below that of features in float32.
    """
    if p != 2:
        raise InputError(f"distances of order {p} are not exported; only Euclidean ones are. Take another signal.")
    del compute_mode
    centre = bank.mean(dim=0)
    a, b = x - centre, bank - centre
    squares = a.square().sum(dim=1)[:, None] + b.square().sum(dim=1)
    return (squares - 2 * a @ b.T).clamp(min=0).sqrt()


def _blamed(guard: Guard, error: Exception) -> DemurError:
    """The error that names the signal that cannot be exported even alone, or else the model."""
    for name in guard.signals:
        try:
            _proto(GuardGraph(guard, (name,)), example(guard))
        except DemurError as found:
            return found
        except Exception as found:  # noqa: BLE001 - it is said as the reason
            if _exports_alone(guard):
                return refusal(name, reason(found))
            break
    return ModelError(
        f"the model {guard.classifier.name} cannot be exported: {reason(error)}. Use the guard as it is, by Guard.load."
    )


def _exports_alone(guard: Guard) -> bool:
    try:
        _proto(GuardGraph(guard, ()), example(guard))
    except Exception:  # noqa: BLE001 - whatever it is, the model is to blame
        return False
    return True


def _content(proto: Any, metadata: Mapping[str, str]) -> bytes:
    import onnx

    onnx.helper.set_model_props(proto, dict(metadata))
    proto.producer_name, proto.producer_version = "demur", version("demur")
    del proto.graph.value_info[:]
    for each in (*proto.graph.input, *proto.graph.output):
        each.type.tensor_type.shape.dim[0].dim_param = "rows"
    if proto.ByteSize() > _LARGEST:
        raise ModelError(
            f"this guard makes a graph of {proto.ByteSize():,} bytes, and one file of ONNX holds {_LARGEST:,}. Fit it "
            "with fewer reference images, or use it as it is, by Guard.load."
        )
    return bytes(proto.SerializeToString(deterministic=True))


def _metadata(guard: Guard, graph: GuardGraph) -> dict[str, str]:
    """What a graph says of itself; everything but plain text is JSON."""
    facts: dict[str, Any] = {
        "bounds": {name: limit.tolist() for name, limit in limits_of(guard.policy).items()},
        "classes": guard.classifier.classes,
        "decoding": asdict(guard.intake.rules),
        "input_shape": guard.classifier.input_shape,
        "outputs": graph.outputs,
        "policy": dump_policy(guard.policy),
        "sites": sites_of(guard.policy),
        "temperature": guard.temperature,
        "tolerances": {name: asdict(each) for name, each in guard.tolerances.items()},
        "void_when": guard.card.void_when,
    }
    return {
        "format": FORMAT,
        "format_version": VERSION,
        "demur": version("demur"),
        "certificate": guard.policy.certificate.sentence,
        "expires": guard.card.expires or "",
        "model_sha256": guard.sha256,
        "opset": str(OPSET),
        **{name: json.dumps(value, sort_keys=True) for name, value in facts.items()},
    }


def _refuse_differences(found: SelfTest) -> None:
    if not found.passed:
        raise ModelError(
            f"ONNX Runtime decides {len(found.differences)} times otherwise than this guard on {found.images} images: "
            f"{found.differences[0]}. Nothing was written; use the guard as it is, by Guard.load."
        )
