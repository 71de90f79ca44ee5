"""What breaks it, on the first screen and as a list; what the headline's share hides."""

import pytest

from demur.analysis.accuracy.overall import ClassRow
from demur.analysis.results import ConditionTitle
from demur.analysis.what_breaks import what_breaks
from demur.report import render, words
from demur.report.breaking_lines import breaking_lines, breaking_rule, breaking_sentence
from demur.report.first_screen import FirstScreen
from demur.report.text_outputs import summary
from tests.report.example_results import run
from tests.report.parsed_page import Page
from tests.report.simulated_scores import share


def judged(state="issued", **changes):
    results = run(state).model_copy(update=changes)
    return results.model_copy(update={"breaks": what_breaks(results)})


def test_the_worst_three_stand_on_the_first_screen_with_their_smallest_sizes():
    said = (
        "Pgd from eps 0.05: 63 of 100 answers wrong; Fgsm from eps 0.05: 47; Gaussian noise from severity 3: 3.4; and "
    )
    assert breaking_sentence(judged()) == f"{said}4 more."
    assert said in Page(render(judged())).text
    assert said.split("; ")[0] in " ".join(words(judged()).split())


def test_sizes_are_called_as_the_audit_called_them():
    results = judged()
    row = next(row for row in results.breaks.rows if row.subject == "attack")
    titles = {row.condition: ConditionTitle(title="PGD, eps 4/255 (1.6 %)", heading="PGD", level="eps 4/255 (1.6 %)")}
    line = next(line for line in breaking_lines(results.model_copy(update={"titles": titles})) if line.kind == "attack")
    assert (line.name, line.size, line.smallest) == ("PGD", "eps 4/255 (1.6 %)", True)


def test_nothing_that_breaks_it_is_said_too():
    results = judged(conditions=run("issued").conditions[:1], per_class=())
    assert breaking_sentence(results) is None
    calm = judged(conditions=run("issued").conditions[:2], per_class=())
    assert breaking_sentence(calm) == "Nothing that was tried is seen to break it (1 tried)."
    assert "Nothing that was tried is seen to break it." in Page(render(calm)).text


def test_the_rule_is_said_with_its_limit():
    assert "more than the guaranteed 2 in 100 answers are wrong" in breaking_rule(judged())
    assert "fewer than half as many answers are right" in breaking_rule(judged("model_too_weak"))


@pytest.mark.parametrize("where", ["page", "terminal", "summary"])
def test_a_class_beyond_the_limit_stands_in_the_headline(where):
    (first, *others) = run("issued").per_class
    bad: ClassRow = first.model_copy(update={"name": "Shirt", "risk": share(0.14, 189)})
    fine = tuple(row.model_copy(update={"risk": share(0.01, 300)}) for row in others)

    def said(rows):
        results = judged(per_class=rows)
        return {
            "page": Page(render(results)).text,
            "terminal": " ".join(words(results).split()),
            "summary": summary(results, FirstScreen.of(results)),
        }[where]

    exception = "at most 2 in 100 answers are wrong, but “Shirt”: 14 of 100 answers wrong"
    assert exception in said((bad, *fine))
    assert "but “" not in said(fine)
