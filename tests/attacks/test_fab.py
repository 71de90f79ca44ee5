"""FAB against projections that a general solver finds, distances in closed form, the formula of one step, and FMN."""

import numpy as np
import pytest
import torch
from scipy.optimize import linprog, minimize
from tests.attacks.mnist_net import needs_shared, robust_mnist
from tests.oracles import CLASSES, SHAPE, Bowl, Fan, Plane, images

from demur.attacks.core.attack_state import AttackState, Output
from demur.attacks.core.harness import run
from demur.attacks.core.objective import Objective
from demur.attacks.core.projections import length, to_hyperplane
from demur.attacks.fab import FAB, FABT
from demur.attacks.minimal_norm import FMN
from demur.classifier import BoundClassifier
from demur.errors import InputError, UnknownNameError
from demur.randomness import Keys
from demur.testing.attack_contract import AttackTrial

NORMS = ("linf", "l2", "l1")
ORDER = {"linf": np.inf, "l2": 2, "l1": 1}
ROWS = 33


def solved(x, slope, gap, norm):
    """The least norm of δ with gap + slope·δ = 0 and x + δ in the unit box, by a general solver; None where none is."""
    n, low, high = len(x), -x, 1 - x
    if norm == "l2":
        begin = linprog(np.zeros(n), A_eq=slope[None], b_eq=[-gap], bounds=list(zip(low, high, strict=True)))
        if begin.status == 2:
            return None
        meets = {"type": "eq", "fun": lambda d: slope @ d + gap, "jac": lambda d: slope}
        found = minimize(
            *(lambda d: d @ d, begin.x),
            jac=lambda d: 2 * d,
            bounds=list(zip(low, high, strict=True)),
            constraints=[meets],
            method="SLSQP",
            options={"ftol": 1e-16, "maxiter": 1000},
        )
        return float(np.sqrt(found.fun))
    sizes = 1 if norm == "linf" else n  # δ and the bounds on its absolute values
    cost = np.concatenate([np.zeros(n), np.ones(sizes)])
    spread = np.ones((n, 1)) if norm == "linf" else np.eye(n)
    above = np.block([[np.eye(n), -spread], [-np.eye(n), -spread]])
    found = linprog(
        cost,
        A_ub=above,
        b_ub=np.zeros(2 * n),
        A_eq=np.concatenate([slope, np.zeros(sizes)])[None],
        b_eq=[-gap],
        bounds=[*zip(low, high, strict=True), *[(0, None)] * sizes],
    )
    return None if found.status == 2 else float(found.fun)


def planes(rows, n=8, seed=0):
    """Points with pixels at the walls, and planes of which some miss the box and some have pixels without weight."""
    generator = np.random.default_rng(seed)
    x = np.clip(generator.uniform(-0.3, 1.3, (rows, n)), 0, 1)
    slope = generator.normal(size=(rows, n)) * 10.0 ** generator.uniform(-2, 2, (rows, 1))
    slope[generator.random((rows, n)) < 0.2] = 0
    gap = generator.uniform(-1, 1, rows) * np.abs(slope).sum(axis=1)
    return x, slope, gap


@pytest.mark.parametrize("norm", NORMS)
def test_the_projection_is_what_a_general_solver_finds(norm):
    x, slope, gap = planes(60)
    at, towards = (torch.from_numpy(each)[:, None, None, :] for each in (x, slope))
    delta = to_hyperplane(at, towards, torch.from_numpy(gap), norm).flatten(1).numpy()
    assert ((x + delta >= 0) & (x + delta <= 1)).all()
    met = 0
    for row in range(len(x)):
        least = solved(x[row], slope[row], gap[row], norm)
        rest = gap[row] + slope[row] @ delta[row]
        if least is None:
            corner = np.where(slope[row] * -np.sign(gap[row]) > 0, 1 - x[row], -x[row])
            np.testing.assert_allclose(delta[row], np.where(slope[row] == 0, 0, corner), atol=1e-12)
            continue
        met += 1
        assert abs(rest) <= 1e-9 * np.abs(slope[row]).sum()
        assert np.linalg.norm(delta[row], ORDER[norm]) == pytest.approx(least, abs=1e-6)
    assert 20 < met < 55, "some planes must miss the box and many meet it"


@pytest.mark.parametrize("norm", NORMS)
def test_a_plane_without_slope_moves_nothing(norm):
    x = torch.rand(3, 1, 2, 2)
    assert torch.equal(to_hyperplane(x, torch.zeros_like(x), torch.tensor([-1.0, 0.0, 1.0]), norm), torch.zeros_like(x))


