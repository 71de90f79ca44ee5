"""The contract every model meets: images in [0, 1] in, normalisation inside, logits out."""

from demur.classifier.classifier import Capabilities, Classifier
from demur.classifier.contract import Output
from demur.classifier.outputs import ForwardOutput
from demur.classifier.validation import check_labels

__all__ = ["Capabilities", "Classifier", "ForwardOutput", "Output", "check_labels"]
