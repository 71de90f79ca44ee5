"""Every chart of how far and where; of searches and regions only the first few have charts of their own."""

from collections.abc import Iterator

from demur.analysis.results import Results
from demur.report.charts.class_rows import class_regions, class_sizes
from demur.report.charts.drawing import Drawing
from demur.report.charts.epsilon import MOST, following, standing


def far(results: Results) -> Iterator[Drawing | None]:
    """Charts of the smallest changes, then of object against background; None where there is nothing to draw."""
    yield from standing(results)
    for at, found in enumerate(results.epsilon[:MOST]):
        yield class_sizes(found, at)
        yield following(found, at)
    for at, region in enumerate(results.where.regions[:MOST] if results.where else ()):
        yield class_regions(region, at)
