"""Minimal perturbations in words, censored ones (above the cap) among them."""

import math
import re

from demur.analysis.attribution.region_tables import Region
from demur.analysis.quantity import Quantity
from demur.analysis.results import Results
from demur.analysis.robustness.censored_quantiles import CensoredQuantile
from demur.analysis.robustness.minimal_perturbation import MinimalPerturbation
from demur.report.attack_lines import size_percent
from demur.report.phrases import DASH, count, plural

_FULL = 255
_PLAIN = 6
_SMALL = 0.1
_NOTHING = 1e-5
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def change(size: float, norm: str) -> str:
    """A size to three digits, two where it is less than a tenth: of L∞ in steps of 1/255, of other norms as it is.

    >>> change(0.00731, "linf"), change(0.73152, "l2"), change(0.0000931, "linf"), change(0.0, "linf")
    ('1.86/255', '0.732', '0.024/255', '0')
    """
    if not math.isfinite(size):
        return DASH
    text = _digits(size, norm)
    return f"{text}/{_FULL}" if norm == "linf" and size else text


def perturbation_size(found: CensoredQuantile, norm: str) -> str:
    """A quantile of minimal perturbations; one above the cap says so.

    >>> perturbation_size(CensoredQuantile(value=2.0, low=1.5, high=2.0, above=("value", "high"), n=20), "l2")
    '> 2'
    """
    if "value" in found.above:
        return f"> {change(found.value, norm)}" if math.isfinite(found.value) else "never flipped"
    return change(found.value, norm)


def quantile_interval(found: CensoredQuantile, norm: str) -> str:
    """The interval of a quantile, without its unit where the quantile shows it; empty where there is none.

    >>> quantile_interval(CensoredQuantile(value=1.8, low=1.5, high=2.0, above=("high",), n=20), "l2")
    '1.5 to > 2'
    >>> quantile_interval(CensoredQuantile(value=1.8, low=1.5, high=float("nan"), above=("high",), n=20), "l2")
    '1.5 and more'
    >>> quantile_interval(CensoredQuantile(value=2.0, low=2.0, high=2.0, above=("value", "low", "high"), n=20), "l2")
    'all of it beyond'
    >>> quantile_interval(CensoredQuantile(value=0.0, low=0.0, high=2 / 255, n=20), "linf")
    '0–2/255'
    """
    if "low" in found.above:
        return "all of it beyond"
    if not math.isfinite(found.low):
        return ""
    low, high = _digits(found.low, norm), _digits(found.high, norm)
    if "high" in found.above:
        return f"{low} to > {high}" if math.isfinite(found.high) else f"{low} and more"
    unit = f"/{_FULL}" if norm == "linf" and not found.value else ""
    return f"{low}–{high}{unit}" if math.isfinite(found.high) else ""


def magnitude(value: float) -> str:
    """A number that may be very large or very small, to three digits.

    >>> magnitude(0.73152), magnitude(183_000.0), magnitude(4.2e12), magnitude(0.000021), magnitude(float("inf"))
    ('0.732', '183,000', '4.2 × 10¹²', '2.1 × 10⁻⁵', '—')
    """
    if not math.isfinite(value):
        return DASH
    text = f"{value:.3g}"
    if "e" not in text:
        return text
    digits, _, power = text.partition("e")
    if 0 < int(power) < _PLAIN:
        return f"{float(text):,.0f}"
    return f"{digits} × 10{str(int(power)).translate(_RAISED)}"


def size_words(difference: Quantity, norm: str) -> str:
    """A difference of two sizes, with its sign, to as many places as its interval is worth.

    >>> size_words(Quantity(value=0.1234, low=0.1, high=0.15, n=20), "l2")
    '+0.123'
    >>> size_words(Quantity(value=-0.000331, low=-0.0429, high=0.0364, n=20), "l2")
    '−0.00033'
    >>> size_words(Quantity(value=0.0, low=0.0, high=1 / 255, n=20), "linf")
    '0/255'
    """
    if not math.isfinite(difference.value):
        return DASH
    text = _signed(difference.value, difference, norm, digits=2)
    return f"{text}/{_FULL}" if norm == "linf" else text


