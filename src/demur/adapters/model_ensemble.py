"""`ensemble:ADDRESS,ADDRESS,…`: several models as one classifier, which answers with their mean probability."""

from collections import Counter
from collections.abc import Sequence

from demur.adapters import load_model
from demur.classifier import BoundClassifier
from demur.classifier.mean_probability import ensemble
from demur.errors import AddressError, brief
from demur.registry import Address
from demur.registry.addresses import member_addresses


def load_ensemble(address: Address, classes: Sequence[str], input_shape: tuple[int, int, int]) -> BoundClassifier:
    """The classifier at an `ensemble:` address.

    Raises:
        AddressError: fewer than two members, or one that is no model address.
        ModelError: members that do not fit together.
    """
    texts = member_addresses(address.location)
    if len(texts) < 2:
        raise AddressError(
            f"ensemble:{brief(address.location)} must name at least two models with commas between, and has "
            f"{len(texts)}. Write ensemble:zoo:resnet20@A.safetensors,zoo:resnet20@B.safetensors; a comma begins a "
            "member where a scheme and a colon, or fashion, follow."
        )
    members = [load_model(text, classes=classes, input_shape=input_shape) for text in texts]
    names = Counter(each.name for each in members)
    said = ", ".join(name if count == 1 else f"{count} × {name}" for name, count in names.items())
    return ensemble(members, f"ensemble of {said}")
