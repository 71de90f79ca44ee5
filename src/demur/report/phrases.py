"""Numbers in words for readers without statistics."""

import math
import re

from demur.analysis.quantity import Quantity
from demur.registry.addresses import ENSEMBLE, member_addresses

DASH = "—"
_BASES = (100, 1000, 10_000)
_EVERYTHING = 1e300
_TEN, _TENTH = 9.95, 0.1
_MEASURES = {
    "area_50": "Area of half its mass",
    "area_90": "Area of 90 % of its mass",
    "gini": "Gini index",
    "components": "Pieces",
    "largest_component": "Heaviest piece",
    "energy": "Mass inside",
    "iou": "Overlap (IoU)",
}


def scaled_words(quantity: Quantity, times: float) -> Quantity:
    """A quantity in a smaller unit, such as thousandths."""
    value, low, high = (times * number for number in (quantity.value, quantity.low, quantity.high))
    return quantity.model_copy(update={"value": value, "low": low, "high": high})


def complement(share: Quantity) -> Quantity:
    """The share of the others, with its interval: of the right answers from that of the wrong ones."""
    return share.model_copy(update={"value": 1 - share.value, "low": 1 - share.high, "high": 1 - share.low})


def count(number: int) -> str:
    """A count with thousands set apart.

    >>> count(2814)
    '2,814'
    """
    return f"{number:,}"


def plural(number: int, noun: str) -> str:
    """A count and its noun.

    >>> plural(1, "image"), plural(4000, "image")
    ('1 image', '4,000 images')
    """
    return f"{count(number)} {noun}{'' if number == 1 else 's'}"


def plain_name(address: str) -> str:
    """The telling part of an address: an architecture's, factory's or file's name.

    >>> plain_name("zoo:resnet20@weights/w.safetensors?mean=.5"), plain_name("parquet:data/test.parquet")
    ('resnet20', 'test.parquet')
    """
    if address.startswith(f"{ENSEMBLE}:"):
        return f"ensemble of {len(member_addresses(address.partition(':')[2]))} models"
    place = address.partition("?")[0].partition("@")[0]
    return re.split(r"[:/]", place.rstrip("/"))[-1] or address


def model_name(address: str) -> str:
    """What the address of a model calls it, by its option `name`; else the telling part.

    >>> model_name("onnx:models/w.onnx?mean=.5&name=orientation"), model_name("zoo:resnet20@w.safetensors?mean=.5")
    ('orientation', 'resnet20')
    """
    found = None if address.startswith(f"{ENSEMBLE}:") else re.search("[?&]name=([^&]+)", address)
    return found[1] if found else plain_name(address)


def frequency(share: float, joint: str = "in") -> str:
    """A measured share as a natural frequency.

    >>> frequency(0.0785), frequency(0.005), frequency(0.7014, "of"), frequency(math.nan)
    ('8 in 100', '5 in 1,000', '70 of 100', '—')
    """
    if math.isnan(share):
        return DASH
    base = scale(share)
    return f"{count(round(share * base))} {joint} {count(base)}"


def in_hundred(share: float) -> str:
    """How many of a hundred: to tenths below ten, and never rounded to none or to all.

    >>> in_hundred(0.1428), in_hundred(0.03), in_hundred(0.0004), in_hundred(0.0), in_hundred(0.9996)
    ('14', '3.0', '0.04', '0', '99.96')
    """
    if math.isnan(share):
        return DASH
    of = 100 * share
    if of in {0.0, 100.0}:
        return f"{of:.0f}"
    if of < _TEN:
        return f"{of:.1f}" if of >= _TENTH else f"{of:.1g}"
    return f"{of:.0f}" if round(of) < 100 else f"{of:.2f}".rstrip("0")


def at_most(risk: float) -> str:
    """A guaranteed share as a natural frequency that never understates it.

    >>> at_most(0.02), at_most(0.125), at_most(0.0123456)
    ('2 in 100', '125 in 1,000', '124 in 10,000')
    """
    base = next((base for base in _BASES if math.isclose(risk * base, round(risk * base), abs_tol=1e-9)), _BASES[-1])
    return f"{count(math.ceil(risk * base - 1e-9))} in {count(base)}"


def scale(share: float) -> int:
    """The smallest base on which a share is not rounded to nothing, to everything or by more than a tenth.

    >>> scale(0.0785), scale(0.012), scale(0.998), scale(0.0)
    (100, 1000, 1000, 100)
    """
    return next((base for base in _BASES if _fair(share * base, base)), _BASES[-1])


def _fair(parts: float, base: int) -> bool:
    rounded = round(parts)
    exact = math.isclose(parts, rounded, abs_tol=1e-9)
    return exact or (rounded not in {0, base} and abs(parts - rounded) <= parts / 10)


def percent(share: float, digits: int = 1) -> str:
    """A share in per cent.

    >>> percent(0.9062), percent(math.nan)
    ('90.6 %', '—')
    """
    return DASH if math.isnan(share) else f"{share * 100:.{digits}f} %"


