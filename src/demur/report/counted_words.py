"""What a report says of rows that were counted rather than held."""

import math

from demur.analysis.results import Aggregates, Results
from demur.report.phrases import count, plural


def counted_line(results: Results) -> str | None:
    """The short of it; None where every row was held."""
    found = results.aggregates
    if found is None:
        return None
    return f"All {count(found.rows)} rows were counted; what needs single rows is of a sample of {_images(found)}."


def counted_sentences(results: Results) -> tuple[str, ...]:
    """What is exact, what is read off a grid and how far that may be off, and what is of a sample; none without."""
    found = results.aggregates
    if found is None:
        return ()
    exact = (
        f"{count(found.rows)}, counted rather than held. Exact, of all rows: accuracy of conditions and classes, "
        f"confusions, policies, the guarantee and what it is under each condition, calibration.{_weighted(found)}"
    )
    read_off = (
        f"Read off scores that were counted in at most {count(found.cells)} cells: histograms, risk-coverage "
        "curves (exact at each of their points), and rankings of errors and of shift. Of the rows themselves they "
        f"differ by at most: {_slack(found)}."
    )
    sampled = (
        f"Everything else is of a sample of {_images(found)}, chosen by a hash of their ids: differences between "
        "signals and whether a signal is of use, attacks, label quality, slices, pictures, and of a guarantee what a "
        "second threshold withholds and the statement about the average loss. Each table says of how many it is."
    )
    return exact, read_off, sampled


def _weighted(found: Aggregates) -> str:
    """What is held of conditions whose images were drawn by strata, where that is not all."""
    if not found.weighted or found.sampled_weighted in {None, found.weighted}:
        return ""
    return (
        f" But conditions whose images were drawn by strata are told of {count(found.sampled_weighted or 0)} of their "
        f"{count(found.weighted)} rows, which stand for the others."
    )


def _images(found: Aggregates) -> str:
    if found.sampled_corrupted is None or found.sampled_corrupted == found.sampled:
        return plural(found.sampled, "image")
    return f"{plural(found.sampled, 'clean image')} and {count(found.sampled_corrupted)} under each corruption"


def _slack(found: Aggregates) -> str:
    return ", ".join(f"{name} {_upwards(slack)}" for name, slack in found.slack.items()) or "nothing"


def _upwards(slack: float) -> str:
    """Two digits, rounded up, for what is said is a bound.

    >>> _upwards(0.000401), _upwards(0.0), _upwards(0.0999)
    ('0.00041', '0', '0.1')
    """
    if slack <= 0:
        return "0"
    unit = 10.0 ** (math.floor(math.log10(slack)) - 1)
    return f"{math.ceil(slack / unit) * unit:.2g}"
