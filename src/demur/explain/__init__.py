"""Where a model looks: maps, what they measure, and what object and background are worth."""

from typing import ClassVar, Protocol

from demur.classifier import Classifier
from demur.randomness import Keys
from demur.shapes import Heat, Images, Labels


class AttributionMap(Protocol):
    """A frozen dataclass whose fields are the map's settings; rows do not depend on each other.

    `passes` is what a map of one image costs, a backward counted like two forwards.
    """

    sentence: ClassVar[str]

    @property
    def passes(self) -> float:
        """Forward passes that one image costs, a backward counted as two."""
        ...

    def __call__(self, classifier: Classifier, images: Images, classes: Labels, keys: Keys) -> Heat:
        """Where the evidence for the given class of each image lies; not negative, finite, on the map's own grid."""
        ...
