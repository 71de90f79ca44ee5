"""The minimal perturbation along one fixed direction: gradient, its sign, random, or a function of one's own."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import ClassVar, TypeAlias

import torch
from torch import Tensor

from demur.attacks.core.attack import FIXED_PASSES, Attack, Refusal, check_gradients, refuse
from demur.attacks.core.attack_state import Keep, Needs, Norm, Outcome, Trouble
from demur.attacks.core.best_points import BestPoints, verified
from demur.attacks.core.hyperparameters import check_above_zero, check_eps, check_norm, check_steps
from demur.attacks.core.line_search import ROOTS, LineSearch, Path, confirm, run_search
from demur.attacks.core.losses import check_loss
from demur.attacks.core.objective import Answer, Objective
from demur.attacks.core.projections import of_length_one
from demur.attacks.external.callable_attack import check_path, function_at
from demur.errors import InputError, unknown
from demur.randomness import Keys
from demur.shapes import Images, Labels, Logits, Scores

Way: TypeAlias = Callable[[Images, Labels, Images], Tensor]
"""(images, labels, gradient of the loss) → directions, of any length."""


@dataclass(frozen=True)
class NamedDirection:
    """What a name stands for.

    `words` are for reports; a direction at random has no `way`, since it needs no gradient.
    """

    words: str
    way: Way | None


_NAMED: Mapping[str, NamedDirection] = MappingProxyType(
    {
        "gradient": NamedDirection("along the gradient of the loss", lambda x, y, gradient: gradient),  # noqa: ARG005 - a way takes all three
        "random": NamedDirection("in a random direction", None),
        "sign": NamedDirection("along the sign of the loss gradient", lambda x, y, gradient: gradient.sign()),  # noqa: ARG005 - as above
    }
)


def check_direction(name: str) -> None:
    """Refuse what is neither the name of a direction nor the path of a function."""
    if ":" in name:
        check_path("direction", name)
    elif name not in _NAMED:
        raise unknown("direction", name, [*_NAMED, "package.module:function"])


def direction_of(name: str) -> NamedDirection:
    """What a name stands for; a path imports its module.

    Raises:
        AddressError: there is no such module.
        InputError: it has no such function.
    """
    return _NAMED[name] if name in _NAMED else NamedDirection(direction_words(name), function_at("direction", name))


def direction_words(name: str) -> str:
    """The direction in words; nothing is imported."""
    return _NAMED[name].words if name in _NAMED else f"in the direction that {name} gives"


def directed(name: str, way: Way, x: Images, y: Labels, gradient: Images) -> Images:
    """What a way says of some images.

    Raises:
        InputError: it is not one direction for each image.
    """
    found = torch.as_tensor(way(x, y, gradient)).detach()
    if found.shape != x.shape:
        raise InputError(
            f"the direction {name!r} must give one tensor of the images' own shape, {tuple(x.shape)}; it gave "
            f"{tuple(found.shape)}."
        )
    return found.to(x)


def at_random(x: Images, keys: Keys) -> Images:
    """Standard normal numbers: in L2, once of length one, every direction is as likely as any other."""
    return keys.normal(x, "direction")


_SPAN = 1024.0
"""The cap over the first point of the scan."""


@dataclass(frozen=True, kw_only=True)
class Ray(Attack):
    """How far an image can go one way before its answer flips: the first flip along a fixed direction that a scan sees.

    The ray is x(t) = clip(x + t·d, 0, 1) with d of length one in `norm`. A scan evaluates `steps` points from cap/1024
    to the cap, each as many times as far as the one before it, and stops at the first flip; a root search then narrows
    the interval down to `tolerance`. A flip that lies with its return between two points of the scan is not seen, nor
    one by less than 10⁻⁵ of the largest logit: a flip is a clear one, as for all attacks. The direction is fixed at the
    image itself, so the size is an upper bound on the minimal perturbation.

    `direction` is the `sign` or the `gradient` of the loss, `random`, or the path of a function of one's own,
    `package.module:function`, that takes images, labels and gradients. The `cap` is by default a change of 1 in every
    pixel. Root searches: `chandrupatla`, `itp`, `bisection`.

    Direction: Goodfellow et al. (2015), arXiv:1412.6572. Search: Chandrupatla (1997),
    doi:10.1016/S0965-9978(96)00051-8; Oliveira & Takahashi (2020), doi:10.1145/3423597.
    """

    restarts: ClassVar[int] = 1
    eps: ClassVar[None] = None
    no_keep: ClassVar[Refusal] = (
        "a ray looks for the first flip along it",
        "Name another attack, such as fgsm, to keep another point.",
    )
    no_target: ClassVar[Refusal] = (
        "a ray leads away from the label",
        "Name an attack that follows the gradient, such as fmn.",
    )

    direction: str = "sign"
    norm: Norm = "linf"
    cap: float | None = None
    steps: int = 16
    tolerance: float = 1e-5
    root: str = "chandrupatla"
    loss: str = "cross_entropy"

    def __post_init__(self) -> None:
        check_direction(self.direction)
        check_norm(self.norm)
        if self.cap is not None:
            check_eps(self.cap, self.norm, "cap")
        check_steps(self.steps)
        check_above_zero("tolerance", self.tolerance)
        if self.root not in ROOTS:
            raise unknown("root", self.root, ROOTS)
        check_loss(self.loss)

    @property
    def needs(self) -> Needs:
        """Of the clean image; further out a forward is enough."""
        return "loss" if self.direction == "random" else "gradient"

    @property
    def passes(self) -> int:
        """Forward and backward passes an image takes at most."""
        return FIXED_PASSES + (1 if self.needs == "loss" else 2) * self.steps

    @property
    def line(self) -> "Ray":
        """Itself."""
        return self

    @property
    def sentence(self) -> str:
        """What is done, for reports."""
        return f"{{size}} {direction_words(self.direction)} that flips the answer, scanned at {{steps}} sizes"

    @property
    def resolution(self) -> str:
        """What the scan can see, in words."""
        if self.steps == 1:
            return "the first flip is looked for between nothing and the cap, seen only if it lasts up to the cap"
        return (
            f"the first flip is looked for at {self.steps} sizes from 1/{_SPAN:.0f} of the cap to the cap, each "
            f"{_SPAN ** (1 / (self.steps - 1)):.3g} times the one before; one that returns between two of them is not "
            f"seen. It is then narrowed down to {f'{self.tolerance:.12f}'.rstrip('0')}"
        )

    def reach(self, values: int) -> float:
        """The cap for images of so many values, pixels times channels."""
        usual = 1.0 if self.norm == "linf" else math.sqrt(values)
        return usual if self.cap is None else self.cap

    def sizes(self, like: Images) -> Scores:
        """The points of the scan, from cap/1024 to the cap, in the precision of some images."""
        cap = self.reach(math.prod(like.shape[1:]))
        shares = torch.linspace(-1, 0, self.steps, dtype=torch.float64) if self.steps > 1 else torch.zeros(1)
        return (cap * _SPAN**shares).to(like)

    @property
    def gradient_free(self) -> bool:
        """Whether it sees answers alone."""
        return self.direction == "random"

    def check(self, objective: Objective) -> None:
        """Refuse a direction that is not there, and one along a gradient of a model that has none.

        Raises:
            AddressError, InputError: there is no module, or no function in it, by the path of the direction.
            ModelError: it follows the gradient and the model has none.
        """
        direction_of(self.direction)
        check_gradients(self, objective)

    def execute(
        self,
        objective: Objective,
        x: Images,
        y: Labels,
        keys: Keys,
        *,
        keep: Keep | None = None,
        batch: int = 128,
        target: Labels | None = None,
        eps: Scores | None = None,
        answers: Logits | None = None,
        weights: Tensor | None = None,
        trace: bool = False,
    ) -> Outcome:
        """Follow every row's ray to its first flip."""
        self.check_keep(keep)
        self.check_target(target)
        refuse(self, eps=eps, answers=answers, trace=trace)
        found = run_ray(self, objective, x, y, keys, batch=batch, weights=weights)
        spent = {"spent.scan": tuple(found.scan.tolist()), "spent.refine": tuple(found.refine.tolist())}
        return replace(found.outcome, extra=spent)

    def follow(
        self,
        objective: Objective,
        x: Images,
        y: Labels,
        keys: Keys,
        eps: Scores,
        *,
        batch: int = 128,
        weights: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The probability of the label (rows, points) along every row's ray, and whether the answer stands there.

        Args:
            objective: what it is aimed at.
            x: clean images in [0, 1].
            y: true labels.
            keys: one key per row.
            eps: lengths (points,) on the ray, before the unit box clips it.
            batch: rows per pass.
            weights: as in `execute`.
        """
        best = BestPoints(self.norm, objective, x, y, None, "nearest")
        with objective.frozen():
            path = _first_path(self, best, keys, batch, weights, None)[1]
            rows = torch.arange(len(x), device=x.device).repeat_interleave(len(eps))
            lengths = eps.to(x).repeat(len(x))
            parts = zip(torch.split(rows, batch), torch.split(lengths, batch), strict=True)
            answer = Answer.join([objective.answer(path.at(ids, t), y[ids]) for ids, t in parts])
        claimed = answer.logits.double().softmax(dim=1).gather(1, y[rows, None]).to(x.dtype)
        standing = ~objective.fooled(answer, y[rows])
        return claimed.view(len(x), len(eps)), standing.view(len(x), len(eps))


@dataclass(frozen=True)
class RayOutcome:
    """What a ray came to in each row.

    `outcome` has the upper end of the last interval, which flips; its lower end, which does not, lies `tolerance`
    before it or nearer. `low` and `high` are the ends as lengths on the ray before the unit box clips it: 0 and 0 where
    the image is wrong already, the last size and infinity where nothing flips. `scan` and `refine` are forwards in
    either part; what the outcome counts besides are the pass of the image itself and those that confirm.
    """

    outcome: Outcome
    scan: Tensor
    refine: Tensor
    low: Scores
    high: Scores


def run_ray(
    ray: Ray,
    objective: Objective,
    x: Images,
    y: Labels,
    keys: Keys,
    *,
    batch: int = 128,
    weights: Tensor | None = None,
    direction: Images | None = None,
) -> RayOutcome:
    """Follow every row's ray to its first flip, the gradient taken in the pass that gives the clean answer.

    A row that is wrong already counts as fooled at size 0. A row that does not flip up to the cap is not fooled; one
    whose direction is zero everywhere takes no further pass, and is flagged.

    Args:
        ray: what to run.
        objective: what it is aimed at; its loss is what has a gradient.
        x: clean images in [0, 1], float32 or float64.
        y: true labels.
        keys: one key per row; results do not depend on batch size or order.
        batch: rows per pass.
        weights: (rows, 1, height, width) by which the direction is multiplied before its length is made one.
        direction: of each row, in place of the ray's own; no gradient is taken.
    """
    best = BestPoints(ray.norm, objective, x, y, None, "nearest")
    with objective.frozen():
        clean, path = _first_path(ray, best, keys, batch, weights, direction)
        search = LineSearch(best.aim.excess(clean, y), ray.sizes(x), ray.tolerance, ROOTS[ray.root])
        moves = path.direction.flatten(1).any(dim=1)
        stuck = ~moves & (best.step < 0)
        best.troubles[stuck] |= int(Trouble.ZERO_GRADIENT)
        waiting = ((best.step < 0) & moves).nonzero().squeeze(1)
        run_search(search, best, path, waiting, batch)
        confirm(search, best, path, batch)
        outcome = verified(best, clean, torch.full_like(clean.logits[:, 0], torch.inf))
    return RayOutcome(
        outcome=outcome,
        scan=search.scan,
        refine=search.refine,
        low=search.bracket.low,
        high=search.bracket.high.masked_fill(best.step == 0, 0.0),
    )


def _first_path(
    ray: Ray, best: BestPoints, keys: Keys, batch: int, weights: Tensor | None, given: Images | None
) -> tuple[Answer, Path]:
    """What the model says of the clean images, and where that sends each row."""
    x = best.clean
    if given is None and ray.needs == "gradient":
        clean, direction = _gradients(ray, best, batch)
    else:
        everyone = torch.arange(len(x), device=x.device)
        clean, direction = best.forward(everyone, x, batch), at_random(x, keys) if given is None else given.to(x)
    weighted = direction if weights is None else direction * weights.to(x)
    broken = ~weighted.flatten(1).isfinite().all(dim=1)
    best.troubles[broken] |= int(Trouble.NONFINITE_GRADIENT)
    best.begin(clean)
    best.loss_start = best.objective.loss(clean, best.y).float()
    best.step[best.objective.fooled(clean, best.y)] = 0
    return clean, Path(x, of_length_one(weighted.nan_to_num(0.0, 0.0, 0.0), ray.norm))


def _gradients(ray: Ray, best: BestPoints, batch: int) -> tuple[Answer, Images]:
    """Answers and directions by one forward and one backward."""
    way = direction_of(ray.direction).way
    assert way is not None
    parts = zip(torch.split(best.clean, batch), torch.split(best.y, batch), strict=True)
    answers, found = zip(*(best.objective.climb(x, y) for x, y in parts), strict=True)
    clean, gradients = Answer.join(answers), torch.cat(found)
    best.forwards += 1
    best.backwards += 1
    best.troubles[~gradients.flatten(1).isfinite().all(dim=1)] |= int(Trouble.NONFINITE_GRADIENT)
    return clean, directed(ray.direction, way, best.clean, best.y, gradients.nan_to_num(0.0, 0.0, 0.0))
