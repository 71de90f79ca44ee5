"""What is said of rows that were counted: how many, how far off, and of how many the rest is."""

from types import SimpleNamespace

import pytest

from demur.analysis.results import Aggregates
from demur.report.counted_words import counted_line, counted_sentences

COUNTED = Aggregates(
    rows=100_020_000,
    images=5_000_000,
    sampled=19_858,
    sampled_corrupted=10_038,
    cells=4_983,
    slack={"AUROC": 0.000401, "AURC": 0.0},
    signal_slack={},
)


def results(**changes):
    return SimpleNamespace(aggregates=COUNTED.model_copy(update=changes))


def test_nothing_is_said_where_every_row_was_held():
    held = SimpleNamespace(aggregates=None)
    assert counted_line(held) is None
    assert counted_sentences(held) == ()


def test_the_short_of_it_names_rows_and_sample():
    said = "All 100,020,000 rows were counted; what needs single rows is of a sample of "
    assert counted_line(results()) == f"{said}19,858 clean images and 10,038 under each corruption."
    for corrupted in (None, 19_858):
        assert counted_line(results(sampled_corrupted=corrupted)) == f"{said}19,858 images."


def test_the_bounds_are_rounded_up_and_the_cells_are_said():
    exact, read_off, sampled = counted_sentences(results())
    assert exact.startswith("100,020,000, counted rather than held")
    assert "in at most 4,983 cells" in read_off
    assert read_off.endswith("differ by at most: AUROC 0.00041, AURC 0.")
    assert "19,858 clean images and 10,038 under each corruption, chosen by a hash" in sampled
    assert counted_sentences(results(slack={}))[1].endswith("at most: nothing.")


@pytest.mark.parametrize(("slack", "said"), [(0.0999, "0.1"), (0.00012, "0.00012"), (0.5, "0.5"), (1e-9, "1e-09")])
def test_two_digits_are_never_less_than_the_bound(slack, said):
    found = counted_sentences(results(slack={"AUROC": slack}))[1].rpartition(" ")[2].rstrip(".")
    assert found == said
    assert float(found) >= slack * (1 - 1e-9)
