"""Where a classifier computes: on the device that was asked for, in the precision that was audited."""

import torch

from demur.classifier.bound_classifier import BoundClassifier
from demur.errors import InputError


def on_device(classifier: BoundClassifier, device: str) -> BoundClassifier:
    """A copy of the classifier on a device; a GPU answers in full single precision, as a processor does.

    Raises:
        InputError: there is no such device.
    """
    if device.startswith("cuda"):
        torch.backends.cudnn.allow_tf32 = False
    try:
        return classifier.to(device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:  # as torch has it, by kind of device
        reason = str(error).partition("\n")[0]
        raise InputError(f"the model cannot be put on device {device!r}: {reason}. Try --device cpu.") from None
