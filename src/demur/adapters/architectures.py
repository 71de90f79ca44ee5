"""Architectures to be trained: `resnet20`, `zoo:NAME`, `module:PKG.MOD:FACTORY`, with weights to start from or not."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

from demur.adapters.address_options import Options
from demur.adapters.own_module import build_own
from demur.adapters.weights import load_weights
from demur.adapters.zoo import build_from_zoo
from demur.errors import AddressError
from demur.registry import Address, kind_of, names

_OPTIONS = ("mean", "std", "features", "name")
"""What may be said of a network to be trained: shape and classes are those of the data, and it puts out logits."""

_BUILDERS = {"module": build_own, "zoo": build_from_zoo}


@dataclass(frozen=True)
class Architecture:
    """A network to be made for some data.

    Attributes:
        address: what was asked for; `weights` in it are those to start from.
        options: what it is made for.
    """

    address: Address
    options: Options

    @classmethod
    def read(cls, text: str, *, classes: Sequence[str], input_shape: tuple[int, int, int]) -> "Architecture":
        """The architecture at an address; a bare name is one of the zoo's.

        Raises:
            AddressError: the address leads nowhere, or to a classifier that is not built from an architecture.
        """
        known = ":" in text and kind_of(text.partition(":")[0], "model") is not None
        address = Address.parse(text if known else f"zoo:{text}", "model")
        if address.scheme not in _BUILDERS:
            raise AddressError(
                f"{text!r} is a finished classifier. Name an architecture to train: one of "
                f"{', '.join(names('architecture'))}, or module:PKG.MOD:FACTORY."
            )
        address.only(_OPTIONS)
        return cls(address, Options.read(address, classes, input_shape))

    @property
    def name(self) -> str:
        """Scheme, place and weights to start from."""
        start = f"@{self.address.weights}" if self.address.weights else ""
        return f"{self.address.scheme}:{self.address.location}{start}{self._query}"

    @property
    def _query(self) -> str:
        query = "&".join(f"{key}={value}" for key, value in self.address.options.items())
        return f"?{query}" if query else ""

    def build(self) -> nn.Module:
        """A new network; its initial weights are drawn from torch's global stream where none were named."""
        options = self.options
        made = _BUILDERS[self.address.scheme](self.address.location, options.input_shape[0], len(options.classes))
        if self.address.weights is not None:
            load_weights(made, self.address.weights)
        return made

    def trained(self, weights: str) -> str:
        """The address of the classifier with weights of this architecture."""
        return f"{self.address.scheme}:{self.address.location}@{weights}{self._query}"
