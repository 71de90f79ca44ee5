"""The section that shows what an audit expected to take beside what it took."""

from demur.analysis.effort_table import Effort, EffortRow
from demur.report import render
from demur.report.effort_words import bytes_words, effort_memory, effort_starts, seconds_words
from tests.report.example_results import run
from tests.report.parsed_page import Page


def row(kind, **changes):
    facts = {
        "kind": kind,
        "rows": 10_000,
        "planned_passes": 41_000,
        "passes": 39_321,
        "planned_seconds": 154.2,
        "seconds": 61.0,
        "planned_bytes": 950_000,
        "bytes": 1_234_567,
    }
    return EffortRow(**(facts | changes))


def table(**changes):
    facts = {
        "rows": (row("clean"), row("attack", rows=1000, seconds=2.25)),
        "others": 30.5,
        "planned_memory": 410_000_000,
        "memory": 795_000_000,
    }
    return Effort(**(facts | changes))


def section(found):
    html = render(run("issued").model_copy(update={"effort": found}))
    assert Page(html).faults == []
    assert ('<a href="#effort">' in html) == (found is not None)
    return Page(html.partition('<section id="effort"')[2].partition("</section>")[0]).text


def test_each_kind_says_what_was_planned_and_spent_and_so_does_the_whole():
    text = section(table())
    assert "Images as they are 10,000 41,000 39,321 2 min 34 s 1 min 1 s 950 kB 1.23 MB" in text
    assert "Attacks 1,000 41,000 39,321 2 min 34 s 2.2 s 950 kB 1.23 MB" in text
    assert "All rows 11,000 82,000 78,642 5 min 8 s 1 min 3 s 1.9 MB 2.47 MB" in text
    assert "What is no row — — — — 30 s — —" in text
    assert "The leading process held at most 795 MB; after the first shard it had held 410 MB." in text


def test_without_a_plan_there_is_no_section_and_without_memory_no_sentence():
    assert section(None) == ""
    assert effort_memory(table(memory=None)) == ""


def test_several_starts_are_told_and_parts_among_them():
    said = "What was spent is the sum over 3 starts; one that was killed counts up to the last shard or step"
    assert said in section(table(starts=3))
    assert "the sum over 1,005 starts, those of 40 parts among them; one" in section(table(starts=1005, parts=40))
    assert effort_starts(table()) == effort_starts(table(starts=1)) == ""


def test_what_was_spent_is_no_part_of_the_results():
    found = run("issued").model_copy(update={"effort": table()})
    assert "effort" not in found.model_dump_json()
    assert found.text == run("issued").text


def test_times_and_sizes_are_short():
    assert (seconds_words(9.96), seconds_words(10.2)) == ("10.0 s", "10 s")
    assert (bytes_words(0), bytes_words(1000)) == ("0 B", "1 kB")
