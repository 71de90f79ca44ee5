"""Attribution: maps of the evidence for a class, measures of them, and occlusion of object and background."""

from typing import ClassVar, Protocol

from demur.classifier import BoundClassifier
from demur.randomness import Keys
from demur.shapes import Heat, Images, Labels


class AttributionMap(Protocol):
    """A frozen dataclass whose fields are the map's settings; rows do not depend on each other."""

    sentence: ClassVar[str]

    @property
    def gradients(self) -> int:
        """So many forwards, and as many backwards, are what one image costs."""
        ...

    def __call__(self, classifier: BoundClassifier, images: Images, classes: Labels, keys: Keys) -> Heat:
        """Where the evidence for the given class of each image lies; not negative, finite, on the map's own grid."""
        ...
