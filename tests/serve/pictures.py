"""Pictures of the tiny net's images, as PNG files, and requests about them."""

import base64
import json
import struct
import zlib

import numpy as np
from tests import guarded

from demur.guard.golden_vectors import as_file


def mixed(rows):
    """Images from the surest to the least sure, (rows, 1, 8, 8): some are abstained from."""
    order = np.argsort(guarded.scores_and_errors()[0])
    return guarded.images(len(order))[order[np.linspace(0, len(order) - 1, rows).astype(int)]]


def pngs(rows):
    """The same as files, at the 256 levels that a PNG has."""
    return [as_file((image * 255).round() / 255)[1] for image in mixed(rows)]


def form(pictures, **fields):
    """What a client posts to /predict."""
    files = [("images", (f"{place}.png", picture, "image/png")) for place, picture in enumerate(pictures)]
    return {"files": files, "data": fields}


def encoded(pictures):
    return [base64.b64encode(picture).decode() for picture in pictures]


def tensor(images, **parameters):
    return {"name": "images", "datatype": "FP32", "shape": list(images.shape), "parameters": parameters}


def binary(images, **request):
    """Body and headers of a binary inference."""
    content = np.ascontiguousarray(images, "<f4").tobytes()
    head = json.dumps({"inputs": [tensor(images, binary_data_size=len(content))], **request}).encode()
    return {"content": head + content, "headers": {"Inference-Header-Content-Length": str(len(head))}}


def outputs(answer):
    """Name → flat values of an inference's answer, binary or not."""
    length = answer.headers.get("Inference-Header-Content-Length")
    content = answer.content
    head = json.loads(content if length is None else content[: int(length)])
    rest, found = content[int(length or len(content)) :], {}
    for each in head["outputs"]:
        if "data" in each:
            found[each["name"]] = each["data"]
            continue
        size = each["parameters"]["binary_data_size"]
        found[each["name"]], rest = _unpacked(each["datatype"], rest[:size]), rest[size:]
    assert rest == b""
    return head, found


def _unpacked(datatype, content):
    if datatype != "BYTES":
        dtypes = {"BOOL": "?", "FP32": "<f4", "FP64": "<f8", "INT64": "<i8"}
        return np.frombuffer(content, dtypes[datatype]).tolist()
    found = []
    while content:
        size = int.from_bytes(content[:4], "little")
        found.append(content[4 : 4 + size].decode())
        content = content[4 + size :]
    return found


def bomb(side):
    """A PNG that says it has so many grey pixels each way; it has the first lines of them."""
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    packer = zlib.compressobj(9)
    rows = [packer.compress(bytes(side + 1)) for _ in range(min(side, 400))]
    body = b"".join(rows) + packer.flush()
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(part)) + kind + part + struct.pack(">I", zlib.crc32(kind + part))
        for kind, part in ((b"IHDR", head), (b"IDAT", body), (b"IEND", b""))
    )
