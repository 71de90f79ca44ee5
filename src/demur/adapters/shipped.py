"""`fashion`: the classifier that comes with demur."""

from collections.abc import Sequence
from importlib.resources import as_file, files

from demur.adapters.options import Options
from demur.adapters.weights import load_weights, read_metadata
from demur.classifier import Classifier
from demur.errors import ModelError
from demur.registry import Address
from demur.zoo.compact_resnet import CompactResNet

_INPUT_SHAPE = (1, 28, 28)


def load(address: Address, classes: Sequence[str], input_shape: tuple[int, int, int]) -> Classifier:
    """The shipped classifier of Fashion-MNIST; it takes no options and fits no other images."""
    address.only(())
    with as_file(files("demur.zoo") / "weights" / f"{address.scheme}.safetensors") as path:
        named = tuple(read_metadata(str(path))["classes"].split(","))
        if input_shape != _INPUT_SHAPE or len(classes) != len(named):
            raise ModelError(
                f"the shipped model 'fashion' reads images of shape {_INPUT_SHAPE} in {len(named)} classes; the data "
                f"has shape {input_shape} and {len(classes)} classes. Name your own model: zoo:NAME@FILE or "
                "module:PKG.MOD:FACTORY@FILE."
            )
        module = CompactResNet(channels=_INPUT_SHAPE[0], classes=len(named))
        load_weights(module, str(path))
    return Options.read(address, named, _INPUT_SHAPE).wrap(module)
