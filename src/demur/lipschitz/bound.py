"""A bound on how fast a model's logits can change."""

import math
from dataclasses import dataclass, field

from torch import Tensor

from demur.classifier import BoundClassifier
from demur.classifier.mean_probability import member_layers
from demur.errors import DemurError
from demur.lipschitz.call_graph import NoBoundError, SlopeProduct, Trace
from demur.lipschitz.operator_norms import LayerRow, Norm, Piece, Step, layer_rows
from demur.randomness import Keys

_NORMALISATION = "normalisation"


@dataclass(frozen=True)
class Bound:
    """An upper bound on ‖change of the logits‖₂ ÷ ‖change of the image‖₂, images in [0, 1]: high says little.

    `upper` is None, with the `reason`, where some step has no constant. `rows` are the model's linear layers, then the
    pieces that were merged of several; `norms` are theirs. Usually vacuous: the constants of layers are multiplied
    though no image meets all of them.

    Tsuzuku et al. (2018), arXiv:1802.04034; Virmaux & Scaman (2018), arXiv:1805.10965.
    """

    upper: float | None
    reason: str | None
    rows: tuple[LayerRow, ...]
    norms: dict[Piece, Norm] = field(repr=False)


def upper_bound(classifier: BoundClassifier) -> Bound:
    """The bound of a model, in float64 where the model bears it."""
    precise = _in_double(classifier)
    probe = precise.prepare(_probe(precise))
    norms: dict[Piece, Norm] = {}
    layers = layer_rows(precise.as_module(), probe)
    upper, reason = None, None
    try:
        upper = _product_of_constants(precise, probe[:1], norms)
    except NoBoundError as why:
        reason = str(why)
    except Exception as error:  # noqa: BLE001 — foreign code may raise anything on zeros; it is said as the reason
        reason = f"a step of {precise.name} failed on zeros: {str(error).partition(chr(10))[0][:200].rstrip('.')}"
    norms |= {row.piece: row.piece.norm(probe) for row in layers if row.piece not in norms}
    known = {row.piece for row in layers}
    merged = [LayerRow(piece.name, "merged", piece) for piece in norms if piece not in known and piece.steps]
    return Bound(upper, reason, (*layers, *merged), norms)


def _product_of_constants(classifier: BoundClassifier, probe: Tensor, norms: dict[Piece, Norm]) -> float:
    if classifier.contract.kind not in {"logits", "logit"}:
        raise NoBoundError(f"the model answers with {classifier.contract.kind}, whose logarithm has no constant")
    if member_layers(classifier):
        raise NoBoundError(
            "it is an ensemble: norms of layers bound its members, and not the mean of their probabilities"
        )
    std = classifier.contract.std
    first = Piece(tuple(probe.shape))
    if std is not None:
        divisor = probe.new_tensor(std).view(1, -1, 1, 1)
        first = first.then(Step(f"%{_NORMALISATION}", lambda x: x / divisor, (_NORMALISATION,)))
    upper = SlopeProduct(Trace.of(classifier.as_module(), probe), norms).bound(first)
    if not math.isfinite(upper):
        raise NoBoundError("the constants of its layers multiply to more than a number can hold")
    return upper


def _in_double(classifier: BoundClassifier) -> BoundClassifier:
    """The model in float64; itself where its own code or its device does not bear that."""
    try:
        return classifier.double
    except (DemurError, TypeError, RuntimeError):
        return classifier


def _probe(classifier: BoundClassifier) -> Tensor:
    """One image of noise, in the model's own precision."""
    like = classifier.origin
    return Keys.of(0, ["probe"], "lipschitz").uniform(like, "pixels")
