"""Low light."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from demur.corruptions import check_strength, parameter
from demur.randomness import Keys
from demur.shapes import Images


@dataclass(frozen=True, kw_only=True)
class LowLight:
    """Every value multiplied by one factor below 1, at any image size.

    The factors are this project's own: the suite of Hendrycks & Dietterich (2019), arXiv:1903.12261, has none.
    """

    table: ClassVar[Mapping[int, tuple[float, ...]]] = MappingProxyType({224: (0.8, 0.6, 0.4, 0.25, 0.1)})
    sentence: ClassVar[str] = "Brightness multiplied by {value:g}"

    severity: int | None = None
    value: float | None = None

    def __post_init__(self) -> None:
        check_strength("low_light", self.severity, self.value)

    def __call__(self, x: Images, keys: Keys) -> Images:  # noqa: ARG002 - every corruption takes keys; this draws nothing
        return x * parameter(self, min(x.shape[2:]))
