"""Where a model runs."""

from demur.classifier import Classifier
from demur.errors import InputError


def placed(classifier: Classifier, device: str) -> Classifier:
    """A copy of the classifier on a device.

    Raises:
        InputError: there is no such device.
    """
    try:
        return classifier.to(device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).partition("\n")[0]
        raise InputError(f"the model cannot be put on device {device!r}: {reason}. Try --device cpu.") from None
