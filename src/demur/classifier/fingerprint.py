"""A hash that tells two classifiers apart."""

import hashlib
from dataclasses import asdict

import torch
from torch import Tensor, nn

from demur.classifier.contract import Contract


def fingerprint(module: nn.Module, contract: Contract) -> str:
    """The sha256 of layers, weights, buffers and contract, whatever their order, device or memory layout.

    Counters of seen batches are left out: they do not take part in an answer, and some files do not carry them.
    """
    digest = hashlib.sha256()
    for field, value in sorted(asdict(contract).items()):
        digest.update(f"{field}={value!r};".encode())
    for name, layer in sorted(module.named_modules(), key=lambda pair: pair[0]):
        digest.update(f"{name}:{type(layer).__name__};".encode())
    for name, tensor in sorted(module.state_dict().items()):
        if isinstance(tensor, Tensor) and not name.endswith("num_batches_tracked"):
            digest.update(f"{name}:{tensor.dtype}{tuple(tensor.shape)};".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
