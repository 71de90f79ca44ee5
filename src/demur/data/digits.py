"""The 1,797 handwritten digits bundled with scikit-learn, 8×8 grey.

Alpaydin and Kaynak (1998), "Optical recognition of handwritten digits", UCI repository.
"""

import torch

from demur.data.memory import TensorSource, from_tensors
from demur.errors import AddressError, missing_extra
from demur.registry import Address


def open_source(address: Address) -> TensorSource:
    """All of them; pixel counts 0 to 16 are divided by 16."""
    address.only(())
    if address.location or address.weights:
        raise AddressError(
            f"`digits` is bundled and takes no location; got {address.location!r}. Write `digits` alone."
        )
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise missing_extra("the digits data", "digits") from None
    bunch = load_digits()
    images = torch.from_numpy(bunch.images).float().unsqueeze(1) / 16
    return from_tensors(images, torch.from_numpy(bunch.target), classes=[str(k) for k in range(10)], name="digits")
