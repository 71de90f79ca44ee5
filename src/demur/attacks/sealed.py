"""A room for foreign code: what it does to global state ends at the door."""

import contextlib
import io
import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn


@contextmanager
def sealed(module: nn.Module, seed: int) -> Iterator[None]:
    """Random numbers of PyTorch, NumPy and Python come from `seed` inside and go on as before afterwards.

    So do the modes of the module's layers and which of its weights take gradients, also after an exception. Autograd is
    on; warnings are not shown and what is printed to stdout, which belongs to results, is dropped.
    """
    modes = [(layer, layer.training) for layer in module.modules()]
    thawed = [(parameter, parameter.requires_grad) for parameter in module.parameters()]
    numbers, python = np.random.get_state(), random.getstate()  # noqa: NPY002 - it is the state others draw from
    with contextlib.ExitStack() as room:
        room.enter_context(torch.random.fork_rng())
        room.enter_context(torch.enable_grad())
        room.enter_context(warnings.catch_warnings())
        room.enter_context(contextlib.redirect_stdout(io.StringIO()))
        warnings.simplefilter("ignore")
        try:
            _seed(seed)
            yield
        finally:
            np.random.set_state(numbers)  # noqa: NPY002 - it is the state others draw from
            random.setstate(python)
            for layer, training in modes:
                layer.training = training
            for parameter, takes in thawed:
                parameter.requires_grad = takes


def _seed(seed: int) -> None:
    """Foreign code knows no keys: it draws from global state, so that is what must depend on them."""
    torch.manual_seed(seed)  # noqa: TID251 - see above
    np.random.seed(seed)  # noqa: TID251, NPY002 - see above
    random.seed(seed)
