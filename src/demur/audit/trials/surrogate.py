"""Another model, whose adversarial points might carry over."""

from collections.abc import Sequence

from demur.adapters import load_model
from demur.audit.conditions import Condition
from demur.audit.device import placed
from demur.audit.trials.lead import lead_of
from demur.classifier import Classifier
from demur.errors import InputError


def surrogate_of(address: str | None, classifier: Classifier, found: Sequence[Condition]) -> Classifier | None:
    """The model at an address, where the classifier is; None without an address.

    Raises:
        AddressError, ModelError: it cannot be had.
        InputError: it answers another question or is the classifier itself, or no attack of the plan could borrow.
    """
    if address is None:
        return None
    if lead_of(found) is None:
        raise InputError(
            f"`conditions.surrogate` lends the points of an attack in a ball of L∞ or L2, and the plan has none; got "
            f"{address!r}. Add one, such as pgd(eps=2/255), or leave the surrogate out."
        )
    other = load_model(address, classes=classifier.classes, input_shape=classifier.input_shape)
    if (other.classes, other.input_shape) != (classifier.classes, classifier.input_shape):
        raise InputError(
            f"a surrogate must know the same {len(classifier.classes)} classes from images of the same shape "
            f"{classifier.input_shape}; {address} has {len(other.classes)} classes and reads {other.input_shape}. Name "
            "a model of the same task."
        )
    if other.sha256 == classifier.sha256:
        raise InputError(
            f"a surrogate must be another model than the one under audit; {address} has the same weights. Name the "
            "model as it was before its defence, or one trained alike."
        )
    return placed(other, str(classifier.device))