def difference_interval(difference: Quantity, norm: str) -> str:
    """The interval of a difference of two sizes without its unit; empty where there is none.

    >>> difference_interval(Quantity(value=0.1, low=-2 / 255, high=8 / 255, n=20), "linf")
    '−2 to +8'
    """
    if not (math.isfinite(difference.low) and math.isfinite(difference.high)):
        return ""
    return f"{_signed(difference.low, difference, norm)} to {_signed(difference.high, difference, norm)}"


def search_name_words(condition: str) -> str:
    """A search by its name, without what says which part of the image it changed.

    >>> search_name_words("ray(norm='l2', part='whole', region='grad_cam')"), search_name_words("fmn(norm='l2')")
    ("ray(norm='l2')", "fmn(norm='l2')")
    """
    return re.sub(r", (part|region)='[^']*'", "", condition)


def median_sentence(found: MinimalPerturbation) -> str:
    """The median over all images in one sentence, without a number that is not defined."""
    median = found.median
    if "value" in median.above:
        return f"More than half of the answers stand against every change{_up_to(found) or ' that was tried'}."
    if not math.isfinite(median.value):
        return f"The median is not defined: {median.reason or 'no images'}."
    if not median.value:
        return "Half of the answers or more were wrong before anything was changed."
    span = quantile_interval(median, found.norm)
    share = f", {median.value * 100:.2g} % of full brightness" if found.norm == "linf" else ""
    return f"Half of the answers flip under {change(median.value, found.norm)}{f' ({span})' if span else ''}{share}."


def count_sentence(found: MinimalPerturbation) -> str:
    """How many images there were, and how many have no size of their own."""
    return (
        f"{plural(found.n, 'image')}: {count(found.wrong)} wrong already (0), "
        f"{count(found.censored)} never flipped{_up_to(found)}."
    )


def curve_words(results: Results, norm: str) -> str:
    """At which sizes an ensemble of attacks stood behind the curve of a norm, and what the others rest on."""
    curve = next((found.curve for found in results.robustness if found.norm == norm and found.curve), ())
    if not curve:
        return ""
    sizes = [size_percent(point.eps, norm) for point in curve if point.ensemble]
    lead = "The curve is the lowest of all that was run: no attack of at most a size left fewer images right."
    if not sizes:
        return f"{lead} No ensemble of attacks stood behind any size, so it may be too high."
    listed = f"{', '.join(sizes[:-1])} and {sizes[-1]}" if len(sizes) > 1 else sizes[0]
    return (
        f"{lead} At {listed} an ensemble of attacks stood behind it; elsewhere it rests on the search for minimal "
        "perturbations and on attacks of smaller sizes, and may be too high."
    )


def reliance_sentence(found: Region) -> str:
    """What the answer relies on, as far as that is shown; the centred control is no object."""
    if found.region == "centred":
        return "The control that any object must beat: a blob in the middle, whatever the image shows."
    if found.lack:
        return f"What the answer relies on is not told: {found.lack}."
    if found.reliance == "object" and found.control is not None:
        if found.control.is_exceeded:
            return "The answer relies on the object, more than on the middle of the image."
        return "It takes less to flip the answer on the object, but a blob in the middle of the image does as well."
    return {
        "object": "It takes less to flip the answer on the object; a blob in the middle was not tried.",
        "background": "The answer relies on the background: it takes less to flip it there.",
        "undecided": "Neither the object nor the background is shown to weigh more.",
    }[found.reliance]


def _up_to(found: MinimalPerturbation) -> str:
    """Where the search ended; one without a cap had no such place."""
    return f" up to {change(found.cap, found.norm)}" if math.isfinite(found.cap) else ""


def _digits(size: float, norm: str) -> str:
    shown = size * _FULL if norm == "linf" else size
    return magnitude(float(f"{shown:.2g}") if norm == "linf" and shown < _SMALL else shown)


def _signed(size: float, difference: Quantity, norm: str, digits: int = 1) -> str:
    """One number of a difference: to the places at which the largest has three digits, with digits of its own."""
    times = _FULL if norm == "linf" else 1
    if abs(size) * times < _NOTHING:
        return "0"
    largest = max(abs(end) for end in (difference.value, difference.low, difference.high) if math.isfinite(end))
    places = max(0, 2 - _order(largest * times), digits - 1 - _order(abs(size) * times))
    text = f"{times * size:+,.{places}f}"
    return (text.rstrip("0").rstrip(".") if places else text).replace("-", "−")


def _order(size: float) -> int:
    return math.floor(math.log10(size))
