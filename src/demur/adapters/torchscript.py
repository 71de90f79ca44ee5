"""`torchscript:FILE[?…]`: a program of `torch.jit.script` or `torch.jit.trace`."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from demur.adapters.archive_members import check_file, members_of
from demur.adapters.program_files import bound_program, file_of, named_options
from demur.classifier import BoundClassifier
from demur.errors import ModelError
from demur.foreign import reason
from demur.registry import Address


def load_torchscript(address: Address, classes: Sequence[str], input_shape: tuple[int, int, int]) -> BoundClassifier:
    """The classifier at a `torchscript:` address; it has gradients and hides its layers.

    Raises:
        AddressError: there is no such file.
        ModelError: it is no such program, or breaks the contract of a classifier.
    """
    path = file_of(address)
    options = named_options(address, classes, input_shape)
    module = _read(path)
    dtype = next((each.dtype for each in module.parameters() if each.is_floating_point()), torch.float32)
    return bound_program(options, Scripted(module), path, [f"the TorchScript code in {path.name} is run"], dtype)


class Scripted(nn.Module):
    """A program of torch.jit as a module that can be copied and given a note of where it came from."""

    def __init__(self, program: nn.Module) -> None:
        super().__init__()
        self.program = program.eval()
        self.training = False

    def forward(self, images: torch.Tensor) -> object:
        """What the program answers."""
        return self.program(images)


def _read(path: Path) -> nn.Module:
    check_file(path, "TorchScript program")
    names = [each.filename for each in members_of(path, "TorchScript program")]
    if not any("/code/" in name for name in names):
        raise ModelError(
            f"{path} holds no TorchScript code. Weights alone belong behind an architecture: "
            f"module:PKG.MOD:FACTORY@{path}."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch.jit is no longer recommended; its files are read nevertheless
            return torch.jit.load(str(path), map_location="cpu")  # type: ignore[no-untyped-call]
    except Exception as error:  # noqa: BLE001 - a damaged archive may raise anything
        raise ModelError(f"{path} cannot be loaded as a TorchScript program: {reason(error)}. Save it again.") from None
