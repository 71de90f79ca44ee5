"""`export:FILE[?…]`: a program of `torch.export` in a `.pt2` archive, of which nothing is unpickled."""

import io
import json
import re
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from demur.adapters.archive_members import check_file, members_of
from demur.adapters.declarations import Declaration
from demur.adapters.program_files import bound_program, declared_shape, file_of, named_options
from demur.classifier import BoundClassifier
from demur.classifier.first_answer import made_up_images
from demur.errors import ModelError
from demur.foreign import reason
from demur.registry import Address

_SAMPLES = "/data/sample_inputs/"
"""The part of an exported program that is a pickle; it answers without."""

_PLAIN = re.compile(
    r"[^/]+/(data/weights/weight_\d+|data/constants/tensor_\d+|data/(weights|constants)/\w+\.json|models/\w+\.json"
    r"|archive_format|archive_version|byteorder|version|\.data/(version|serialization_id|\w+))"
)
"""The records of a program that hold numbers and JSON, none of which is unpickled."""

_MODEL = re.compile(r"[^/]+/models/\w+\.json")
_SAME = 1e-5


def load_exported(address: Address, classes: Sequence[str], input_shape: tuple[int, int, int]) -> BoundClassifier:
    """The classifier at an `export:` address; it has gradients, and its layers where they can be told apart.

    Raises:
        AddressError: there is no such file.
        ModelError: something in it would be unpickled, it is no such program, or it breaks the contract.
    """
    path = file_of(address)
    options = named_options(address, classes, input_shape)
    check_file(path, "exported program")
    refuse_pickles(path, "Export and save the model again, with a torch of 2.8 or newer.", samples=True)
    program = _read(path)
    probe = probe_of(program, options.input_shape)
    module, said = with_layers(program, probe)
    return bound_program(options, module, path, [f"the exported program in {path.name} is run", *said], probe.dtype)


def declare_exported(address: Address) -> Declaration:
    """The shape that the program says it takes, and how many outputs it has."""
    path = file_of(address)
    check_file(path, "exported program")
    members_of(path, "archive of an exported program")
    with zipfile.ZipFile(path) as archive:
        entry = next((each for each in archive.infolist() if _MODEL.fullmatch(each.filename)), None)
        text = b"{}" if entry is None else archive.read(entry)
    try:
        graph = json.loads(text)["graph_module"]["graph"]
        taken, put = (_sides(graph, each[-1]) for each in (graph["inputs"], graph["outputs"]))
    except (ValueError, LookupError, TypeError):  # of another version; the program itself is read nevertheless
        return Declaration()
    known = len(taken) == 4 and all(taken[1:])
    shape = (int(taken[1] or 0), int(taken[2] or 0), int(taken[3] or 0)) if known else None
    return declared_shape("the program", shape, put[-1] if len(put) == 2 else None)


def _sides(graph: Any, tensor: Any) -> list[int | None]:
    """The sides of a tensor of a graph; None where any will do."""
    return [side.get("as_int") for side in graph["tensor_values"][tensor["as_tensor"]["name"]]["sizes"]]


def _read(path: Path) -> torch.export.ExportedProgram:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch says of its own parts
            return torch.export.load(io.BytesIO(without_samples(path.read_bytes())))
    except Exception as error:  # noqa: BLE001 - a damaged archive may raise anything
        raise ModelError(f"{path} cannot be loaded as an exported program: {reason(error)}. Export it again.") from None


def with_layers(program: torch.export.ExportedProgram, probe: Tensor) -> tuple[nn.Module, list[str]]:
    """A program as a module with the layers it was exported from, where such a module answers the same; else flat.

    Args:
        program: as it was loaded.
        probe: as many images as it takes.
    """
    flat, why = program.module(), "they answer otherwise"
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")  # as above
            layered = torch.export.unflatten(program)
            if torch.allclose(flat(probe), layered(probe), rtol=_SAME, atol=_SAME):
                return evaluated(layered), []
    except Exception as error:  # noqa: BLE001 - what torch cannot take apart is run whole, which is said
        why = reason(error)
    return evaluated(flat), [f"its layers cannot be told apart ({why}), so nothing is known of them"]


def probe_of(program: torch.export.ExportedProgram, input_shape: tuple[int, int, int]) -> Tensor:
    """As many made-up images as a program takes, in its precision; two where it takes any number."""
    inputs = program.graph_signature.user_inputs
    sizes = [node.meta["val"].shape[:1] for node in program.graph.nodes if node.name in inputs and "val" in node.meta]
    rows = next((size[0] for size in sizes if len(size) and isinstance(size[0], int)), 2)
    weights = (each for each in program.state_dict.values() if each.is_floating_point())
    dtype = next((each.dtype for each in weights), torch.float32)
    return made_up_images(input_shape, torch.device("cpu"), dtype)[:1].repeat(rows, 1, 1, 1)


def evaluated(module: nn.Module) -> nn.Module:
    """The module of an exported program, marked as in evaluation mode, in which it was exported, and made copyable."""
    for layer in module.modules():
        layer.training = False  # a flag alone: `eval` of an exported program raises
        graph = getattr(layer, "graph", None)
        for node in graph.nodes if isinstance(graph, torch.fx.Graph) else ():
            node.meta.clear()  # tensors without values, which cannot be copied and are of no use any more
    return module


def without_samples(archive: bytes) -> bytes:
    """The archive of a program with nothing in the place of its pickled sample inputs."""
    kept = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as source, zipfile.ZipFile(kept, "w", zipfile.ZIP_STORED) as target:
        for entry in source.infolist():
            content = b"" if _SAMPLES in entry.filename else source.read(entry)
            target.writestr(zipfile.ZipInfo(entry.filename), content)
    return kept.getvalue()


def refuse_pickles(path: Path, way_out: str, *, samples: bool = False) -> None:
    """Refuse an archive that has anything in it that would be unpickled.

    Args:
        path: of the archive.
        way_out: what to do where it has.
        samples: whether pickled sample inputs are borne, because they will be left out.

    Raises:
        ModelError: it has, it is no archive, or a member would leave it.
    """
    members = members_of(path, "archive of an exported program")
    with zipfile.ZipFile(path) as archive:
        pickled = [each.filename for each in members if _is_pickled(archive, each, samples=samples)]
    if pickled:
        raise ModelError(
            f"{path} has something inside that would be unpickled ({pickled[0]}), and reading a pickle runs whatever "
            f"code it contains. {way_out}"
        )


def _is_pickled(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, *, samples: bool) -> bool:
    if _SAMPLES in entry.filename:
        return not samples and entry.file_size > 0
    if not _PLAIN.fullmatch(entry.filename):
        return True
    configured = entry.filename.endswith("_config.json")
    return configured and any(_asks_for_pickles(json.loads(archive.read(entry))))


def _asks_for_pickles(config: Any) -> Iterator[bool]:
    entries = config.get("config", {}) if isinstance(config, dict) else {}
    return (bool(entry.get("use_pickle", True)) for entry in entries.values())
