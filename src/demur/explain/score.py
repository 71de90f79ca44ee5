"""What a map explains: the logit of one class."""

from collections.abc import Callable

import torch

from demur.classifier import Classifier
from demur.shapes import Images, Labels, Logits, Scores


def score_of(classifier: Classifier, classes: Labels) -> Callable[[Logits], Scores]:
    """The function from logits to the one number of each row that is explained: the logit of the given class.

    Where logits are known up to one constant per row only (a model that puts out probabilities, or one number for two
    classes) it is taken less the mean of the row, which no such constant moves. So a probability of 1 still has a
    gradient, and a single number z speaks as −z/2 for the first class.
    """
    free = _known_up_to_a_constant(classifier)

    def score(logits: Logits) -> Scores:
        centre = logits.mean(dim=1) if free else 0.0
        return logits.gather(1, classes[:, None].to(logits.device, torch.int64))[:, 0] - centre

    return score


def gradient(classifier: Classifier, images: Images, classes: Labels) -> Images:
    """∂(logit of the class)/∂(pixel), signed, by one forward and one backward pass."""
    return classifier.loss_gradient(images, score_of(classifier, classes))[1]


def _known_up_to_a_constant(classifier: Classifier) -> bool:
    output = classifier.contract.output
    return output in {"probabilities", "logit"} or (output == "sigmoid" and len(classifier.classes) == 2)
