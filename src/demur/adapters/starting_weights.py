"""Weights that a training starts from: a network beneath a head that is new where the number of classes is another."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from demur.adapters.weights import copy_weights


@dataclass(frozen=True, eq=False)
class Start:
    """A network before its first step.

    Attributes:
        network: what is trained.
        pretrained: whether it starts, or may start, from weights and not from chance.
        head: the names of parameters that no weights were for; empty where all were.
        words: sentences on where its weights come from.
    """

    network: nn.Module
    pretrained: bool = False
    head: frozenset[str] = frozenset()
    words: tuple[str, ...] = ()


def copy_beneath_head(network: nn.Module, tensors: Mapping[str, Tensor], whose: str, classes: int) -> Start:
    """Copy tensors into a network of other classes: layers whose outputs are the classes stay as they are.

    Raises:
        ModelError: another tensor is missing, unknown or of another shape; `whose` is what the error calls them.
    """
    wanted = network.state_dict()
    outputs = {
        name: tensors[name].shape[0] for name, tensor in wanted.items() if _counts_classes(tensor, tensors.get(name))
    }
    heads = {
        layer for layer in map(_layer, outputs) if {wanted[name].shape[0] for name in _of(layer, wanted)} == {classes}
    }
    own = {name: tensor for name, tensor in wanted.items() if _layer(name) in heads}
    copy_weights(network, {**tensors, **own}, whose)
    words = _words(heads, outputs, whose, classes)
    return Start(network, pretrained=True, head=frozenset(own), words=tuple(words))


def copy_backbone(network: nn.Module, tensors: Mapping[str, Tensor], part: str, whose: str) -> Start:
    """Copy tensors into one part of a network; the rest of it is new."""
    inner = network.get_submodule(part)
    copy_weights(inner, {name: tensor for name, tensor in tensors.items() if name in inner.state_dict()}, whose)
    head = frozenset(name for name, _ in network.named_parameters() if not name.startswith(f"{part}."))
    return Start(network, pretrained=True, head=head, words=(f"its {part} starts from {whose}, the rest is new",))


def _counts_classes(tensor: Tensor, other: Tensor | None) -> bool:
    """Whether two tensors differ in their first length alone."""
    return other is not None and tensor.ndim > 0 and other.shape[1:] == tensor.shape[1:] and len(other) != len(tensor)


def _layer(name: str) -> str:
    return name.rpartition(".")[0]


def _of(layer: str, names: Mapping[str, Tensor]) -> list[str]:
    return [name for name in names if _layer(name) == layer]


def _words(heads: set[str], outputs: Mapping[str, int], whose: str, classes: int) -> list[str]:
    """What is new; a head that fits is kept, and that is worth saying too."""
    if not heads:
        return [f"all of it starts from {whose}"]
    return [
        f"a new head: {layer or 'the whole network'} has {classes:,} outputs here and "
        f"{next(count for name, count in outputs.items() if _layer(name) == layer):,} in {whose}"
        for layer in sorted(heads)
    ]
