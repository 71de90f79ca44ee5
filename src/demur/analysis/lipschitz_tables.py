"""How fast the answer can change at most, and how fast it was seen to."""

from demur.analysis.table import Number, Quantity, Table


class LayerNorm(Table):
    """One linear piece of the network: the layers folded into it and its operator norm in L2."""

    name: str
    layers: tuple[str, ...]
    kind: str
    norm: Number
    iterations: int
    converged: bool


class Lipschitz(Table):
    """From L2 of pixels in [0, 1] to L2 of logits.

    `upper` is the product through the network, null with the `reason` where a layer has no known constant; `lower` the
    largest norm of the Jacobian seen, `median` of the seen ones. `certified` is the median radius that `upper` proves,
    `found` the median smallest L2 change where a search found one; both of the images that were right.
    """

    layers: tuple[LayerNorm, ...]
    upper: Number
    reason: str | None
    lower: Number
    median: Quantity
    images: int
    certified: Number
    found: Number
    found_by: str | None
    sentence: str
