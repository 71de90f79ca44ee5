"""The first flip along each row's ray: a scan outwards, then a bracketing root search in batches."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType
from typing import TypeAlias

import torch
from torch import Tensor

from demur.attacks.core.best_points import BestPoints
from demur.attacks.core.projections import per_row
from demur.shapes import Flags, Images, Scores

_AIM = 0.45
"""How far past an estimate to evaluate, in tolerances: one on each side of the root closes a bracket of .9."""

_FURTHEST = 0.2
"""Of ITP: how far its estimate is moved towards the middle at first, as a share of the bracket."""

_ROUNDING = 0.999
"""Of ITP: what is demanded beside the tolerance, so that rounding costs no further evaluation."""


@dataclass(frozen=True)
class Bracket:
    """Rows of intervals with a change of sign inside: the function is not positive at `low`, positive at `high`.

    A row may have no `high` yet, infinity then: it is still searched from below. Values are NaN where they cannot be
    trusted to say how far the root is. `last` is the end that the newest point has replaced, or the point evaluated
    before `low` was, NaN where there is none. `width` is that of the first bracket, `evaluations` counts the points
    inside.
    """

    low: Scores
    high: Scores
    low_value: Scores
    high_value: Scores
    last: Scores
    last_value: Scores
    width: Scores
    evaluations: Tensor

    @classmethod
    def above(cls, values: Scores) -> "Bracket":
        """Rows that begin at 0, where the function has these values, without an upper end."""
        zero = torch.zeros_like(values)
        return cls(
            zero,
            zero + torch.inf,
            values,
            zero + torch.nan,
            zero + torch.nan,
            zero + torch.nan,
            zero + torch.inf,
            zero.int(),
        )

    @classmethod
    def between(cls, low: Scores, high: Scores, low_value: Scores, high_value: Scores) -> "Bracket":
        """Rows of which both ends are known."""
        zero = torch.zeros_like(low)
        return cls(low, high, low_value, high_value, zero + torch.nan, zero + torch.nan, high - low, zero.int())

    def rows(self, index: Tensor) -> "Bracket":
        """Some of the rows."""
        return Bracket(*(getattr(self, field.name)[index] for field in fields(self)))

    def holds(self, t: Scores) -> Flags:
        """Whether points lie strictly inside; the middle does not where numbers have no room for it."""
        return (t > self.low) & (t < self.high)

    def put(self, index: Tensor, other: "Bracket") -> None:
        """Write rows of another bracket over some of these."""
        for field in fields(self):
            getattr(self, field.name)[index] = getattr(other, field.name)

    def narrowed(self, t: Scores, value: Scores, positive: Flags) -> "Bracket":
        """The same rows after `t` was evaluated; a value that contradicts the sign is not believed."""
        value = torch.where((value > 0) == positive, value, torch.nan)
        open_end = self.high.isinf()
        from_above = positive & ~open_end
        keep = positive & open_end
        return Bracket(
            low=torch.where(positive, self.low, t),
            high=torch.where(positive, t, self.high),
            low_value=torch.where(positive, self.low_value, value),
            high_value=torch.where(positive, value, self.high_value),
            last=torch.where(keep, self.last, torch.where(from_above, self.high, self.low)),
            last_value=torch.where(keep, self.last_value, torch.where(from_above, self.high_value, self.low_value)),
            width=torch.where(keep, t - self.low, self.width),
            evaluations=self.evaluations + (~open_end).int(),
        )


Rule: TypeAlias = Callable[[Bracket, float], Scores]
"""(bracket, tolerance) → the point of each row to evaluate next."""


def bisection(bracket: Bracket, tolerance: float) -> Scores:  # noqa: ARG001 - all rules take a tolerance
    """The middle: one bit an evaluation, whatever the function."""
    return bracket.low + (bracket.high - bracket.low) / 2


def itp(bracket: Bracket, tolerance: float) -> Scores:
    """Interpolate, truncate, project: regula falsi moved towards the middle, and kept near enough to it.

    So it takes one evaluation more than bisection at most; the middle is taken where a value is not to be trusted.

    Oliveira & Takahashi (2020), doi:10.1145/3423597. κ₁ = .2/width, κ₂ = 2, n₀ = 1.
    """
    width, middle = bracket.high - bracket.low, bisection(bracket, tolerance)
    falsi = bracket.low + width * _share(bracket)
    to_middle = middle - falsi
    pull = torch.minimum(_FURTHEST * width**2 / bracket.width, to_middle.abs())
    moved = falsi + to_middle.sign() * pull
    slack = _ROUNDING * tolerance / 2 * 2 ** (_halvings(bracket, tolerance) + 1 - bracket.evaluations) - width / 2
    projected = middle - to_middle.sign() * torch.minimum((moved - middle).abs(), slack.clamp(min=0))
    return torch.where(projected.isfinite(), _inset(projected, bracket, tolerance), middle)


def chandrupatla(bracket: Bracket, tolerance: float) -> Scores:
    """Inverse quadratic interpolation where three points allow it, else the middle; it closes in from both sides.

    Of the three points two are the ends and one was an end before. Where there is none, regula falsi takes its place.
    The point lies a little past the estimate, seen from the nearer end: so the other end is soon as near, and the
    bracket closes instead of creeping up from one side. A row that bisection would have settled by now is bisected.

    Chandrupatla (1997), doi:10.1016/S0965-9978(96)00051-8.
    """
    width, middle = bracket.high - bracket.low, bisection(bracket, tolerance)
    share = torch.where(bracket.last.isnan(), _share(bracket), _quadratic(bracket))
    estimate = bracket.low + share * width
    past = torch.where(share < 0.5, _AIM, -_AIM) * tolerance
    trusted = share.isfinite() & (bracket.evaluations < _halvings(bracket, tolerance))
    return torch.where(trusted, _inset(estimate + past, bracket, tolerance), middle)


def _inset(t: Scores, bracket: Bracket, tolerance: float) -> Scores:
    """Half a tolerance away from either end at least, where there is room: nearer nothing would be learned."""
    inset = ((bracket.high - bracket.low) / 2).clamp(max=tolerance / 2)
    return torch.minimum(torch.maximum(t, bracket.low + inset), bracket.high - inset)


def _share(bracket: Bracket) -> Scores:
    """Where a straight line between the ends crosses 0, as a share of the way up."""
    return bracket.low_value / (bracket.low_value - bracket.high_value)


def _quadratic(bracket: Bracket) -> Scores:
    """Where the parabola t(value) through three points meets 0, as a share of the way up; NaN where it is not monotone.

    In the names of the paper x₁ is the end beside the third point x₃, and x₂ the other one.
    """
    upper = bracket.last > bracket.high
    x1, x2 = torch.where(upper, bracket.high, bracket.low), torch.where(upper, bracket.low, bracket.high)
    f1 = torch.where(upper, bracket.high_value, bracket.low_value)
    f2 = torch.where(upper, bracket.low_value, bracket.high_value)
    x3, f3 = bracket.last, bracket.last_value
    xi, phi = (x1 - x2) / (x3 - x2), (f1 - f2) / (f3 - f2)
    fits = (phi**2 < xi) & ((1 - phi) ** 2 < 1 - xi)
    share = f1 / (f2 - f1) * f3 / (f2 - f3) + (x3 - x1) / (x2 - x1) * f1 / (f3 - f1) * f2 / (f3 - f2)
    share = torch.where(fits & (share >= 0) & (share <= 1), share, torch.nan)
    return torch.where(upper, 1 - share, share)


def _halvings(bracket: Bracket, tolerance: float) -> Scores:
    """How many evaluations bisection takes."""
    return (bracket.width / tolerance).log2().ceil().clamp(min=0)


ROOTS: Mapping[str, Rule] = MappingProxyType({"bisection": bisection, "chandrupatla": chandrupatla, "itp": itp})

_MOVES = (0.0, 1.0, 2.0, 4.0, 8.0)
"""Tolerances by which a point that does not stand when it is evaluated again is moved outwards."""

_RESOLVED = 4.0
"""Smallest move in units of the last place."""


@dataclass(frozen=True)
class Path:
    """A ray from each row's image, bent where the unit box ends: x(t) = clip(x + t·d, 0, 1)."""

    origin: Images
    direction: Images

    def at(self, ids: Tensor, t: Scores) -> Images:
        """Some rows, each at a length along its ray."""
        return (self.origin[ids] + per_row(t) * self.direction[ids]).clamp(0, 1)


