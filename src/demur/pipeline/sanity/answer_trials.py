"""What pixels, answers and gradients of clean images say about whether a model can be measured."""

from collections.abc import Iterator

import torch

from demur.attacks.core.losses import margin
from demur.pipeline.sanity.trial_sample import Finding, TrialSample, scale_of
from demur.shapes import Flags, Logits

_AGAIN = 1e-4
"""Share of the largest logit by which outputs of the very same batches may differ, as for Croce & Hein (2020)."""

_REGROUPED = 1e-2
"""The same for other batches, where an accelerator may round by 1e-3; a row that sees its neighbours differs more."""

_LEVEL = 1 / 255
"""One grey level of an 8-bit image."""

_DRAWS = 10
_TENTH = 0.1
"""Mean relative change of the loss beyond which Pintor et al. (2022) call a prediction unstable."""

_CONFIDENT = 0.8
_ROUNDING = 1e-4


def answer_findings(sample: TrialSample) -> Iterator[Finding]:
    """The model is run again, and on images a grey level away, and its outputs are examined."""
    yield sample.found("repeats", _moved(sample))
    yield sample.found("wavering", _wavering(sample))
    yield sample.found("squeezed", _squeezed(sample.clean))
    yield sample.found("certain", sample.clean.float().softmax(dim=1).amax(dim=1) == 1)


def _moved(sample: TrialSample) -> Flags:
    """Rows whose logits differ when they are computed five times: again, backwards, shifted, in small batches.

    NaN is no answer, and counts as another one.
    """
    rows = torch.arange(len(sample), device=sample.x.device)
    moved = ~((sample.logits(sample.x) - sample.clean).abs().amax(dim=1) <= _AGAIN * scale_of(sample.clean))
    for order, batch in ((rows.flip(0), None), (rows.roll(len(rows) // 2), None), (rows, 7)):
        again = torch.empty_like(sample.clean)
        again[order] = sample.logits(sample.x[order], batch)
        moved |= ~((again - sample.clean).abs().amax(dim=1) <= _REGROUPED * scale_of(sample.clean))
    return moved


def _wavering(sample: TrialSample) -> Flags:
    """Rows whose margin changes by more than a tenth, on average, when every pixel moves by at most a grey level.

    Relative to the row's own margin, or to a typical one where that is larger: near the boundary every change is large.
    Pintor et al. (2022), arXiv:2106.09947.
    """
    before = margin(sample.clean, sample.y)[:, None]
    change = torch.zeros_like(before[:, 0])
    for draw in range(_DRAWS):
        noise = 2 * sample.keys.uniform(sample.x, f"waver {draw}") - 1
        after = margin(sample.logits((sample.x + _LEVEL * noise).clamp(0, 1)), sample.y)
        change += ((after - before[:, 0]).abs() / scale_of(before)).clamp(max=1)
    return ~(change / _DRAWS <= _TENTH)


def _squeezed(logits: Logits) -> Flags:
    """Confident rows of outputs that are probabilities taken for logits, or were made probabilities twice.

    Numbers between 0 and 1 that sum to 1 lie, above the smallest of them, at most 1 apart in all, and a confident
    answer comes close to that. Logits of no other kind stop there, so one row above it clears the model.
    """
    spread = (logits - logits.amin(dim=1, keepdim=True)).sum(dim=1)
    between = (logits.amin() >= 0) & (logits.amax() <= 1)
    within = (spread > _CONFIDENT) & (spread <= 1 + _ROUNDING).all()
    return within | between


_NEARLY_ALL = 0.95
"""Clipped images that were resized before keep a few pixels between black and white."""


def pixel_findings(sample: TrialSample) -> Iterator[Finding]:
    """Images of black and white alone, as 0–255 pixels become when they are clipped to [0, 1] and not divided."""
    shares = ((sample.x == 0) | (sample.x == 1)).flatten(1).double().mean(dim=1)
    yield sample.found("black_and_white", shares >= _NEARLY_ALL)


def gradient_findings(sample: TrialSample) -> Iterator[Finding]:
    """Rows whose gradient is zero everywhere, or not finite, for the two kinds of loss that attacks climb."""
    largest = {loss: sample.gradient(loss).flatten(1).abs().amax(dim=1) for loss in ("cross_entropy", "margin")}
    for loss, values in largest.items():
        yield sample.found(f"zero_gradient.{loss}", values == 0)
    yield sample.found("nonfinite_gradient", ~(largest["cross_entropy"] + largest["margin"]).isfinite())