def attacked(attack, module, x, y, **more):
    classes = getattr(module, "classes", CLASSES)
    objective = Objective(BoundClassifier(module.eval(), classes=classes, input_shape=SHAPE), attack.loss)
    keys = Keys.of(0, [str(row) for row in range(len(x))], "fab")
    return run(attack, objective, x, y, keys, keep="nearest", **more)


@pytest.mark.parametrize("spread", [0.3, 0.8])
@pytest.mark.parametrize("oracle", [Plane(), Fan(), Bowl(), Bowl(0.8, 0.6, 1.2)], ids=["plane", "fan", "bowl", "aside"])
@pytest.mark.parametrize("attack", [FAB(), FAB(norm="l2"), FABT(), FABT(norm="l2")], ids=repr)
def test_it_comes_within_one_percent_of_the_distance_in_the_box(attack, oracle, spread):
    x = images(oracle, ROWS, spread=spread)
    exact = oracle.nearest_in_box(x, attack.norm)
    outcome = attacked(attack, oracle, x, torch.full((ROWS,), oracle.label))
    assert outcome.fooled.all()
    found = outcome.size(attack.norm)
    assert torch.all(found >= exact - 1e-5)
    assert torch.all(found <= 1.01 * exact + 5e-4), (found / exact).max()


@pytest.mark.parametrize("attack", [FAB(norm="l1"), FABT(norm="l1")], ids=repr)
def test_in_l1_it_finds_the_distance_of_a_linear_programme(attack):
    oracle = Plane()
    x = images(oracle, ROWS, spread=0.8)
    outcome = attacked(attack, oracle, x, torch.zeros(ROWS, dtype=torch.long))
    assert outcome.fooled.all()
    slope = oracle.normal.detach().numpy().astype(float)
    gaps = oracle(x)[:, 1].detach().numpy().astype(float)
    exact = [solved(row, slope, gap, "l1") for row, gap in zip(x.flatten(1).numpy().astype(float), gaps, strict=True)]
    np.testing.assert_allclose(outcome.l1.numpy(), exact, rtol=5e-3, atol=5e-4)


def test_a_step_is_the_formula():
    """From a point that is not the image: δ and δ₀ by bisection, α by their lengths, β where the answer is wrong."""
    generator = torch.Generator().manual_seed(0)
    origin, x, slope = (torch.rand(4, 1, 2, 2, generator=generator).double() for _ in range(3))
    logits = torch.tensor([[3.0, 1.0], [3.0, 2.9], [3.0, -2.0], [1.0, 3.0]]).double()
    fooled = torch.tensor([False, False, False, True])
    empty = torch.empty(4, 0)
    fields = {"eps": torch.full((4,), torch.inf).double(), "seed": torch.arange(4), "logits": logits}
    attack = FAB(norm="l2", steps=20, candidates=1, bias=0.2, overshoot=0.1, backward=0.7)
    state = attack.start(AttackState(x=origin, y=torch.zeros(4, dtype=torch.long), origin=origin, **fields), 0)
    output = Output(logits, torch.zeros(4).double(), empty, slope[:, None], fooled, torch.ones(4, dtype=torch.long))
    after = attack.advance(state.at(x), output).x
    torch.testing.assert_close(after[3], origin[3] + 0.7 * (x[3] - origin[3]))
    for row in range(3):
        gap = float(logits[row, 1] - logits[row, 0]) - 1e-4 * 3
        delta = along(x[row], slope[row], gap)
        home = along(origin[row], slope[row], gap + float((slope[row] * (origin[row] - x[row])).sum()))
        alpha = min(float(delta.norm() / (delta.norm() + home.norm())), 0.2)
        expected = ((1 - alpha) * (x[row] + 1.1 * delta) + alpha * (origin[row] + 1.1 * home)).clamp(0, 1)
        torch.testing.assert_close(after[row], expected, rtol=0, atol=1e-9)


def along(x, slope, gap):
    """The L2 projection on gap + slope·δ = 0 in the box, by bisection on the length along the slope."""
    way, low, high = -slope * np.sign(gap), 0.0, 1e4
    for _ in range(200):
        middle = (low + high) / 2
        delta = (x + middle * way).clamp(0, 1) - x
        short = float((slope * delta).sum()) * -np.sign(gap) < abs(gap)
        low, high = (middle, high) if short else (low, middle)
    return (x + high * way).clamp(0, 1) - x


