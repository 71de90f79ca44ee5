"""What holds for every signal."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from tempfile import TemporaryDirectory
from typing import Any

import torch

from demur.data import build_index, open_data
from demur.evidence import Evidence, Surrogated, surrogate_of
from demur.randomness import Keys
from demur.registry.lookup import name_of_class
from demur.shapes import Scores
from demur.signals import LOGITS, AnySignal, Fittable, Needing, Signal, Telling, needs_of
from demur.signals.store import load_signals, save_signals
from demur.testing.rules import check_rules, hooks_on, named
from demur.testing.world import World

_ROUNDING: Mapping[str, Any] = {"rtol": 1e-4, "atol": 1e-5}
"""Of a net in float32, whose last bits depend on who shares the batch."""

_REFIT: Mapping[str, Any] = {"rtol": 1e-3, "atol": 1e-4}


@dataclass(frozen=True, eq=False)
class SignalTrial:
    """A signal, fitted if it must be, and the world it lives in."""

    signal: AnySignal
    fitted: Signal
    world: World

    @classmethod
    def of(cls, signal: AnySignal) -> "SignalTrial":
        """The signal in a world with the layers it reads, whose model is an ensemble where it needs one."""
        world = World(layers=needs_of(signal).layers, members=needs_of(signal).members)
        return cls(signal, fit(signal, world), world)


def fit(signal: AnySignal, world: World) -> Signal:
    """The signal, fitted to the reference of a world if it must be."""
    with torch.no_grad():
        return signal.fit(world.reference(), world.labels) if isinstance(signal, Fittable) else signal


def score(signal: Signal, evidence: Evidence) -> Scores:
    """As an audit asks: without autograd."""
    with torch.no_grad():
        return signal(evidence)


def finite_and_repeatable(trial: SignalTrial) -> None:
    """Scores are finite float64, one per row, and the same twice."""
    first, second = (score(trial.fitted, trial.world.evidence()) for _ in range(2))
    assert first.dtype == torch.float64, f"scores are {first.dtype}"
    assert first.shape == (trial.world.rows,), f"scores have the shape {tuple(first.shape)}"
    assert first.isfinite().all(), "a score is NaN or infinite"
    assert torch.equal(first, second), "asked again, the scores are others"


def each_row_alone(trial: SignalTrial) -> None:
    """Who shares the batch does not matter."""
    world = trial.world
    together = score(trial.fitted, world.evidence())
    rows = [slice(row, row + 1) for row in range(world.rows)]
    alone = torch.cat([score(trial.fitted, world.evidence(row)) for row in rows])
    torch.testing.assert_close(alone, together, **_ROUNDING)
    torch.testing.assert_close(score(trial.fitted, world.evidence(slice(3, 8))), together[3:8], **_ROUNDING)


def model_left_as_it_was(trial: SignalTrial) -> None:
    """No hook, mode, gradient or weight of the model is changed."""
    net, before = trial.world.net, trial.world.classifier.sha256
    score(trial.fitted, trial.world.evidence())
    assert hooks_on(net) == 0, "a hook is left"
    assert not any(layer.training for layer in net.modules()), "a layer is left in training mode"
    assert all(weight.requires_grad and weight.grad is None for weight in net.parameters()), "a gradient is left"
    assert trial.world.classifier.sha256 == before, "a weight changed"
    assert torch.is_grad_enabled(), "autograd is left switched off"


def no_more_than_declared(trial: SignalTrial) -> None:
    """It costs no more passes than its `needs` say."""
    evidence, needs = trial.world.evidence(), needs_of(trial.signal)
    score(trial.fitted, evidence)
    forwards, backwards = evidence.spent.double()
    spent = float((forwards + 1.25 * backwards).max()) - 1
    assert spent <= needs.passes, f"it takes {spent:g} passes and declares {needs.passes:g}"


def declared_in_words(trial: SignalTrial) -> None:
    """It has a unit, its docstring says when it is high, and its facts are plain JSON."""
    signal, fitted = trial.signal, trial.fitted
    assert signal.unit, "`unit` is empty"
    assert fitted.unit == signal.unit, f"fitted, its unit is {fitted.unit!r} instead of {signal.unit!r}"
    first = (type(signal).__doc__ or "").partition("\n")[0]
    assert first.count(": high when ") == 1, f"the first line of its docstring says no “…: high when …”: {first!r}"
    assert isinstance(signal, Needing) or needs_of(signal) == LOGITS
    if isinstance(fitted, Telling):
        assert json.loads(json.dumps(dict(fitted.facts), allow_nan=False)) == fitted.facts, "`facts` are no plain JSON"


def same_with_autograd(trial: SignalTrial) -> None:
    """A caller who leaves autograd on gets the same scores."""
    signal, world = trial.signal, trial.world
    fitted = signal.fit(world.reference(), world.labels) if isinstance(signal, Fittable) else signal
    torch.testing.assert_close(fitted(world.evidence()).detach(), score(trial.fitted, world.evidence()))
    held = [value for value in vars(fitted).values() if isinstance(value, torch.Tensor)]
    assert not any(value.requires_grad for value in held), "a fitted tensor holds a graph"


def followed_without_a_trace(trial: SignalTrial) -> None:
    """An attacker who follows it gets one finite number per row: the score itself, or those of its `surrogate`."""
    world = trial.world
    evidence = world.evidence()
    evidence.images = evidence.images.clone().requires_grad_()
    with torch.enable_grad(), world.classifier.frozen():
        followed = surrogate_of(trial.fitted, evidence)
    assert followed.shape == (world.rows,), f"what is followed has the shape {tuple(followed.shape)}"
    assert followed.isfinite().all(), "what is followed is NaN or infinite"
    found = score(trial.fitted, world.evidence())
    if not isinstance(trial.fitted, Surrogated):
        torch.testing.assert_close(followed.detach(), found)
    assert torch.equal(score(trial.fitted, world.evidence()), found), "once followed, it scores otherwise"
    held = [value for value in vars(trial.fitted).values() if isinstance(value, torch.Tensor)]
    assert not any(value.requires_grad for value in held), "a fitted tensor holds a graph"


def fitted_by_the_reference_alone(trial: SignalTrial) -> None:
    """Fitted again it is the same to the last bit, and in other batches but for rounding."""
    if not isinstance(trial.signal, Fittable):
        return
    world = trial.world
    again, other = fit(trial.signal, world), fit(trial.signal, replace(world, batch=45))
    found = score(trial.fitted, world.evidence())
    assert torch.equal(score(again, world.evidence()), found), "fitted again, it scores otherwise"
    torch.testing.assert_close(score(other, world.evidence()), found, **_REFIT)


def kept_and_loaded(trial: SignalTrial) -> None:
    """Saved in a run folder and loaded again it gives the same scores; without a name nothing can be saved."""
    if name_of_class("signal", type(trial.signal)) is None:
        return
    with TemporaryDirectory() as folder:
        save_signals(folder, {"signal": trial.fitted})
        loaded: Any = load_signals(folder)["signal"]
    evidence = trial.world.evidence()
    assert torch.equal(score(loaded, evidence), score(trial.fitted, evidence)), "loaded again, it scores otherwise"


RULES: tuple[Callable[[SignalTrial], None], ...] = (
    finite_and_repeatable,
    each_row_alone,
    model_left_as_it_was,
    no_more_than_declared,
    declared_in_words,
    same_with_autograd,
    followed_without_a_trace,
    fitted_by_the_reference_alone,
    kept_and_loaded,
)


def higher_where_wrong(signal: AnySignal) -> None:
    """On the shipped classifier it is higher, on average, where the answer is wrong."""
    from demur.adapters import load_model

    source, rows = open_data("fashion"), 1200
    model = load_model("fashion", classes=source.classes, input_shape=source.input_shape)
    index = build_index(source, limit=3000)
    labels = torch.from_numpy(index.labels[:rows].astype("int64"))

    def evidence(part: slice) -> Evidence:
        read = [row for row in source.read(index.positions[part].tolist()) if row.image is not None]
        keys = Keys.of(0, [row.sample_id for row in read], "contract")
        images = torch.stack([row.image for row in read if row.image is not None])
        return Evidence(model, images, needs_of(signal).layers, features=True, keys=keys)

    reference, scored = slice(0, 500), slice(500, rows)
    with torch.no_grad():
        fitted = signal.fit([evidence(reference)], labels[reference]) if isinstance(signal, Fittable) else signal
        uncertainty = fitted(evidence(scored))
        wrong = evidence(scored).logits.argmax(dim=1) != labels[scored]
    means = float(uncertainty[wrong].mean()), float(uncertainty[~wrong].mean())
    assert means[0] > means[1], f"{means[0]:.4g} where wrong, {means[1]:.4g} where right: is its sign turned?"


def check_signal(signal: AnySignal | str, *, tells_errors: bool = True) -> None:
    """Hold a signal to the contract of all signals.

    Args:
        signal: a name such as `"my_signal(k=5)"`, or the signal itself.
        tells_errors: whether it should be higher where the shipped classifier is wrong; False for a signal made for
            something else.
    """
    thing, called = named("signal", signal)
    check_rules(called, RULES, SignalTrial.of(thing))
    if tells_errors:
        check_rules(called, (higher_where_wrong,), thing)
