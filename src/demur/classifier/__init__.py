"""The contract every model meets: images in [0, 1] at the door, normalisation inside, logits out."""

from demur.classifier.classifier import Classifier
from demur.classifier.contract import Output
from demur.classifier.labels import check_labels
from demur.classifier.look import Look

__all__ = ["Classifier", "Look", "Output", "check_labels"]
