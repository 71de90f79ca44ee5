"""Whether there is a gradient to follow at the clean images."""

from collections.abc import Iterator

from demur.audit.trials.lab import Finding, Lab


def gradients(lab: Lab) -> Iterator[Finding]:
    """Rows whose gradient is zero everywhere, or not finite, for the two kinds of loss that attacks climb."""
    largest = {loss: lab.gradient(loss).flatten(1).abs().amax(dim=1) for loss in ("cross_entropy", "margin")}
    for loss, values in largest.items():
        yield lab.found(f"zero_gradient.{loss}", values == 0)
    yield lab.found("nonfinite_gradient", ~(largest["cross_entropy"] + largest["margin"]).isfinite())