class LineSearch:
    """The state of a search: one bracket a row, the point each row is to be evaluated at next, what it has cost.

    Args:
        values: by how much each clean image succeeds, in logits; negative.
        sizes: the points of the scan, growing.
        tolerance: the width at which a bracket is narrow enough.
        rule: which point of a bracket to evaluate next.
    """

    def __init__(self, values: Scores, sizes: Scores, tolerance: float, rule: Rule) -> None:
        self.sizes, self.tolerance, self.rule = sizes, tolerance, rule
        self.bracket = Bracket.above(torch.where(values > 0, torch.nan, values))
        self.next = sizes[:1].repeat(len(values))
        self.scan = torch.zeros(len(values), dtype=torch.int32, device=values.device)

    @property
    def refine(self) -> Tensor:
        """Evaluations (rows,) inside a bracket."""
        return self.bracket.evaluations

    def enter(self, ids: Tensor, value: Scores, flipped: Flags) -> Flags:
        """What some rows came to at their next points; which of them are to be evaluated again."""
        before = self.bracket.rows(ids)
        self.scan[ids] += before.high.isinf().int()
        now = before.narrowed(self.next[ids], value, flipped)
        self.bracket.put(ids, now)
        found, scan = now.high.isfinite(), self.scan[ids]
        further = self.sizes[scan.clamp(max=len(self.sizes) - 1).long()]
        t, middle = self.rule(now, self.tolerance), bisection(now, self.tolerance)
        self.next[ids] = torch.where(found, torch.where(now.holds(t), t, middle), further)
        wide = (now.high - now.low > self.tolerance) & now.holds(middle)
        return torch.where(found, wide, scan < len(self.sizes))


