"""Attacks of other libraries, each as a function of (model, x, y) that returns the changed images.

Imports are inside the functions, so a peer that is not installed costs nothing and is left out; `import_all` makes them
before any clock starts.
"""

import importlib
import importlib.util
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, wraps
from types import MappingProxyType, ModuleType
from typing import Any

import torch
from torch import Tensor, nn

Run = Callable[[nn.Module, Tensor, Tensor], Tensor]

INSTALL = """\
pip install -c constraints.txt -e '.[test,peers]' && pip install --no-deps torchattacks==3.5.1 adv-lib==0.2.8
or, in an environment of its own: make test-extras, then .venv-extras/bin/python"""
PACKAGES: Mapping[str, str] = MappingProxyType(
    {"foolbox": "foolbox", "torchattacks": "torchattacks", "art": "art", "adv-lib": "adv_lib"}
)
_MODULES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "foolbox": ("foolbox",),
        "torchattacks": ("torchattacks",),
        "art": ("art.attacks.evasion", "art.estimators.classification"),
        "adv-lib": (),
    }
)


@dataclass(frozen=True)
class Ball:
    """The settings of a PGD with a random start inside an L∞ ball; `step` is in pixel fractions, as `eps` is."""

    eps: float
    steps: int
    step: float


def installed() -> list[str]:
    """The peers that can be imported here."""
    return [peer for peer, package in PACKAGES.items() if importlib.util.find_spec(package)]


def import_all() -> None:
    """Import what the installed peers attack with, so that no attack is charged for it."""
    for peer in installed():
        for module in _MODULES[peer]:
            importlib.import_module(module)
        if peer == "adv-lib":
            _adv_lib()


def pgd(peer: str, ball: Ball) -> Run:
    """A peer's PGD."""
    return _quietly(_PGD[peer](ball))


def nearest(peer: str, attack: str, steps: int) -> Run | None:
    """A peer's `ddn`, `fmn-l2`, `fmn-linf`, `fab-l2` or `fab-linf`; None where it has none.

    A step of demur's `fab` is one point; one of adv-lib's is two where the first of them fools.

    Foolbox's L2 FMN is left out: its projection does nothing, so its distances are half as large again as need be.
    """
    made = _NEAREST.get((peer, attack))
    return made and _quietly(made(steps))


def by_label(peer: str, norm: str, rounds: int) -> Run | None:
    """A peer's HopSkipJump with so many rounds, at its own settings; None where it has none."""
    return _quietly(_foolbox_by_label(norm, rounds)) if peer == "foolbox" else None


def _foolbox_by_label(norm: str, rounds: int) -> Run:
    def run(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        import foolbox

        attack = foolbox.attacks.HopSkipJumpAttack(steps=rounds, constraint=norm)
        return attack(foolbox.PyTorchModel(model, bounds=(0, 1), device=x.device), x, y, epsilons=None)[0]

    return run


def _foolbox_pgd(ball: Ball) -> Run:
    def run(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        import foolbox

        attack = foolbox.attacks.LinfPGD(abs_stepsize=ball.step, steps=ball.steps, random_start=True)
        return attack(foolbox.PyTorchModel(model, bounds=(0, 1), device=x.device), x, y, epsilons=ball.eps)[1]

    return run


def _torchattacks_pgd(ball: Ball) -> Run:
    def run(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        import torchattacks

        return torchattacks.PGD(model, eps=ball.eps, alpha=ball.step, steps=ball.steps, random_start=True)(x, y)

    return run


def _art_pgd(ball: Ball) -> Run:
    def run(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        from art.attacks.evasion import ProjectedGradientDescentPyTorch

        attack = ProjectedGradientDescentPyTorch(
            _art_classifier(model, x),
            eps=ball.eps,
            eps_step=ball.step,
            max_iter=ball.steps,
            num_random_init=1,
            batch_size=len(x),
            verbose=False,
        )
        return torch.from_numpy(attack.generate(x.numpy(), y.numpy()))

    return run


def _art_classifier(model: nn.Module, x: Tensor) -> Any:
    from art.estimators.classification import PyTorchClassifier

    return PyTorchClassifier(
        model,
        loss=nn.CrossEntropyLoss(),
        input_shape=tuple(x.shape[1:]),
        nb_classes=10,
        clip_values=(0, 1),
        device_type="cpu",
    )


def _adv_pgd(ball: Ball) -> Run:
    return lambda model, x, y: _adv_lib().pgd_linf(
        model, x, y, ball.eps, steps=ball.steps, absolute_step_size=ball.step
    )


def _foolbox_nearest(name: str, **fields: Any) -> Callable[[int], Run]:
    def made(steps: int) -> Run:
        def run(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
            import foolbox

            attack = getattr(foolbox.attacks, name)(steps=steps, **fields)
            return attack(foolbox.PyTorchModel(model, bounds=(0, 1), device=x.device), x, y, epsilons=None)[0]

        return run

    return made


def _adv_ddn(steps: int) -> Run:
    return lambda model, x, y: _adv_lib().ddn(model, x, y, steps=steps, levels=None)


def _adv_fmn(norm: float, step: float) -> Callable[[int], Run]:
    return lambda steps: lambda model, x, y: _adv_lib().fmn(model, x, y, norm, steps=steps, α_init=step)


def _adv_fab(norm: float) -> Callable[[int], Run]:
    return lambda steps: lambda model, x, y: _adv_lib().fab(model, x, y, norm, n_iter=steps // 2)


@cache
def _adv_lib() -> ModuleType:
    """adv-lib's attacks.

    It imports torchvision for a perceptual distance and visdom for plots, and needs neither to attack. torchvision has
    no build for a torch without CUDA and visdom does not build with today's setuptools, so empty modules stand in.
    """
    absent = [name for name in ("torchvision", "visdom") if importlib.util.find_spec(name) is None]
    for name in absent:
        sys.modules[name] = ModuleType(name)
        sys.modules[name].__dict__["models"] = None
    try:
        return importlib.import_module("adv_lib.attacks")
    finally:
        for name in absent:
            del sys.modules[name]


_PGD: Mapping[str, Callable[[Ball], Run]] = MappingProxyType(
    {"foolbox": _foolbox_pgd, "torchattacks": _torchattacks_pgd, "art": _art_pgd, "adv-lib": _adv_pgd}
)
_NEAREST: Mapping[tuple[str, str], Callable[[int], Run]] = MappingProxyType(
    {
        ("foolbox", "ddn"): _foolbox_nearest("DDNAttack"),
        ("foolbox", "fmn-linf"): _foolbox_nearest("LInfFMNAttack", max_stepsize=10.0),
        ("adv-lib", "ddn"): _adv_ddn,
        ("adv-lib", "fmn-l2"): _adv_fmn(2, 1.0),
        ("adv-lib", "fmn-linf"): _adv_fmn(float("inf"), 10.0),
        ("adv-lib", "fab-l2"): _adv_fab(2),
        ("adv-lib", "fab-linf"): _adv_fab(float("inf")),
    }
)


def _quietly(run: Run) -> Run:
    """Without the warnings of old code, of which there are many."""

    @wraps(run)
    def quiet(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return run(model, x, y).detach()

    return quiet
