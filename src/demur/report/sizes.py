"""Smallest changes in words, those that only are known to lie above the cap among them."""

import math

from demur.analysis.looked import Region
from demur.analysis.searched import Reach, Search
from demur.analysis.table import Quantity
from demur.report.phrases import DASH, count, plural

_FULL = 255
_PLAIN = 6
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def change(size: float, norm: str) -> str:
    """A size to three digits: of L∞ in steps of 1/255, of other norms as it is.

    >>> change(0.00731, "linf"), change(0.73152, "l2"), change(0.0, "linf"), change(float("nan"), "l2")
    ('1.86/255', '0.732', '0', '—')
    """
    if not math.isfinite(size):
        return DASH
    text = _digits(size, norm)
    return f"{text}/{_FULL}" if norm == "linf" and size else text


def reach(found: Reach, norm: str) -> str:
    """A quantile of smallest changes; one above the cap says so.

    >>> reach(Reach(value=2.0, low=1.5, high=2.0, above=("value", "high"), n=20), "l2")
    '> 2'
    """
    if "value" in found.above:
        return f"> {change(found.value, norm)}" if math.isfinite(found.value) else "never flipped"
    return change(found.value, norm)


def reach_spread(found: Reach, norm: str) -> str:
    """The interval of a quantile without its unit; empty where there is none.

    >>> reach_spread(Reach(value=1.8, low=1.5, high=2.0, above=("high",), n=20), "l2")
    '1.5 to > 2'
    >>> reach_spread(Reach(value=1.8, low=1.5, high=float("nan"), above=("high",), n=20), "l2")
    '1.5 and more'
    >>> reach_spread(Reach(value=2.0, low=2.0, high=2.0, above=("value", "low", "high"), n=20), "l2")
    'all of it beyond'
    """
    if "low" in found.above:
        return "all of it beyond"
    if not math.isfinite(found.low):
        return ""
    low = _digits(found.low, norm)
    if "high" in found.above:
        return f"{low} to > {_digits(found.high, norm)}" if math.isfinite(found.high) else f"{low} and more"
    return f"{low}–{_digits(found.high, norm)}" if math.isfinite(found.high) else ""


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


def moved(difference: float, norm: str) -> str:
    """A difference of two sizes, with its sign.

    >>> moved(0.1234, "l2"), moved(-0.01, "linf"), moved(0.0, "l2")
    ('+0.123', '−2.55/255', '0')
    """
    if not math.isfinite(difference) or not difference:
        return change(difference, norm)
    return ("+" if difference > 0 else "−") + change(abs(difference), norm)


def moved_spread(difference: Quantity, norm: str) -> str:
    """The interval of a difference of two sizes without its unit; empty where there is none.

    >>> moved_spread(Quantity(value=0.1, low=-2 / 255, high=8 / 255, n=20), "linf")
    '−2 to +8'
    """
    if not (math.isfinite(difference.low) and math.isfinite(difference.high)):
        return ""
    low, high = (moved(end, norm).removesuffix(f"/{_FULL}") for end in (difference.low, difference.high))
    return f"{low} to {high}"


def by_chance(p_value: float) -> str:
    """How often luck alone would do as much.

    >>> by_chance(0.0312), by_chance(0.00002), by_chance(float("nan"))
    ('p = 0.031', 'p < 0.001', '—')
    """
    if math.isnan(p_value):
        return DASH
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.2g}" if p_value < 0.1 else f"p = {p_value:.2f}"


def half_flips(found: Search) -> str:
    """What the median of all images says, without a number that is not known."""
    median = found.median
    if "value" in median.above:
        return f"More than half of the answers stand against every change{_up_to(found) or ' that was tried'}."
    if not math.isfinite(median.value):
        return f"The median is not defined: {median.reason or 'no images'}."
    if not median.value:
        return "Half of the answers or more were wrong before anything was changed."
    span = reach_spread(median, found.norm)
    return f"Half of the answers flip under {change(median.value, found.norm)}{f' ({span})' if span else ''}."


def who_stands(found: Search) -> str:
    """How many images there were, and how many have no size of their own."""
    return (
        f"{plural(found.n, 'image')}: {count(found.wrong)} wrong already (0), "
        f"{count(found.censored)} never flipped{_up_to(found)}."
    )


def leaning(found: Region) -> str:
    """What the answer leans on, as far as that is shown."""
    return {
        "object": "The answer leans on the object: it takes less to flip it there.",
        "background": "The answer leans on the background: it takes less to flip it there.",
        "undecided": "Neither the object nor the background is shown to weigh more.",
    }[found.leans_on]


def _up_to(found: Search) -> str:
    """Where the search ended; one without a cap had no such place."""
    return f" up to {change(found.cap, found.norm)}" if math.isfinite(found.cap) else ""


def _digits(size: float, norm: str) -> str:
    return magnitude(size * _FULL if norm == "linf" else size)
