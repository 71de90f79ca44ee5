"""A classifier as one module from images in [0, 1] to logits, in tensor code that can be traced."""

from torch import Tensor, nn

from demur.classifier.bound_classifier import BoundClassifier
from demur.classifier.first_answer import made_up_images, part_that_counts
from demur.classifier.outputs import columns, to_logits
from demur.classifier.preprocessing import Preprocessing
from demur.shapes import Images, Logits


class PlainModule(nn.Module):
    """Normalisation, the module, and what its outputs mean; nothing that depends on the number of rows.

    It answers as the classifier does, up to rounding: images are not laid out channels last, and one alone stays alone.
    `inner` is the module itself, so that its layers keep their names behind `inner.`.
    """

    def __init__(self, classifier: BoundClassifier) -> None:
        super().__init__()
        contract = classifier.contract
        self.inner = classifier.as_module()
        whole = Preprocessing.of(self.inner, contract, classifier.device, classifier.dtype)
        self.mean, self.std, self.precision = whole.mean, whole.std, whole.dtype
        probe = made_up_images(classifier.input_shape, classifier.device, classifier.dtype)
        raw = self.inner(classifier.prepare(probe))
        self.part, self.kind = part_that_counts(raw, len(probe), contract.part, contract), contract.kind
        self.training = False

    def normalised(self, images: Images) -> Tensor:
        """What the module is given."""
        x = images if self.precision is None else images.to(self.precision)
        x = x if self.mean is None else x - self.mean
        return x if self.std is None else x / self.std

    def forward(self, images: Images) -> Logits:
        """Logits (rows, classes) of images (rows, channels, height, width) in [0, 1]."""
        return to_logits(columns(self.inner(self.normalised(images)), self.part), self.kind).to(images.dtype)
