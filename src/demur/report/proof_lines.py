"""What is proven, where what is found is told: the share of an attack's size, a class's share and size."""

from typing import Literal

from demur.analysis.quantity import Quantity
from demur.analysis.results import Results
from demur.analysis.robustness.censored_quantiles import CensoredQuantile
from demur.analysis.robustness.proven_answers import NORM, ProvenClass
from demur.report.attack_lines import size_percent
from demur.report.phrases import DASH


def proven_share(results: Results, norm: str, eps: float | None) -> Quantity | None:
    """The share answered rightly whatever is done within a size; None where that was not looked at."""
    proof = results.proof
    at = None if proof is None or norm != NORM else proof.at(eps)
    return None if proof is None or at is None else proof.sizes[at].proven


def proven_class_share(results: Results, eps: float | None, name: str) -> Quantity | None:
    """The same of one class."""
    own, at = _class(results, name), None if results.proof is None else results.proof.at(eps)
    return None if own is None or at is None else own.sizes[at].proven


def proven_class_size(results: Results, name: str) -> CensoredQuantile | None:
    """The size up to which half of the answers of a class are proven; None where none were looked at."""
    own = _class(results, name)
    return None if own is None else own.median_radius


def proven_size_percent(found: CensoredQuantile, largest: float, norm: str) -> str:
    """A size up to which answers are proven, told as sizes of attacks are; one beyond the largest tried says so.

    >>> half = CensoredQuantile(value=0.0881, low=0.08, high=float("nan"), above=("high",), n=100)
    >>> proven_size_percent(half, 0.1, "linf"), proven_size_interval(half, 0.1, "linf")
    ('8.8 %', '8–> 10')
    """
    return _size(found, "value", largest, norm)


def proven_size_interval(found: CensoredQuantile, largest: float, norm: str) -> str:
    """The interval of such a size in the same unit, without it; empty where there is none."""
    ends = [_size(found, end, largest, norm) for end in ("low", "high")]
    return "" if DASH in ends else "–".join(end.removesuffix(" %") for end in ends)


def _size(found: CensoredQuantile, end: Literal["value", "low", "high"], largest: float, norm: str) -> str:
    if end in found.above:
        return f"> {size_percent(largest, norm)}"
    return size_percent(getattr(found, end), norm)


def proven_images(results: Results, norm: str) -> int | None:
    """Of how many images something is proven in a norm; None where nothing is."""
    proof = results.proof
    return proof.images if proof is not None and proof.sizes and norm == NORM else None


def _class(results: Results, name: str) -> ProvenClass | None:
    rows = () if results.proof is None else results.proof.per_class
    return next((row for row in rows if row.name == name), None)
