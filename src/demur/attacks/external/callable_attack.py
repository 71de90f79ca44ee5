"""Attacks that are a function of one's own."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, cast

from torch import Tensor, nn

from demur.adapters.own_module import reach_here
from demur.attacks.core.attack_state import Norm
from demur.attacks.core.hyperparameters import check_external
from demur.attacks.external.external import Bound, CountingModel, External
from demur.containment import contained
from demur.errors import AddressError, DemurError, InputError, unknown
from demur.foreign import reason


@dataclass(frozen=True, kw_only=True)
class FunctionAttack(External):
    """A function (model, x, y) → x′, held to the rules of a ball.

    The model is a module that answers images in [0, 1] with logits; x, y and x′ are tensors, or x′ is an array.
    """

    sentence: ClassVar[str] = "{size}, searched by a function of one's own"

    function: Callable[[nn.Module, Tensor, Tensor], Any]
    eps: float | None = None
    norm: Norm = "linf"

    def bind(self, model: CountingModel) -> Bound:
        return partial(self.function, model)


@dataclass(frozen=True, kw_only=True)
class ByPath(External):
    """A function (model, x, y) → x′ that a plan names: `callable(path='package.module:function', eps=2/255)`.

    The Python module is installed or lies in the current directory. An attack made for one defence finds what general
    ones miss.

    Tramèr et al. (2020), arXiv:2002.08347.
    """

    path: str
    eps: float | None = None
    norm: Norm = "linf"

    def __post_init__(self) -> None:
        check_external(self.eps, self.norm)
        check_path("path", self.path)

    @property
    def sentence(self) -> str:
        """What is done, for reports."""
        return f"{{size}}, searched by {self.path}"

    def bind(self, model: CountingModel) -> Bound:
        return partial(function_at("path", self.path), model)


def check_path(field: str, path: str) -> None:
    """Refuse what is not written like the path of a function."""
    module, _, function = path.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), function)):
        raise InputError(f"`{field}` names a function as package.module:function; got {path!r}.")


def function_at(field: str, path: str) -> Callable[..., Any]:
    """The function a field names; this imports its module.

    Raises:
        AddressError: there is no such module.
        InputError: it cannot be imported, or has no such function.
    """
    name, _, attribute = path.partition(":")
    known = vars(_imported(field, name))
    found = known.get(attribute)
    if not callable(found):
        public = [each for each, value in known.items() if callable(value) and not each.startswith("_")]
        raise unknown(f"function in {name}:", attribute, public)
    return cast(Callable[..., Any], found)


def _imported(field: str, name: str) -> Any:
    reach_here()
    try:
        with contained():
            return importlib.import_module(name)
    except (DemurError, KeyboardInterrupt):
        raise
    except ImportError as error:
        raise AddressError(
            f"cannot import {name!r} ({reason(error)}). The attack's `{field}` names a Python module that is installed "
            "or lies in the current directory."
        ) from error
    except BaseException as error:  # importing runs code of others, which may even ask for the end of the process
        raise InputError(
            f"the Python module {name!r} cannot be imported: {reason(error)}. Correct it; "
            f"python -c 'import {name}' shows where it fails."
        ) from error
