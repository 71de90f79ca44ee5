"""The contract every model meets: images in [0, 1] in, normalisation inside, logits out.

`Classifier` is what a user describes, `BoundClassifier` the same with classes and input shape settled by the data.
"""

from demur.classifier.bound_classifier import BoundClassifier
from demur.classifier.contract import Capabilities, Output
from demur.classifier.description import AnyClassifier, Classifier, bound
from demur.classifier.mean_probability import ensemble
from demur.classifier.outputs import ForwardOutput
from demur.classifier.validation import check_labels

__all__ = [
    "AnyClassifier",
    "BoundClassifier",
    "Capabilities",
    "Classifier",
    "ForwardOutput",
    "Output",
    "bound",
    "check_labels",
    "ensemble",
]
