"""Attacks of other libraries, by the names they have there."""

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from demur.attacks.core.attack_state import Norm
from demur.attacks.external.external import Bound, CountingModel, External
from demur.errors import InputError, MissingExtraError, missing_extra, unknown
from demur.registry import Call

_STRIDES = ("alpha", "eps_step")
_RESERVED = ("model", "estimator", "classifier", "eps")
_LONE_TORCHATTACKS = (
    "an attack of torchattacks needs an optional dependency that pins an old version of requests. Install it with: "
    "pip install --no-deps torchattacks && pip install requests tqdm"
)


@dataclass(frozen=True, kw_only=True)
class Foolbox(External):
    """An attack of Foolbox: `foolbox(attack=LinfPGD(steps=20), eps=2/255)`.

    Any class of `foolbox.attacks`. Without `eps` it looks for the minimal perturbation, if it can.

    Rauber et al. (2020), doi:10.21105/joss.02607.
    """

    attack: Call
    eps: float | None = None
    norm: Norm = "linf"

    @property
    def sentence(self) -> str:
        """What is done, for reports."""
        return f"{{size}}, searched by Foolbox's {self.attack.name}"

    def bind(self, model: CountingModel) -> Bound:
        try:
            package = importlib.import_module("foolbox")
        except ImportError as error:
            raise missing_extra("an attack of Foolbox", "foolbox") from error
        attack = _made(package.attacks, package.attacks.base.Attack, self.attack, {}, "Foolbox")
        _check_distance(self.attack, attack, self.norm)
        # without a device it would move the model to the first GPU it finds
        net = package.PyTorchModel(model, bounds=(0, 1), device=_device(model))
        return lambda x, y: attack(net, x, y, epsilons=self.eps)[1]


@dataclass(frozen=True, kw_only=True)
class Torchattacks(External):
    """An attack of torchattacks: `torchattacks(attack=PGD(steps=20), eps=2/255)`.

    Any of its classes. It is given `eps`, `norm`, the number of classes and a seed, where it has such fields, and a
    step size `alpha` that has its default share of `eps`.

    Kim (2020), arXiv:2010.01950.
    """

    attack: Call
    eps: float | None = None
    norm: Norm = "linf"

    @property
    def sentence(self) -> str:
        """What is done, for reports."""
        return f"{{size}}, searched by {self.attack.name} of torchattacks"

    def bind(self, model: CountingModel) -> Bound:
        try:
            package = importlib.import_module("torchattacks")
        except ImportError as error:
            raise MissingExtraError(_LONE_TORCHATTACKS) from error
        given = {
            "model": model,
            "norm": {"linf": "Linf", "l2": "L2", "l1": "L1"}.get(self.norm),
            "n_classes": model.classes,
            "seed": _seed(),
            **_size(self.eps),
        }
        attack = _made(package, package.attack.Attack, self.attack, given, "torchattacks")
        return lambda x, y: attack(x, y)


@dataclass(frozen=True, kw_only=True)
class ART(External):
    """An evasion attack of the Adversarial Robustness Toolbox: `art(attack=ProjectedGradientDescent(), eps=2/255)`.

    Any class of `art.attacks.evasion`. It is given `eps` and `norm`, where it has such fields, and a step size
    `eps_step` that has its default share of `eps`.

    Nicolae et al. (2018), arXiv:1807.01069.
    """

    attack: Call
    eps: float | None = None
    norm: Norm = "linf"

    @property
    def sentence(self) -> str:
        """What is done, for reports."""
        return f"{{size}}, searched by {self.attack.name} of the Adversarial Robustness Toolbox"

    def bind(self, model: CountingModel) -> Bound:
        try:
            evasion, estimators = (
                importlib.import_module(f"art.{n}") for n in ("attacks.evasion", "estimators.classification")
            )
        except ImportError as error:
            raise missing_extra("an attack of the Adversarial Robustness Toolbox", "art") from error
        estimator = estimators.PyTorchClassifier(
            model=model,
            loss=nn.CrossEntropyLoss(),
            input_shape=model.input_shape,
            nb_classes=model.classes,
            clip_values=(0.0, 1.0),
            device_type="cpu" if _device(model).type == "cpu" else "gpu",
        )
        given = {
            "estimator": estimator,
            "classifier": estimator,
            "norm": {"linf": torch.inf, "l2": 2, "l1": 1}.get(self.norm),
            "batch_size": len(model),
            "verbose": False,
            **_size(self.eps),
        }
        attack = _made(evasion, importlib.import_module("art.attacks").EvasionAttack, self.attack, given, "ART")
        return lambda x, y: attack.generate(x=_array(x), y=_array(y))


def _made(room: ModuleType, base: type, call: Call, given: Mapping[str, Any], library: str) -> Any:
    """An object of a library's class, made of the fields of the call and what else it is given and has."""
    classes = {name: kind for name, kind in vars(room).items() if isinstance(kind, type) and issubclass(kind, base)}
    if call.name not in classes:
        raise unknown(f"{library} attack", call.name, classes)
    known = inspect.signature(classes[call.name]).parameters
    own = {
        name: _made(room, base, value, given, library) if isinstance(value, Call) else value
        for name, value in call.fields.items()
    }
    _check_fields(own, known, f"{library} attack {call.name!r}")
    if "eps" in known and given and "eps" not in given:
        raise InputError(f"{library} attack {call.name!r} stays in a ball. Give its radius beside it: eps=2/255.")
    fields = {name: value for name, value in given.items() if name in known}
    try:
        return classes[call.name](**{**fields, **_strides(known, given.get("eps")), **own})
    except Exception as error:  # foreign code may raise anything
        said = str(error).strip().partition("\n")[0]
        raise InputError(
            f"{library} cannot make {call}: {said.rstrip('.')}. Its fields: {', '.join(known)}."
        ) from error


def _check_fields(own: Mapping[str, Any], known: Mapping[str, inspect.Parameter], where: str) -> None:
    for name in own:
        if name in _RESERVED:
            raise InputError(f"{where}: `{name}` is given by demur. Write eps beside attack, not inside it.")
        if name not in known:
            raise unknown(f"field of {where}:", name, [each for each in known if each not in _RESERVED])


def _strides(known: Mapping[str, inspect.Parameter], eps: float | None) -> dict[str, float]:
    """Step sizes as large a share of eps as by default: the defaults themselves fit one eps only."""
    if eps is None or "eps" not in known:
        return {}
    usual = known["eps"].default
    return {name: known[name].default * eps / usual for name in _STRIDES if name in known}


def _check_distance(call: Call, attack: Any, norm: Norm) -> None:
    """Foolbox's attacks say which norm they measure themselves in."""
    order = getattr(getattr(attack, "distance", None), "p", None)
    own = {torch.inf: "linf", 2: "l2", 1: "l1"}.get(order) if order is not None else None
    if own is not None and norm not in {own, "none"}:
        raise InputError(
            f"Foolbox attack {call.name!r} measures itself in {own}; got norm={norm!r}. Write norm={own!r}."
        )


def _size(eps: float | None) -> dict[str, float]:
    return {} if eps is None else {"eps": eps}


def _seed() -> int:
    """From the global state, which the runner has set: some classes would otherwise take the time of day."""
    return int(torch.randint(2**31, ()))


def _device(model: nn.Module) -> torch.device:
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def _array(values: Tensor) -> Any:
    return values.detach().cpu().numpy()
