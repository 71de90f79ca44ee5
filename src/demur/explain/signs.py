"""What becomes of values of both signs on the way to a map that has none."""

from typing import Literal, get_args

import torch
from torch import Tensor

from demur.errors import InputError
from demur.shapes import Heat, Images

Sign = Literal["absolute", "positive"]
"""`absolute` keeps the size of what speaks for or against the class, `positive` only what speaks for it."""


def check_sign(name: str, sign: str) -> None:
    """Refuse a sign nobody knows."""
    if sign not in get_args(Sign):
        raise InputError(f"{name}: `sign` must be {' or '.join(map(repr, get_args(Sign)))}; got {sign!r}.")


def strongest(values: Images, sign: Sign) -> Heat:
    """The largest of the channels at each pixel: slopes of different channels do not add up to anything."""
    return defined(unsigned(values, sign).amax(dim=1))


def summed(values: Images, sign: Sign) -> Heat:
    """The sum over the channels at each pixel, sign and all: contributions to one logit add up."""
    return defined(unsigned(values.sum(dim=1), sign))


def unsigned(values: Tensor, sign: Sign) -> Tensor:
    """Not negative any more."""
    return values.abs() if sign == "absolute" else values.clamp(min=0)


def defined(heat: Heat) -> Heat:
    """The map itself, all zero in rows where a value is infinite or no number: such a row shows nothing."""
    whole = heat.isfinite().flatten(start_dim=1).all(dim=1)
    return torch.where(whole[:, None, None], heat, torch.zeros_like(heat))