@pytest.mark.parametrize("norm", NORMS)
def test_later_starts_are_elsewhere_and_only_help(norm):
    """A later start is a point drawn for its row and its number, half as far as the linear model's boundary at most."""
    attack = FAB(norm=norm, candidates=1)
    x, logits = torch.full((4, 1, 2, 2), 0.5), torch.tensor([[0.4, 0.0]] * 4)
    fields = {"eps": torch.full((4,), torch.inf), "seed": torch.arange(4), "logits": logits}
    given = AttackState(x=x, y=torch.zeros(4, dtype=torch.long), origin=x, **fields)
    slope, never = torch.ones(4, 1, 1, 2, 2), torch.zeros(4, dtype=torch.bool)
    output = Output(logits, torch.full((4,), -0.4), torch.empty(4, 0), slope, never, torch.zeros(4, dtype=torch.long))
    first, second, again, third = (attack.advance(attack.start(given, k), output).delta for k in (0, 1, 1, 2))
    assert torch.equal(second, again)
    reach = {"linf": 0.1, "l2": 0.2, "l1": 0.4}[norm]
    for later in (second, third):
        assert torch.all(length(later, norm) < 0.51 * reach)
        assert torch.all(length(later - first, "l2") > 0.01)
    assert torch.all(length(second - third, "l2") > 0.01)
    assert torch.all(length(second[1:] - second[:-1], "l2") > 0.01), "rows are drawn apart"
    once, thrice = (AttackTrial.of(FAB(norm=norm, steps=6, restarts=n), wrong=0).run(keep="nearest") for n in (1, 3))
    assert torch.all(thrice.size(norm)[once.fooled] <= once.size(norm)[once.fooled] + 1e-12)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_the_last_steps_narrow_down_where_the_answer_turns(norm):
    """Steps twice as long as they should be leave every point that fooled well past the boundary; no more then."""
    oracle = Plane()
    x, y = images(oracle, ROWS), torch.zeros(ROWS, dtype=torch.long)
    exact = oracle.nearest_in_box(x, norm)
    found = attacked(FAB(norm=norm, steps=5, overshoot=1.0), oracle, x, y)
    assert found.fooled.all()
    assert torch.all(found.size(norm) <= 1.02 * exact + 1e-3)


def test_every_class_is_tried_and_none_twice():
    oracle = Fan()
    x, y = images(oracle, 9), torch.full((9,), oracle.label)
    for targets, starts in ((1, 1), (3, 3), (9, 4)):
        outcome = attacked(FABT(steps=5, targets=targets), oracle, x, y)
        assert torch.all(outcome.backwards == 5 * starts)
    assert torch.all(attacked(FAB(steps=5, candidates=3), oracle, x, y).backwards == 15)


def test_a_target_class_is_the_only_one_that_is_gone_to():
    oracle = Fan()
    x, y = images(oracle, 8), torch.full((8,), oracle.label)
    goal = torch.tensor([0, 1, 3, 4] * 2)
    for attack in (FAB(), FABT()):
        outcome = attacked(attack, oracle, x, y, target=goal)
        assert outcome.fooled.all()
        assert torch.equal(outcome.logits.argmax(dim=1), goal)
        assert torch.all(outcome.backwards <= 2 * attack.steps)


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_on_a_curved_net_it_finds_what_fmn_finds(norm, classes):
    trials = [
        AttackTrial.of(attack, classes=classes, rows=60, wrong=0)
        for attack in (FAB(norm=norm), FABT(norm=norm), FMN(norm=norm, steps=200, step=0.5))
    ]
    fab, targeted, fmn = (trial.run(keep="nearest", batch=64).size(norm) for trial in trials)
    for found in (fab, targeted):
        assert float((found / fmn).median()) == pytest.approx(1, abs=0.01)
        assert float(found.median()) <= 1.01 * float(fmn.median())


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: FAB(norm="l0"), "l0"),
        (lambda: FAB(restarts=0), "restarts"),
        (lambda: FABT(targets=0), "targets"),
        (lambda: FABT(backward=1.0), "backward"),
        (lambda: FAB(bias=0.0), "bias"),
    ],
)
def test_a_hyper_parameter_out_of_range_is_refused(build, words):
    with pytest.raises((InputError, UnknownNameError), match=words):
        build()


@pytest.mark.shared
@needs_shared
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_on_a_robust_net_the_median_is_that_of_fmn_within_a_few_percent(norm):
    classifier, x, y = robust_mnist(16)
    keys = Keys.of(0, [str(row) for row in range(len(x))], "fab")
    sizes = []
    for attack in (FABT(norm=norm, targets=3), FMN(norm=norm, steps=100)):
        found = run(attack, Objective(classifier, attack.loss), x, y, keys, keep="nearest")
        assert found.fooled.all()
        sizes.append(found.size(norm))
    assert float(sizes[0].median()) <= 1.05 * float(sizes[1].median())
