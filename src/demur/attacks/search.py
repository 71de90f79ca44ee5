"""The first flip along each row's ray: a scan outwards, then a root search between the last two points of the scan."""

from dataclasses import dataclass

import torch
from torch import Tensor

from demur.attacks.balls import spread
from demur.attacks.ledger import Ledger
from demur.attacks.roots import Bracket, Rule, bisection
from demur.shapes import Flags, Images, Logits, Scores

_MOVES = (0.0, 1.0, 2.0, 4.0, 8.0)
"""Tolerances by which a point that does not stand when it is looked at again is moved outwards."""

_RESOLVED = 4.0
"""Smallest move in units of the last place."""


@dataclass(frozen=True)
class Path:
    """A ray from each row's image, bent where the unit box ends: x(t) = clip(x + t·d, 0, 1)."""

    origin: Images
    direction: Images

    def at(self, ids: Tensor, t: Scores) -> Images:
        """Some rows, each as far along its ray as asked for."""
        return (self.origin[ids] + spread(t) * self.direction[ids]).clamp(0, 1)


class Search:
    """The books of a search: one bracket a row, the point each row is to be looked at next, what it has cost.

    Args:
        values: by how much each clean image succeeds, in logits; negative.
        sizes: the points of the scan, growing.
        tolerance: the width at which a bracket is narrow enough.
        rule: which point of a bracket to look at next.
    """

    def __init__(self, values: Scores, sizes: Scores, tolerance: float, rule: Rule) -> None:
        self.sizes, self.tolerance, self.rule = sizes, tolerance, rule
        self.bracket = Bracket.above(torch.where(values > 0, torch.nan, values))
        self.next = sizes[:1].repeat(len(values))
        self.scan = torch.zeros(len(values), dtype=torch.int32, device=values.device)

    @property
    def refine(self) -> Tensor:
        """Looks (rows,) inside a bracket."""
        return self.bracket.asked

    def enter(self, ids: Tensor, value: Scores, flipped: Flags) -> Flags:
        """What some rows showed at their next points; which of them are to be looked at again."""
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


def run_search(search: Search, ledger: Ledger, path: Path, waiting: Tensor, batch: int) -> None:
    """Look until every waiting row has a narrow bracket or stands at the end of the scan.

    Rows that scan and rows that refine share batches, and rows that are done make room for waiting ones.
    """
    ids = waiting[:0]
    while len(ids) or len(waiting):
        ids, waiting = torch.cat([ids, waiting[: batch - len(ids)]]), waiting[batch - len(ids) :]
        logits = ledger.objective.logits(path.at(ids, search.next[ids]))
        ledger.forwards[ids] += 1
        ledger.approach(ids, logits)
        flipped = ledger.reached(logits, ids)
        first = flipped & (ledger.step[ids] < 0)
        going = search.enter(ids, ledger.objective.excess(logits, ledger.y[ids]), flipped)
        ledger.step[ids[first]] = search.scan[ids[first]].to(ledger.step)
        ids = ids[going]


def confirm(search: Search, ledger: Ledger, path: Path, batch: int) -> None:
    """Look at every upper end again, in passes of their own, those that flip by little in float64.

    A point that does not stand is moved outwards by a few tolerances before it is given up: all these points are near
    the boundary, that is what they were looked for. Writes each row's point and answer into the ledger.
    """
    ids = search.bracket.high.isfinite().nonzero().squeeze(1)
    high, cap = search.bracket.high.clone(), search.sizes[-1]
    for move in _MOVES:
        if not len(ids):
            return
        stride = (high[ids] * _RESOLVED * torch.finfo(high.dtype).eps).clamp(min=search.tolerance)
        at = (high[ids] + move * stride).minimum(cap)
        points = path.at(ids, at)
        logits = ledger.forward(ids, points, batch)
        ledger.x[ids], ledger.logits[ids], search.bracket.high[ids] = points, logits, at
        ids = ids[~_stands(ledger, ids, points, logits)]


def _stands(ledger: Ledger, ids: Tensor, points: Images, logits: Logits) -> Flags:
    """Which points succeed; float64 has the last word on those that do by little."""
    objective, y = ledger.objective, ledger.y[ids]
    stands = ledger.reached(logits, ids)
    near = objective.near(logits, y).nonzero().squeeze(1)
    if len(near):
        ledger.forwards[ids[near]] += 1
        stands[near] = objective.confirmed(points[near], y[near])
        ledger.settled[ids[near]] = stands[near]
    return stands
