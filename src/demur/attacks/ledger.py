"""The books of one run: what each row cost, its best point so far, and what went wrong."""

import torch
from torch import Tensor

from demur.attacks.objective import Objective
from demur.attacks.outcome import Keep, Trouble
from demur.attacks.walk import Norm, Seen, Walk
from demur.shapes import Flags, Images, Labels, Logits, Scores


def distance(x: Images, origin: Images, norm: Norm) -> Scores:
    """Length of each row's perturbation, in pixel fractions."""
    order = torch.inf if norm == "linf" else 2
    return torch.linalg.vector_norm((x - origin).flatten(1), ord=order, dim=1)


class Ledger:
    """Per-row tensors the loop writes into; `ids` are row numbers into them.

    A point's `worth` decides which one is kept: its loss under `worst`, minus its distance, if it fools, under
    `nearest`, and being the first that fools under `first`. `checked` marks kept points whose logits come from a pass
    of their own.
    """

    def __init__(self, objective: Objective, x: Images, y: Labels, keep: Keep, norm: Norm) -> None:
        rows, device = len(x), x.device
        self.objective, self.clean, self.y, self.keep, self.norm = objective, x, y, keep, norm
        self.x = x.clone()
        self.logits = torch.empty(0, device=device)
        self.worth = torch.full((rows,), -torch.inf, device=device)
        self.checked = torch.zeros(rows, dtype=torch.bool, device=device)
        self.step = torch.full((rows,), -1, device=device)
        self.loss_start = torch.full((rows,), torch.nan, device=device)
        self.forwards = torch.zeros(rows, dtype=torch.int32, device=device)
        self.backwards = torch.zeros(rows, dtype=torch.int32, device=device)
        self.troubles = torch.zeros(rows, dtype=torch.int32, device=device)

    def forward(self, ids: Tensor, x: Images, batch: int) -> Logits:
        """Logits of some rows at some points, in full batches, one forward each."""
        self.forwards[ids] += 1
        return torch.cat([self.objective.logits(part) for part in torch.split(x, batch)])

    def note(self, ids: Tensor, walk: Walk, seen: Seen) -> None:
        """Book one look inside the loop: a forward and a backward each, and the point if it is the best so far."""
        self.forwards[ids] += 1
        self.backwards[ids] += 1
        begins = seen.step == 0
        self.loss_start[ids[begins]] = seen.loss[begins].float()
        largest = seen.gradient.flatten(1).abs().amax(dim=1)
        self.troubles[ids[largest == 0]] |= int(Trouble.ZERO_GRADIENT)
        self.troubles[ids[~largest.isfinite()]] |= int(Trouble.NONFINITE_GRADIENT)
        self.offer(ids, walk.x, seen.logits, seen.step, checked=False)

    def offer(self, ids: Tensor, x: Images, logits: Logits, step: Tensor, *, checked: bool) -> None:
        """Keep the points that are worth more than what is kept so far."""
        fooled = self.objective.fooled(logits, self.y[ids])
        newly = fooled & (self.step[ids] < 0)
        self.step[ids[newly]] = step[newly]
        worth = self._worth(ids, x, logits, fooled)
        better = (worth > self.worth[ids]).nonzero().squeeze(1)
        rows = ids[better]
        self.worth[rows] = worth[better]
        self.x[rows] = x[better]
        self.logits[rows] = logits[better]
        self.checked[rows] = checked

    def _worth(self, ids: Tensor, x: Images, logits: Logits, fooled: Flags) -> Scores:
        if self.keep == "worst":
            return self.objective.loss(logits, self.y[ids]).float()
        worth = (
            -distance(x, self.clean[ids], self.norm).float()
            if self.keep == "nearest"
            else torch.zeros_like(ids).float()
        )
        return worth.masked_fill(~fooled, -torch.inf)