def decimal(value: float, digits: int = 3) -> str:
    """A plain number.

    >>> decimal(0.86213), decimal(-0.0412), decimal(-1e-9), decimal(math.nan)
    ('0.862', '−0.041', '0.000', '—')
    """
    return DASH if math.isnan(value) else f"{value:z.{digits}f}".replace("-", "−")


def signed(value: float, digits: int = 3) -> str:
    """A difference, with its sign.

    >>> signed(0.01), signed(-0.01)
    ('+0.010', '−0.010')
    """
    return DASH if math.isnan(value) else f"{value:+z.{digits}f}".replace("-", "−")


def significant(value: float) -> str:
    """A threshold, to four significant digits; the largest number there is means that everything is answered.

    >>> significant(0.1234567), significant(-12.34567), significant(1.7e308)
    ('0.1235', '−12.35', 'any (everything is answered)')
    """
    if value > _EVERYTHING:
        return "any (everything is answered)"
    return DASH if math.isnan(value) else f"{value:.4g}".replace("-", "−")


def pixel_words(eps: float) -> str:
    """A distance in the [0, 1] pixel range: short decimals as they are, others in steps of 1/255.

    >>> pixel_words(0.1), pixel_words(8 / 255), pixel_words(0.0213)
    ('0.1', '8/255', '5.4/255')
    """
    if math.isnan(eps):
        return DASH
    if math.isclose(eps, round(eps, 2), abs_tol=1e-6):
        return f"{eps:.2g}"
    return f"{eps * 255:.1f}".removesuffix(".0") + "/255"


def size_of(change: float, norm: str) -> str:
    """A change of the image: pixels for L∞, a plain length for other norms.

    >>> size_of(8 / 255, "linf"), size_of(1.234, "l2"), size_of(math.nan, "l2")
    ('8/255', 'L2 1.23', '—')
    """
    if norm == "linf" or math.isnan(change):
        return pixel_words(change)
    return f"{norm.upper()} {change:.3g}"


def size(quantity: Quantity, norm: str) -> str:
    """A change with its interval.

    >>> size(Quantity(value=2 / 255, low=1.5 / 255, high=2.25 / 255, n=100), "linf")
    '2/255 (1.5/255–2.2/255)'
    """
    if math.isnan(quantity.value):
        return quantity.reason or DASH
    if math.isnan(quantity.low) or math.isnan(quantity.high):
        return size_of(quantity.value, norm)
    ends = "–".join(size_of(end, norm).removeprefix(f"{norm.upper()} ") for end in (quantity.low, quantity.high))
    return f"{size_of(quantity.value, norm)} ({ends})"


def cost_words(passes: float, milliseconds: float | None) -> str:
    """What a signal costs for an image beyond the forward pass that all share.

    >>> cost_words(0, None), cost_words(3, 1.234), cost_words(119, 0.012)
    ('none', '3 passes, 1.2 ms', '119 passes, <0.1 ms')
    """
    extra = "none" if not passes else f"{passes:.4g} pass{'' if passes == 1 else 'es'}"
    if milliseconds is None:
        return extra
    time = (
        "<0.1 ms" if milliseconds < 0.1 else f"{milliseconds:.2g} ms" if milliseconds < 10 else f"{milliseconds:.0f} ms"
    )
    return time if not passes else f"{extra}, {time}"


def duration(seconds: float) -> str:
    """A length of time.

    >>> duration(8.2), duration(154.2), duration(7320)
    ('8 s', '2 min 34 s', '2 h 2 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def spread_words(quantity: Quantity, *, share: bool, digits: int = 3) -> str:
    """The interval of a quantity, empty where there is none.

    >>> spread_words(Quantity(value=0.9, low=0.88, high=0.92, n=1000), share=True)
    '88.0–92.0'
    """
    if math.isnan(quantity.low) or math.isnan(quantity.high):
        return ""
    if share:
        return f"{quantity.low * 100:.1f}–{quantity.high * 100:.1f}"
    return f"{decimal(quantity.low, digits)} to {decimal(quantity.high, digits)}"


def readable(name: str) -> str:
    """A registered name for the eye, alone or in a sentence.

    >>> readable("gaussian_noise"), readable("the object is where grad_cam looks")
    ('gaussian noise', 'the object is where Grad-CAM looks')
    """
    return name.replace("grad_cam", "Grad-CAM").replace("_", " ")


def measure(name: str) -> str:
    """What is measured of a map, by the name of a column.

    >>> measure("area_50"), measure("iou"), measure("rank_accuracy")
    ('Area of half its mass', 'Overlap (IoU)', 'Rank accuracy')
    """
    return _MEASURES.get(name) or headed(readable(name))


def headed(text: str) -> str:
    """A sentence that begins with a capital letter.

    >>> headed("where a pixel moves the logit of a GELU most")
    'Where a pixel moves the logit of a GELU most'
    """
    return text[:1].upper() + text[1:]


def unbroken(text: str) -> str:
    r"""Keep "2 in 100" on one line.

    >>> unbroken("at most 2 in 100 answers")
    'at most 2\xa0in\xa0100 answers'
    """
    return re.sub(r"(\d) (in|of) (\d)", "\\1\u00a0\\2\u00a0\\3", text)