def run_search(search: LineSearch, best: BestPoints, path: Path, waiting: Tensor, batch: int) -> None:
    """Search until every waiting row has a narrow bracket or stands at the end of the scan.

    Rows that scan and rows that refine share batches, and rows that are done make room for waiting ones.
    """
    ids = waiting[:0]
    while len(ids) or len(waiting):
        ids, waiting = torch.cat([ids, waiting[: batch - len(ids)]]), waiting[batch - len(ids) :]
        answer = best.aim.answer(path.at(ids, search.next[ids]), best.y[ids])
        best.forwards[ids] += 1
        best.approach(ids, answer)
        flipped = best.found(answer, ids)
        first = flipped & (best.step[ids] < 0)
        going = search.enter(ids, best.aim.excess(answer, best.y[ids]), flipped)
        best.step[ids[first]] = search.scan[ids[first]].to(best.step)
        ids = ids[going]


def confirm(search: LineSearch, best: BestPoints, path: Path, batch: int) -> None:
    """Evaluate every upper end again, in passes of their own, those that flip by little in float64.

    A point that does not stand is moved outwards by a few tolerances before it is given up: all these points are near
    the boundary, that is what they were searched for. Writes each row's point and answer into `best`.
    """
    ids = search.bracket.high.isfinite().nonzero().squeeze(1)
    high, cap = search.bracket.high.clone(), search.sizes[-1]
    for move in _MOVES:
        if not len(ids):
            return
        stride = (high[ids] * _RESOLVED * torch.finfo(high.dtype).eps).clamp(min=search.tolerance)
        at = (high[ids] + move * stride).minimum(cap)
        points = path.at(ids, at)
        answer = best.forward(ids, points, batch)
        best.x[ids], search.bracket.high[ids] = points, at
        best.answer.put(ids, answer)
        ids = ids[~best.stands(ids, points, answer)]
