"""The books of one run: what each row cost, its best point so far, and what went wrong."""

import torch
from torch import Tensor

from demur.attacks.balls import length
from demur.attacks.objective import Objective
from demur.attacks.outcome import Keep, Trouble
from demur.attacks.walk import Norm, Seen, Walk
from demur.shapes import Flags, Images, Labels, Logits, Scores


class Ledger:
    """Per-row tensors the loop writes into; `ids` are row numbers into them.

    A point's `worth` decides which one is kept: its loss under `worst`, minus its distance, if it fools, under
    `nearest`, and being the first that fools under `first`. `checked` marks kept points whose logits come from a pass
    of their own, `settled` those that were confirmed in float64. `closest` is the answer at the point where success was
    nearest, by `lead`, whichever point is kept.
    """

    def __init__(self, norm: Norm, objective: Objective, x: Images, y: Labels, goal: Labels | None, keep: Keep) -> None:
        rows, device = len(x), x.device
        self.objective, self.clean, self.y, self.goal, self.keep = objective, x, y, goal, keep
        self.norm: Norm = norm
        self.x = x.clone()
        self.logits = self.closest = torch.empty(0, device=device)
        self.lead = torch.full((rows,), -torch.inf, device=device)
        self.worth = torch.full((rows,), -torch.inf, device=device)
        self.checked = torch.zeros(rows, dtype=torch.bool, device=device)
        self.settled = torch.zeros(rows, dtype=torch.bool, device=device)
        self.step = torch.full((rows,), -1, device=device)
        self.loss_start = torch.full((rows,), torch.nan, device=device)
        self.forwards = torch.zeros(rows, dtype=torch.int32, device=device)
        self.backwards = torch.zeros(rows, dtype=torch.int32, device=device)
        self.troubles = torch.zeros(rows, dtype=torch.int32, device=device)
        self.trace = torch.empty(rows, 0, device=device)

    def opened(self, batch: int) -> tuple[Logits, Tensor]:
        """Look at the clean images: the answers, and the rows worth attacking.

        Under `worst` these are all, else those that do not succeed already; rows whose goal is −1 never are.
        """
        everyone = torch.arange(len(self.x), device=self.x.device)
        clean = self.forward(everyone, self.x, batch)
        self.logits, self.closest = clean.clone(), clean.clone()
        done = self.reached(clean, everyone)
        self.step[done] = 0
        wanted = torch.ones_like(done) if self.keep == "worst" else ~done
        if self.goal is not None:
            wanted &= self.goal >= 0
        return clean, everyone[wanted]

    def traced(self, looks: int) -> None:
        """Keep the loss of every look, `looks` at most."""
        self.trace = torch.full((len(self.x), looks), torch.nan, device=self.x.device)

    def reached(self, logits: Logits, ids: Tensor) -> Flags:
        """Which of some rows succeed with these logits."""
        return self.objective.fooled(logits, self.y[ids], self._goal(ids))

    def loss(self, logits: Logits, ids: Tensor) -> Scores:
        """The objective's own loss of some rows, whatever class an attack climbs towards for the moment."""
        return self.objective.loss(logits, self.y[ids], self._goal(ids))

    def _goal(self, ids: Tensor) -> Labels | None:
        return None if self.goal is None else self.goal[ids]

    def forward(self, ids: Tensor, x: Images, batch: int) -> Logits:
        """Logits of some rows at some points, in full batches, one forward each."""
        self.forwards[ids] += 1
        return torch.cat([self.objective.logits(part) for part in torch.split(x, batch)])

    def note(self, ids: Tensor, walk: Walk, seen: Seen, before: int) -> None:
        """Book one look inside the loop: what it cost, and the point if it is the best so far.

        `before` are the steps of earlier restarts.
        """
        self.forwards[ids] += 1
        self.backwards[ids] += seen.jacobian.shape[1] if seen.jacobian.numel() else int(seen.gradient.numel() > 0)
        begins = (seen.step == 0) & self.loss_start[ids].isnan()
        self.loss_start[ids[begins]] = self.loss(seen.logits[begins], ids[begins]).float()
        if self.trace.shape[1]:
            self.trace[ids, seen.step + before] = seen.loss.float()
        self._distrust(ids, seen.jacobian if seen.jacobian.numel() else seen.gradient)
        self.offer(ids, walk.x, seen.logits, seen.step + before, checked=False)

    def _distrust(self, ids: Tensor, gradient: Tensor) -> None:
        if gradient.numel():
            largest = gradient.flatten(1).abs().amax(dim=1)
            self.troubles[ids[largest == 0]] |= int(Trouble.ZERO_GRADIENT)
            self.troubles[ids[~largest.isfinite()]] |= int(Trouble.NONFINITE_GRADIENT)

    def offer(self, ids: Tensor, x: Images, logits: Logits, step: Tensor, *, checked: bool) -> None:
        """Keep the points that are worth more than what is kept so far."""
        self.approach(ids, logits)
        fooled = self.reached(logits, ids)
        newly = fooled & (self.step[ids] < 0)
        self.step[ids[newly]] = step[newly]
        worth = self._worth(ids, x, logits, fooled)
        better = (worth > self.worth[ids]).nonzero().squeeze(1)
        rows = ids[better]
        self.worth[rows] = worth[better]
        self.x[rows] = x[better]
        self.logits[rows] = logits[better]
        self.checked[rows] = checked

    def approach(self, ids: Tensor, logits: Logits) -> None:
        """Book how near some rows have come to success, and their answers there."""
        lead = self.objective.lead(logits, self.y[ids], self._goal(ids)).to(self.lead)
        nearer = (lead > self.lead[ids]).nonzero().squeeze(1)
        self.lead[ids[nearer]] = lead[nearer]
        self.closest[ids[nearer]] = logits[nearer]

    def _worth(self, ids: Tensor, x: Images, logits: Logits, fooled: Flags) -> Scores:
        if self.keep == "worst":
            return self.loss(logits, ids).float()
        worth = (
            -length(x - self.clean[ids], self.norm).float()
            if self.keep == "nearest"
            else self.worth.new_zeros(len(ids))
        )
        return worth.masked_fill(~fooled, -torch.inf)
