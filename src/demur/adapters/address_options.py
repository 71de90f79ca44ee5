"""The options of a model address: `?mean=.5,.5,.5&std=.5,.5,.5&output=logits`."""

import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from torch import nn

from demur.class_names import class_list
from demur.classifier import BoundClassifier
from demur.errors import AddressError, ModelError, brief
from demur.registry import Address

_MOST = {"channels": 1_024, "size": 4_096}

METADATA = ("mean", "std", "output", "features", "channels", "size", "classes", "name")


@dataclass(frozen=True, kw_only=True)
class Options:
    """What an address says about a model; what it leaves open is taken from the data.

    `classes` is in the order of the model's outputs, `size` is `side` or `height x width` in pixels.
    """

    classes: tuple[str, ...]
    input_shape: tuple[int, int, int]
    mean: tuple[float, ...] | None
    std: tuple[float, ...] | None
    output: str
    features: str | None
    name: str

    @classmethod
    def read(
        cls,
        address: Address,
        classes: Sequence[str],
        input_shape: tuple[int, int, int],
        others: Collection[str] = (),
    ) -> "Options":
        """The options of an address; one that is neither among these nor `others` fails with the nearest known one."""
        address.only((*METADATA, *others))
        given = address.options
        channels, height, width = input_shape
        if "channels" in given:
            channels = _whole("channels", given["channels"])
        if "size" in given:
            height, width = _size(given["size"])
        return cls(
            classes=class_list(given["classes"]) if "classes" in given else tuple(classes),
            input_shape=(channels, height, width),
            mean=_per_channel("mean", given["mean"], channels) if "mean" in given else None,
            std=_per_channel("std", given["std"], channels) if "std" in given else None,
            output=given.get("output", "logits"),
            features=given.get("features"),
            name=given.get("name", address.location.rpartition(":")[2] or address.scheme),
        )

    def normalising(self, mean: Sequence[float] | None, std: Sequence[float] | None, whose: str) -> "Options":
        """The same with the normalisation of a model's own source, for what the address does not name.

        Raises:
            ModelError: the source has none for so many channels.
        """
        found = replace(
            self,
            mean=tuple(mean) if self.mean is None and mean is not None else self.mean,
            std=tuple(std) if self.std is None and std is not None else self.std,
        )
        if found.mean is None or found.std is None:
            raise ModelError(
                f"{whose} says by what it normalises images of three channels, and these have {self.input_shape[0]}. "
                "Name it in the address of the model: ?mean=…&std=…, a number for each channel."
            )
        return found

    def wrap(self, module: nn.Module, learned_from: Collection[str] = (), notes: Sequence[str] = ()) -> BoundClassifier:
        """The classifier of a module with its weights in place; switches the module to evaluation mode."""
        module.eval()  # one of one's own may return nothing
        return BoundClassifier(
            module,
            classes=self.classes,
            input_shape=self.input_shape,
            mean=self.mean,
            std=self.std,
            output=self.output,
            features=self.features,
            name=self.name,
            learned_from=learned_from,
            notes=notes,
        )


def _per_channel(option: str, text: str, channels: int) -> tuple[float, ...]:
    """One number a channel; one alone is that of all."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = (math.nan,)
    if not all(math.isfinite(value) for value in values):
        raise AddressError(
            f"the option {option} takes numbers with commas between, like .485,.456,.406, or one for all "
            f"channels; got {brief(text)!r}."
        )
    return values * channels if len(values) == 1 else values


def _size(text: str) -> tuple[int, int]:
    height, _, width = text.partition("x")
    return _whole("size", height), _whole("size", width or height)


def _whole(option: str, text: str) -> int:
    number = int(text) if re.fullmatch("[0-9]{1,6}", text) else 0
    if not 1 <= number <= _MOST[option]:
        raise AddressError(
            f"the option {option} takes a whole number from 1 to {_MOST[option]:,}; got {brief(text)!r}. Leave it "
            "out to take what the data have."
        )
    return number
