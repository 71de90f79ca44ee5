"""Requests and answers of the Open Inference Protocol v2: images in, decisions out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from demur.serve.http_errors import RequestError
from demur.serve.json_answers import json_text
from demur.serve.picture_limits import check_images
from demur.serve.predict_route import picture_of
from demur.serve.request_bodies import ELEMENTS, json_of, text_of
from demur.serve.served_guard import LoadedGuard
from demur.serve.service import Answers, Intake
from demur.serve.tensor_codec import (
    HEADER,
    Tensor,
    binary_size,
    elements_of_bytes,
    floats_of_bytes,
    floats_of_json,
    json_length,
    shape_of,
)

IMAGES, PICTURES = "images", "pictures"
OUTPUTS = {
    "label": "BYTES", "accepted": "BOOL", "reason": "BYTES", "predicted": "INT64", "predicted_label": "BYTES",
    "confidence": "FP32", "scores": "FP64", "near": "BOOL", "id": "BYTES",
}  # fmt: skip
_DATATYPES = {IMAGES: "FP32", PICTURES: "BYTES"}


@dataclass(frozen=True, kw_only=True, eq=False)
class Inference:
    """What is asked.

    Attributes:
        images: pictures, or an array of images.
        id: the client's own, given back.
        outputs: name → whether it is wanted as binary data, in order.
        site: where the images come from, of the parameters.
        sequence: what they are frames of, of the parameters.
    """

    images: Intake
    id: str | None = None
    outputs: Mapping[str, bool] = field(default_factory=dict)
    site: str | None = None
    sequence: str | None = None


def metadata(loaded: LoadedGuard) -> dict[str, Any]:
    """What the protocol tells of a model."""
    signals = len(loaded.guard.policy.signals)
    wide = {"scores": [-1, signals]}
    return {
        "name": loaded.name,
        "versions": [loaded.version],
        "platform": "demur_guard",
        "inputs": [
            {"name": IMAGES, "datatype": "FP32", "shape": [-1, *loaded.guard.intake.input_shape]},
            {"name": PICTURES, "datatype": "BYTES", "shape": [-1]},
        ],
        "outputs": [{"name": name, "datatype": kind, "shape": wide.get(name, [-1])} for name, kind in OUTPUTS.items()],
        "parameters": {
            "guard_sha256": loaded.sha256,
            "model_sha256": loaded.guard.sha256,
            "signals": ", ".join(loaded.guard.policy.signals),
            "one_input": f"either {IMAGES} (pixels in [0, 1]) or {PICTURES} (files; in JSON as base64)",
        },
    }


def inference_of(content: bytes, header: str | None, images: int, numbers: int) -> Inference:
    """What a body asks, about so many images at most, each of so many numbers.

    Raises:
        RequestError: it cannot be read, or has too many images; the message of a binary one names its header.
    """
    length = json_length(header, content)
    found = json_of(content[:length], _json_part(header, length), ELEMENTS + images * numbers)
    if not isinstance(found, dict):
        raise RequestError(422, f"an inference request is a JSON object with `inputs`; got {type(found).__name__}.")
    parameters = _parameters("the request", found)
    return Inference(
        images=_input(found.get("inputs"), content[length:], images, binary=header is not None),
        id=text_of(found, "id", least=0),
        outputs=_outputs(found.get("outputs"), default=_flag(parameters, "binary_data_output")),
        site=text_of(parameters, "site"),
        sequence=text_of(parameters, "sequence"),
    )


def _json_part(header: str | None, length: int) -> str:
    if header is None:
        return f"the body (without {HEADER} all of it is JSON; with binary tensors that header says how much is)"
    return f"the first {length} bytes of the body ({HEADER})"


def _parameters(of: str, found: Mapping[str, Any]) -> dict[str, Any]:
    parameters = found.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise RequestError(422, f"the `parameters` of {of} are an object; got {str(parameters)[:60]!r}.")
    return parameters


def _flag(parameters: Mapping[str, Any], name: str) -> bool | None:
    value = parameters.get(name)
    if value is not None and not isinstance(value, bool):
        raise RequestError(422, f"the parameter `{name}` is true or false; got {str(value)[:40]!r}.")
    return value


def _input(inputs: object, binary_data: bytes, most: int, *, binary: bool) -> Intake:
    """The images of the one input."""
    if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
        raise RequestError(
            422, f"`inputs` has one tensor, either {IMAGES!r} (FP32) or {PICTURES!r} (BYTES); got {_count(inputs)}."
        )
    tensor = inputs[0]
    name, datatype = tensor.get("name"), tensor.get("datatype")
    if not isinstance(name, str) or _DATATYPES.get(name) != datatype:
        raise RequestError(
            422,
            f"an input is {IMAGES!r} of FP32 or {PICTURES!r} of BYTES; got {str(name)[:40]!r} of "
            f"{str(datatype)[:20]!r}. GET the model's metadata for its inputs.",
        )
    shape = shape_of(name, tensor.get("shape"))
    check_images(shape[0], most)
    size = binary_size(name, _parameters(f"input {name!r}", tensor))
    if size is None:
        if binary_data:
            raise RequestError(
                422,
                f"{len(binary_data):,} bytes follow the JSON, and no input has a binary_data_size. Say it, or correct "
                f"{HEADER}.",
            )
        return _of_json(name, shape, tensor.get("data"))
    if not binary or size != len(binary_data):
        raise RequestError(
            400,
            f"input {name!r} has {size:,} bytes of binary data, and {len(binary_data):,} follow the JSON"
            + ("" if binary else f": the header {HEADER} is missing")
            + f". Set {HEADER} to the length of the JSON, and binary_data_size to that of the tensor.",
        )
    if name == PICTURES:
        return elements_of_bytes(name, _rows(shape), binary_data)
    return floats_of_bytes(name, shape, binary_data)


def _count(inputs: object) -> str:
    return f"{len(inputs)}" if isinstance(inputs, list) else type(inputs).__name__


def _of_json(name: str, shape: tuple[int, ...], data: object) -> Intake:
    if name == IMAGES:
        return floats_of_json(name, shape, data)
    if not isinstance(data, list) or len(data) != _rows(shape) or not all(isinstance(each, str) for each in data):
        raise RequestError(
            422, f"BYTES input {name!r} of shape {list(shape)} has as many pictures in base64 in `data`; got "
            f"{_count(data)}."
        )  # fmt: skip
    return [picture_of(each, place) for place, each in enumerate(data)]


def _rows(shape: tuple[int, ...]) -> int:
    """How many pictures a BYTES tensor has: (n,), or (n, 1) as some clients send it."""
    if len(shape) > 2 or (len(shape) == 2 and shape[1] != 1):
        raise RequestError(422, f"the shape of {PICTURES!r} is [n]; got {list(shape)}.")
    return shape[0]


def _outputs(outputs: object, *, default: bool | None) -> dict[str, bool]:
    """Which outputs are wanted, and whether as binary data; all of them where none is named."""
    if outputs is None or outputs == []:
        return dict.fromkeys(OUTPUTS, bool(default))
    if not isinstance(outputs, list) or not all(isinstance(each, dict) for each in outputs):
        raise RequestError(422, f"`outputs` is a list of objects with a `name`; got {str(outputs)[:60]!r}.")
    found = dict[str, bool]()
    for each in outputs:
        name = each.get("name")
        if not isinstance(name, str) or name not in OUTPUTS:
            raise RequestError(422, f"unknown output {str(name)[:60]!r}. Known: {', '.join(OUTPUTS)}.")
        own = _flag(_parameters(f"output {name!r}", each), "binary_data")
        found[name] = bool(default if own is None else own)
    return found


def tensors_of(answers: Answers) -> dict[str, Tensor]:
    """Every output."""
    made, n = answers.decisions, len(answers.decisions)
    scores = np.stack([made.scores[name] for name in answers.loaded.guard.policy.signals], axis=1)
    values: dict[str, Any] = {
        "label": [_bytes(label) for label in made.answers],
        "accepted": made.accepted,
        "reason": [_bytes(reason) for reason in made.reasons.tolist()],
        "predicted": made.predicted,
        "predicted_label": [_bytes(label) for label in made.labels],
        "confidence": made.confidence.astype(np.float32),
        "scores": scores,
        "near": made.near,
        "id": [_bytes(each) for each in answers.ids],
    }
    shapes = {"scores": scores.shape}
    return {
        name: Tensor(name=name, datatype=kind, shape=shapes.get(name, (n,)), values=values[name])
        for name, kind in OUTPUTS.items()
    }


def _bytes(text: str | None) -> bytes:
    return (text or "").encode("utf-8", "replace")


def answer_of(asked: Inference, answers: Answers, request: str) -> tuple[bytes, dict[str, str]]:
    """The body of an answer and its headers; binary tensors follow the JSON in the order of the outputs."""
    tensors, listed, packed = tensors_of(answers), list[dict[str, Any]](), list[bytes]()
    for name, binary in asked.outputs.items():
        tensor = tensors[name]
        entry: dict[str, Any] = {"name": name, "datatype": tensor.datatype, "shape": list(tensor.shape)}
        if binary:
            packed.append(tensor.packed)
            listed.append({**entry, "parameters": {"binary_data_size": len(packed[-1])}})
        else:
            listed.append({**entry, "data": tensor.listed})
    head = {
        "model_name": answers.loaded.name,
        "model_version": answers.loaded.version,
        **({} if asked.id is None else {"id": asked.id}),
        "parameters": {"guard_sha256": answers.loaded.sha256, "request": request},
        "outputs": listed,
    }
    text = json_text(head)
    if not packed:
        return text, {"Content-Type": "application/json"}
    return text + b"".join(packed), {"Content-Type": "application/octet-stream", HEADER: str(len(text))}
