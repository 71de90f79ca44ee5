"""Fashion-MNIST: the 10,000 test images, bundled.

Xiao, Rasul and Vollgraf (2017), arXiv:1708.07747. MIT licence, in the NOTICE beside the files.
"""

from pathlib import Path

from demur.data.idx import IdxSource, open_idx
from demur.errors import AddressError
from demur.registry import Address

CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


def open_source(address: Address) -> IdxSource:
    """Open the bundled test images; the 60,000 training images are read from a folder with `idx:FOLDER?split=train`."""
    address.only(())
    if address.location or address.weights:
        raise AddressError(
            f"`fashion` is bundled and takes no location; got {address.location!r}. Write `fashion` alone, or "
            f"`idx:{address.location}` to read a folder of IDX files."
        )
    return open_idx(Path(__file__).parent, "test", "fashion", CLASSES)
