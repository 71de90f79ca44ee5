"""Each row's best point and what it cost, and the last word on it: distances, box, ball and class."""

import torch
from torch import Tensor

from demur.attacks.core.attack_state import AttackState, Keep, Norm, Outcome, Output, Trouble
from demur.attacks.core.objective import Answer, Objective
from demur.attacks.core.projections import length
from demur.shapes import Flags, Images, Labels, Scores


class BestPoints:
    """Per-row tensors the loop writes into; `ids` are row numbers into them.

    A point's `worth` decides which one is kept: its loss under `worst`, minus its distance, if it fools, under
    `nearest`, and being the first that fools under `first`. `checked` marks kept points whose logits come from a pass
    of their own, `settled` those that were confirmed in float64. `aim` is the objective of the search: at a folded copy
    of the model, where that answers alike. What it finds the `objective` checks. `closest` is the answer at the point
    where success was nearest, by `lead`, whichever point is kept.
    """

    def __init__(self, norm: Norm, objective: Objective, x: Images, y: Labels, goal: Labels | None, keep: Keep) -> None:
        rows, device = len(x), x.device
        self.objective, self.clean, self.y, self.goal, self.keep = objective, x, y, goal, keep
        self.aim = objective
        self.norm: Norm = norm
        self.x = x.clone()
        self.closest = torch.empty(0, device=device)
        self.answer = Answer(self.closest)
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

    def open_rows(self, batch: int) -> tuple[Answer, Tensor]:
        """What the model says of the clean images, and the rows worth attacking.

        Under `worst` these are all, else those that do not succeed already; rows whose goal is −1 never are.
        """
        everyone = torch.arange(len(self.x), device=self.x.device)
        clean = self.forward(everyone, self.x, batch)
        self.begin(clean)
        done = self.reached(clean, everyone)
        self.step[done] = 0
        wanted = torch.ones_like(done) if self.keep == "worst" else ~done
        if self.goal is not None:
            wanted &= self.goal >= 0
        return clean, everyone[wanted]

    def begin(self, clean: Answer) -> None:
        """Stand on the clean images; search on a folded copy of the model if it answers the first of them alike."""
        self.answer, self.closest = clean.clone(), clean.logits.clone()
        some = torch.arange(min(len(self.y), _COMPARED), device=self.y.device)
        self.aim = self.objective.searching(self.clean[some], self.y[some], clean.rows(some))

    def record_trace(self, steps: int) -> None:
        """Keep the loss at every step, `steps` at most."""
        self.trace = torch.full((len(self.x), steps), torch.nan, device=self.x.device)

    def reached(self, answer: Answer, ids: Tensor) -> Flags:
        """Which of some rows succeed with these answers."""
        return self.objective.fooled(answer, self.y[ids], self._goal(ids))

    def found(self, answer: Answer, ids: Tensor) -> Flags:
        """Which of some rows succeed with these answers of the search."""
        return self.aim.fooled(answer, self.y[ids], self._goal(ids))

    def loss(self, answer: Answer, ids: Tensor) -> Scores:
        """The objective's own loss of some rows, whatever class an attack climbs towards for the moment."""
        return self.objective.loss(answer, self.y[ids], self._goal(ids))

    def _goal(self, ids: Tensor) -> Labels | None:
        return None if self.goal is None else self.goal[ids]

    def forward(self, ids: Tensor, x: Images, batch: int) -> Answer:
        """What the model says of some rows at some points, in full batches, one forward each."""
        parts = zip(torch.split(x, batch), torch.split(self.y[ids], batch), strict=True)
        answer = Answer.join([self.objective.answer(images, y) for images, y in parts])
        self._count(ids, answer)
        return answer

    def _count(self, ids: Tensor, answer: Answer) -> None:
        """A forward pass of some rows, and the passes of functions of one's own."""
        self.forwards[ids] += 1
        if answer.more is not None:
            self.forwards[ids] += answer.more[:, 0]
            self.backwards[ids] += answer.more[:, 1]

    def note(self, ids: Tensor, state: AttackState, output: Output, answer: Answer, before: int) -> None:
        """Record one step of the loop: what it cost, and the point if it is the best so far.

        `before` are the steps of earlier restarts.
        """
        self._count(ids, answer)
        self.backwards[ids] += output.jacobian.shape[1] if output.jacobian.numel() else int(output.gradient.numel() > 0)
        begins = (output.step == 0) & self.loss_start[ids].isnan()
        self.loss_start[ids[begins]] = self.loss(answer.rows(begins), ids[begins]).float()
        if self.trace.shape[1]:
            self.trace[ids, output.step + before] = output.loss.float()
        self._distrust(ids, output.jacobian if output.jacobian.numel() else output.gradient)
        self.offer(ids, state.x, answer, output.step + before, checked=False)

    def _distrust(self, ids: Tensor, gradient: Tensor) -> None:
        if gradient.numel():
            largest = gradient.flatten(1).abs().amax(dim=1)
            self.troubles[ids[largest == 0]] |= int(Trouble.ZERO_GRADIENT)
            self.troubles[ids[~largest.isfinite()]] |= int(Trouble.NONFINITE_GRADIENT)

    def offer(self, ids: Tensor, x: Images, answer: Answer, step: Tensor, *, checked: bool) -> None:
        """Keep the points that are worth more than what is kept so far."""
        self.approach(ids, answer)
        fooled = self.reached(answer, ids) if checked else self.found(answer, ids)
        newly = fooled & (self.step[ids] < 0)
        self.step[ids[newly]] = step[newly]
        worth = self._worth(ids, x, answer, fooled)
        better = (worth > self.worth[ids]).nonzero().squeeze(1)
        rows = ids[better]
        self.worth[rows] = worth[better]
        self.x[rows] = x[better]
        self.answer.put(rows, answer.rows(better))
        self.checked[rows] = checked

    def approach(self, ids: Tensor, answer: Answer) -> None:
        """Record how near some rows have come to success, and their answers there."""
        lead = self.objective.lead(answer, self.y[ids], self._goal(ids)).to(self.lead)
        nearer = (lead > self.lead[ids]).nonzero().squeeze(1)
        self.lead[ids[nearer]] = lead[nearer]
        self.closest[ids[nearer]] = answer.logits[nearer]

    def stands(self, ids: Tensor, x: Images, answer: Answer) -> Flags:
        """Which points of some rows succeed; float64, one forward more, has the last word on those that do by little.

        The unattacked image, by one forward alone, is taken at its word, and so is a point that was confirmed before.
        """
        goal = self._goal(ids)
        stands = self.reached(answer, ids)
        near = self.objective.near(answer, self.y[ids], goal) & (self.forwards[ids] > 1) & ~self.settled[ids]
        close = near.nonzero().squeeze(1)
        if len(close):
            rows = ids[close]
            self.forwards[rows] += 1
            stands[close] = self.objective.confirmed(x[close], self.y[rows], None if goal is None else goal[close])
            self.settled[rows] = stands[close]
        return stands

    def _worth(self, ids: Tensor, x: Images, answer: Answer, fooled: Flags) -> Scores:
        if self.keep == "worst":
            return self.loss(answer, ids).float()
        worth = (
            -length(x - self.clean[ids], self.norm).float()
            if self.keep == "nearest"
            else self.worth.new_zeros(len(ids))
        )
        return worth.masked_fill(~fooled, -torch.inf)


