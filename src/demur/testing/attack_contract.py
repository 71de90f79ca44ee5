"""What holds for every attack."""

from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from demur.attacks.core.attack import Attack
from demur.attacks.core.attack_state import Outcome, Trouble
from demur.attacks.core.objective import Objective
from demur.attacks.core.projections import length
from demur.classifier import BoundClassifier
from demur.randomness import Keys
from demur.registry import parse, resolve
from demur.shapes import Flags, Images, Labels
from demur.testing.rules import check_rules, named

SHAPE = (2, 5, 4)
ROWS = 17
_EPS = {"linf": 0.08, "l2": 0.25, "l1": 1.0}
_EXACT = ("fooled", "step", "forwards", "backwards", "troubles")


class Curved(nn.Module):
    """A small smooth net with fixed weights."""

    def __init__(self, classes: int, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(classes)
        first = torch.randn(24, 40, generator=generator) / 3
        last = torch.randn(classes, 24, generator=generator)
        self.first, self.last = (nn.Parameter(weight.to(dtype)) for weight in (first, last))

    def forward(self, x: Tensor) -> Tensor:
        """The logits."""
        return torch.tanh((x.flatten(1) - 0.5) @ self.first.T) @ self.last.T


class Constant(nn.Module):
    """The same answer to every image, by way of the image."""

    def forward(self, x: Tensor) -> Tensor:
        """The logits."""
        z = x.flatten(1).sum(dim=1, keepdim=True) * 0
        return z + z.new_tensor([0.0, 2.0, 1.0])


class Sometimes(nn.Module):
    """Another net, whose answer is NaN where the first pixel is nearly white."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        """The logits."""
        z: Tensor = self.inner(x)
        return z + torch.where(x[:, :1, 0, 0] > 0.9, torch.nan, 0.0).to(z.dtype)


@dataclass(frozen=True, eq=False)
class AttackTrial:
    """An attack, images of which many pixels touch a wall, and labels of which the first few are wrong."""

    attack: Any
    module: nn.Module
    classes: int
    x: Images
    y: Labels

    @classmethod
    def of(
        cls, attack: Any, *, classes: int = 5, dtype: torch.dtype = torch.float64, rows: int = ROWS, wrong: int = 2
    ) -> "AttackTrial":
        """On a smooth net of random weights."""
        module = Curved(classes, dtype).eval()
        generator = torch.Generator().manual_seed(1)
        x = (1.4 * torch.rand(rows, *SHAPE, generator=generator) - 0.2).clamp(0, 1).to(dtype)
        with torch.no_grad():
            y = module(x).argmax(dim=1)
        y[:wrong] = (y[:wrong] + 1) % classes
        return cls(attack, module, classes, x, y)

    def run(self, rows: Tensor | None = None, *, module: nn.Module | None = None, **given: Any) -> Outcome:
        """The outcome for all rows, or for some in the order given."""
        names = [str(k) for k in range(self.classes)]
        classifier = BoundClassifier(module or self.module, classes=names, input_shape=SHAPE)
        index = torch.arange(len(self.x)) if rows is None else rows
        keys = Keys.of(0, [str(row) for row in range(len(self.x))], "contracts").rows(index.tolist())
        objective = Objective(classifier, self.attack.loss)
        given = {"batch": 8, "keep": "first", **given}
        found: Outcome = self.attack.execute(objective, self.x[index], self.y[index], keys, **given)
        return found


def check_outcome(trial: AttackTrial, outcome: Outcome, goal: Labels | None = None) -> None:
    """What must be true of any outcome."""
    attack, x = trial.attack, trial.x
    assert outcome.x.shape == x.shape
    assert outcome.x.dtype == x.dtype, f"images become {outcome.x.dtype}"
    assert outcome.x.isfinite().all(), "a pixel is NaN or infinite"
    assert torch.all((outcome.x >= 0) & (outcome.x <= 1)), "a pixel leaves [0, 1]"
    delta = outcome.x - x
    if attack.eps is not None and attack.norm != "none":
        far = float(length(delta, attack.norm).max())
        assert far <= attack.eps + 1e-5, f"a change of {far:.4g} in a ball of {attack.eps:.4g}"
    torch.testing.assert_close(outcome.linf, length(delta, "linf"))
    torch.testing.assert_close(outcome.l2, length(delta, "l2"))
    reached = _reached(outcome, trial.y, goal)
    assert torch.all(reached[outcome.fooled]), "an image counts as fooled and is not"
    assert not ((outcome.step < 0) & outcome.fooled).any(), "an image is fooled at no step"


def _reached(outcome: Outcome, y: Labels, goal: Labels | None) -> Flags:
    answer = outcome.logits.argmax(dim=1)
    return answer != y if goal is None else answer == goal


def rows_alone(trial: AttackTrial) -> None:
    """Points are inside the ball and the unit box, and results do not depend on batch size or order."""
    order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(2))
    for keep in ("first", "worst", *(("nearest",) if trial.attack.norm != "none" else ())):
        whole = trial.run(keep=keep, batch=64)
        check_outcome(trial, whole)
        mixed = trial.run(order, keep=keep)
        for name in _EXACT:
            assert torch.equal(getattr(whole, name)[order], getattr(mixed, name)), f"`{name}` depends on the batch"
        torch.testing.assert_close(whole.x[order], mixed.x, rtol=0, atol=1e-7)


def wrong_rows_stay(trial: AttackTrial) -> None:
    """Images that are wrong already cost one forward pass and stay as they are, and the others are attacked."""
    outcome = trial.run()
    assert outcome.fooled[:2].all()
    assert torch.equal(outcome.x[:2], trial.x[:2]), "an image that was wrong already is changed"
    assert outcome.forwards[:2].tolist() == [1, 1]
    assert torch.all(outcome.forwards[2:] > 1), "an image is never attacked"


def finds_something(trial: AttackTrial) -> None:
    """It changes the images it attacks, or fools some of them."""
    outcome = trial.run(keep="worst")
    moved = (outcome.x != trial.x).flatten(1).any(dim=1)
    assert bool((outcome.fooled | moved)[2:].any()), "no image is changed and none is fooled"


def few_classes_and_precisions(trial: AttackTrial) -> None:
    """Two and three classes, in single and double precision."""
    for classes in (2, 3):
        for dtype in (torch.float32, torch.float64):
            other = AttackTrial.of(trial.attack, classes=classes, dtype=dtype)
            outcome = other.run(batch=4)
            check_outcome(other, outcome)
            alone = other.run(torch.tensor([ROWS - 1]), batch=4)
            assert bool(alone.fooled[0]) == bool(outcome.fooled[-1]), "a last batch of one is judged otherwise"


def target_reached_or_not(trial: AttackTrial) -> None:
    """With a target an image is fooled when it is taken for the target, and rows without one are left alone."""
    trial = AttackTrial.of(trial.attack, wrong=0)
    goal = (trial.y + 1 + torch.arange(ROWS) % 3) % 5
    goal[::4] = -1
    outcome = trial.run(target=goal)
    check_outcome(trial, outcome, goal)
    left = goal < 0
    assert torch.equal(outcome.x[left], trial.x[left]), "an image without a target is changed"
    assert not outcome.fooled[left].any()


def no_gradient_no_change(trial: AttackTrial) -> None:
    """A model that answers the same to every image is not fooled, and a gradient of zero is told."""
    x, y = torch.full((3, *SHAPE), 0.5), torch.full((3,), 1)
    outcome = AttackTrial(trial.attack, Constant().eval(), 3, x, y).run(batch=2)
    assert not outcome.fooled.any()
    assert torch.equal(outcome.x, x), "an image that cannot be fooled is changed"
    told = outcome.troubles & int(Trouble.ZERO_GRADIENT) > 0
    assert torch.all(told == (trial.attack.needs != "loss")), "gradients of zero are not told"


def no_numbers_no_success(trial: AttackTrial) -> None:
    """Answers that are NaN fool nobody and cost no neighbour."""
    trial = AttackTrial.of(trial.attack, wrong=0)
    lit = torch.arange(ROWS) % 3 == 0
    trial.x[:, 0, 0, 0] = torch.where(lit, 1.0, 0.2).to(trial.x.dtype)
    with torch.no_grad():
        trial.y.copy_(trial.module(trial.x).argmax(dim=1))
    module = Sometimes(trial.module).eval()
    broken = trial.run(module=module, keep="worst")
    assert broken.x.isfinite().all(), "a pixel is NaN or infinite"
    assert not (broken.fooled & ~broken.logits.isfinite().all(dim=1)).any(), "an answer that is NaN counts as a success"
    sound = trial.run((~lit).nonzero().squeeze(1), module=module, keep="worst")
    torch.testing.assert_close(broken.x[~lit], sound.x, rtol=0, atol=1e-7)


def attack_in_words(trial: AttackTrial) -> None:
    """It has a docstring, and a sentence for reports with nothing but {size} and {steps} to fill in."""
    assert (type(trial.attack).__doc__ or "").strip(), "it has no docstring"
    text = trial.attack.sentence.format(size="SIZE", steps=3)
    assert text.strip(), "`sentence` is empty"


def one_protocol(trial: AttackTrial) -> None:
    """It derives from `Stepwise` or `Attack`, by which every attack is run."""
    assert isinstance(trial.attack, Attack), "it does not derive from demur.attacks.core.harness.Stepwise"


RULES: tuple[Callable[[AttackTrial], None], ...] = (
    one_protocol,
    rows_alone,
    wrong_rows_stay,
    finds_something,
    few_classes_and_precisions,
    target_reached_or_not,
    no_gradient_no_change,
    no_numbers_no_success,
    attack_in_words,
)


def check_attack(attack: Any) -> None:
    """Hold an attack to the contract of all attacks that demur's harness runs.

    Args:
        attack: a name such as `"my_attack(eps=0.1)"`, or the attack itself. A name without fields gets an `eps` that
            suits the small net of the contract, where it needs one.
    """
    thing, called = named("attack", _with_eps(attack) if isinstance(attack, str) else attack)
    check_rules(called, RULES, AttackTrial.of(thing))


def _with_eps(name: str) -> str:
    call = parse(name)
    factory = resolve("attack", call.name)
    open_ = [field.name for field in fields(factory) if field.default is MISSING and field.name not in call.fields]
    if open_ != ["eps"] or call.fields:
        return name
    norm = factory.norm if isinstance(factory.norm, str) else "linf"
    return f"{name}(eps={_EPS.get(norm, 0.08)})"