_COMPARED = 32
"""Rows on which a folded copy of the model is compared with it."""

_ROUNDING = 1e-6
"""Float32 rounding of x + eps at the edge of a ball, in pixel fractions."""


def verified(best: BestPoints, clean: Answer, eps: Scores) -> Outcome:
    """Measure the kept points; what broke the rules or cannot be confirmed goes back to its clean image.

    Args:
        best: what the run has found so far.
        clean: what the model answers to the clean images.
        eps: the radius of each row's ball, infinite where there is none.
    """
    everyone = torch.arange(len(best.x), device=best.x.device)
    outside = ~inside_ball(best.x, best.clean, eps, best.norm)
    claimed = (best.step >= 0) & ~outside & (best.keep != "worst")
    unconfirmed = claimed & ~best.stands(everyone, best.x, best.answer)
    back = outside | unconfirmed
    best.troubles[outside] |= int(Trouble.OUTSIDE)
    best.troubles[unconfirmed] |= int(Trouble.UNCONFIRMED)
    x = torch.where(back[:, None, None, None], best.clean, best.x)
    answer, undone = best.answer.clone(), back.nonzero().squeeze(1)
    answer.put(undone, clean.rows(undone))
    return Outcome(
        x=x,
        logits=answer.logits,
        fooled=best.reached(answer, everyone),
        linf=length(x - best.clean, "linf"),
        l2=length(x - best.clean, "l2"),
        l1=length(x - best.clean, "l1"),
        closest=best.closest,
        step=best.step,
        loss_start=best.loss_start,
        loss_kept=best.loss(answer, everyone).float(),
        forwards=best.forwards,
        backwards=best.backwards,
        troubles=best.troubles,
        trace=best.trace,
        extra={} if best.goal is None else {"target": tuple(None if k < 0 else k for k in best.goal.tolist())},
    )


def inside_ball(x: Images, origin: Images, eps: Scores, norm: Norm) -> Flags:
    """Rows that are finite, in the unit box and in the ball round their origin, but for rounding."""
    flat = x.flatten(1)
    box = flat.isfinite().all(dim=1) & (flat.amin(dim=1) >= 0) & (flat.amax(dim=1) <= 1)
    slack = _ROUNDING if norm == "linf" else _ROUNDING * flat.shape[1] ** 0.5
    return box & (length(x - origin, norm) <= eps + slack)
