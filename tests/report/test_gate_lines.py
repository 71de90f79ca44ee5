"""Gates, the purpose and openings on the page, in the terminal, in JUnit XML and in Markdown."""

import re
from collections import Counter
from xml.etree import ElementTree as ET

import pytest

from demur.report import render, words
from demur.report.acceptance_lines import GateTally
from demur.report.first_screen import FirstScreen
from demur.report.text_outputs import LINES, junit, summary
from tests.report.example_results import STATES, guarantee, run
from tests.report.gate_results import RULES, gated
from tests.report.parsed_page import Page

HOSTILE = "</td>|`<b>`\n[x](y)\x00"


def summary_of(results):
    return summary(results, FirstScreen.of(results))


def test_the_three_outcomes_are_there():
    assert Counter(row.outcome for row in gated().gates) == {"pass": 3, "fail": 1, "inconclusive": 2}


def test_the_page_shows_every_gate_before_everything_else():
    parts = Page(render(gated()))
    assert parts.faults == []
    assert [attrs["id"] for attrs in parts.all("section") if "id" in attrs][:2] == ["gates", "making"]
    for row in gated().gates:
        assert row.key in parts.text
        assert row.rule in parts.text
        assert row.sentence in parts.text
    assert "✖ failed 11.0 % 9.5–12.7 %" in parts.text
    assert "? inconclusive" in parts.text


def test_without_gates_there_is_no_word_of_them(page):
    assert "gates" not in [attrs.get("id") for attrs in Page(page).all("section")]
    assert "Gates" not in words(run("issued"))
    assert "Gate |" not in summary_of(run("issued"))


def test_the_first_screen_counts_gates_and_no_longer_says_yes():
    first = FirstScreen.of(gated())
    assert first.verdict.word == "Guarantee issued"
    assert first.verdict.answer == "No: a gate failed."
    broken = gated().model_copy(update={"guarantee": guarantee(test_wrong=90)})
    assert FirstScreen.of(broken).verdict.answer == "No: a gate failed."
    open_ = FirstScreen.of(gated({"worst_class.accuracy": ">= 0.75"}))
    assert open_.verdict.answer == "Not yet: a gate is inconclusive."
    passed = FirstScreen.of(gated({"checks.failed": "<= 0"}))
    assert passed.verdict.answer.startswith("Yes")


def test_criteria_that_are_gates_alone():
    answers = [FirstScreen.of(gated({"checks.failed": rule}, "undeclared")).verdict.answer for rule in ("<= 0", "> 0")]
    assert answers[0].startswith("All gates are passed")
    assert answers[1] == "No: a gate failed."


@pytest.mark.parametrize("state", STATES)
def test_words_with_gates_fit_a_terminal_and_say_the_next_step(state):
    lines = words(gated(state=state, gate_changes=("x: a, was b",))).splitlines()
    assert len(lines) <= LINES
    assert max(map(len, lines)) <= 100
    assert sum(line.startswith("Gates: ") for line in lines) == 1
    assert any(line.startswith("Next: ") for line in lines)


def test_the_line_of_gates():
    lines = words(gated({key: RULES[key] for key in ("checks.failed", "robust.accuracy")})).splitlines()
    assert "Gates: 1 passed, 1 failed, 0 inconclusive; robust.accuracy >= 0.5 failed." in lines


def test_a_gate_changed_after_the_test_was_opened_is_seen_everywhere():
    change = "clean.accuracy: >= 0.9, was >= 0.99"
    for rules in (RULES, {}):
        results = gated(rules, gate_changes=(change,))
        text = Page(render(results)).text
        assert "1 gate changed after the test was opened" in text
        assert change in text
        assert "1 gate changed after the test was opened" in words(results)
        assert change in summary_of(results)
    assert "changed after" not in render(gated())


def test_how_often_the_test_was_opened_is_on_the_page():
    text = Page(render(gated())).text
    assert "Test opened 3 times, under 2 plans and for 1 model, first on 2026-03-02 10:15 UTC" in text
    assert "certify opened 2 times, first on 2026-03-02 10:14 UTC" in text


def red(html, text):
    return re.search(rf'class="[^"]*broken[^"]*"[^>]*>{re.escape(text)}<', html) is not None


def test_what_the_plan_leaves_open_is_red():
    html = render(run("undeclared"))
    assert red(html, "No intended use was declared in the plan.")
    assert red(html, "Not declared: population, acquisition, abstentions go to, threat model")
    assert html.count('<dd class="broken">not declared</dd>') == 5


def test_what_the_plan_declares_is_not():
    html = render(run("issued"))
    assert html.count('<dd class="broken">not declared</dd>') == 2
    assert red(html, "Not declared: acquisition, threat model")
    assert "No intended use" not in html


def test_junit_has_a_case_for_the_guarantee_every_gate_and_every_check():
    results = gated()
    root = ET.fromstring(junit(results).encode())
    suites = {suite.get("name"): suite for suite in root.iter("testsuite")}
    assert set(suites) == {"demur.guarantee", "demur.gates", "demur.checks"}
    outcome = {
        case.get("name"): next((child.tag for child in case), None) for case in suites["demur.gates"].iter("testcase")
    }
    kinds = {"pass": "system-out", "fail": "failure", "inconclusive": "error"}
    assert outcome == {f"{row.key} {row.rule}": kinds[row.outcome] for row in results.gates}
    assert len(list(suites["demur.checks"].iter("testcase"))) == len(results.checks)
    for suite in suites.values():
        for count, tag in (("tests", "testcase"), ("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.get(count)) == len(list(suite.iter(tag)))
    failure = next(suites["demur.gates"].iter("failure"))
    assert "11.0 % (9.5–12.7 %)" in failure.get("message")


@pytest.mark.parametrize(
    ("state", "tag"),
    [
        ("issued", "system-out"),
        ("too_few_labels", "failure"),
        ("model_too_weak", "failure"),
        ("measurement_failed", "error"),
        ("undeclared", "skipped"),
    ],
)
def test_the_guarantee_is_a_case_of_its_own(state, tag):
    root = ET.fromstring(junit(run(state)).encode())
    case = next(case for case in root.iter("testcase") if case.get("name") == "guarantee")
    assert [child.tag for child in case] == [tag]


def test_junit_survives_any_name():
    rows = tuple(row.model_copy(update={"of": HOSTILE}) for row in gated().gates)
    checks = tuple(check.model_copy(update={"name": HOSTILE}) for check in gated().checks)
    root = ET.fromstring(junit(gated().model_copy(update={"gates": rows, "checks": checks})).encode())
    assert len(list(root.iter("testcase"))) == 1 + len(rows) + len(checks)


@pytest.mark.parametrize("state", STATES)
def test_the_summary_is_short_and_has_everything(state):
    text = summary_of(gated(state=state))
    assert len(text.splitlines()) <= 80
    assert FirstScreen.of(run(state)).verdict.word in text.splitlines()[0]
    assert "| `robust.accuracy` | `>= 0.5` |" in text
    assert "| `clean` |" in text
    assert text.splitlines()[-1].startswith("**Next step.** ")
    assert ("**not declared**" in text) is True


def test_a_long_summary_says_what_it_leaves_out():
    results = gated({f"clean.{measure}": f">= 0.{k}" for measure in ("accuracy", "risk") for k in range(1, 2)})
    rows = results.conditions * 9
    many = results.model_copy(update={"conditions": rows, "gates": results.gates * 20})
    lines = summary_of(many).splitlines()
    assert len(lines) <= 80
    shown = sum(line.startswith(("| `clean` ", "| `gaussian", "| `low", "| `fgsm", "| `pgd")) for line in lines)
    assert f"| and {len(rows) - shown} more conditions in the report |" in lines
    assert "| and 20 more gates in the report |" in lines


def test_no_name_breaks_the_summary():
    rows = tuple(row.model_copy(update={"of": HOSTILE}) for row in gated().gates)
    conditions = tuple(row.model_copy(update={"condition": HOSTILE}) for row in run("issued").conditions[:2])
    text = summary_of(gated().model_copy(update={"gates": rows, "conditions": conditions, "next_step": HOSTILE}))
    heads = next(line for line in text.splitlines() if line.startswith("| Gate ")).count("|")
    table = [line for line in text.splitlines() if "inconclusive |" in line or "failed |" in line]
    assert table
    assert all(len(re.findall(r"(?<!\\)\|", line)) == heads for line in table)
    assert [len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith("| `</td>")] == [7, 7]
    assert "\\<b>" in text.splitlines()[-1]


def test_the_tally_lists_failures_first():
    assert GateTally.of(gated()).remarks[0] == "robust.accuracy >= 0.5 failed"
    assert GateTally.of(run("issued")) is None


@pytest.mark.browser
@pytest.mark.parametrize("size", [(1280, 900), (1440, 900)])
def test_the_first_screen_with_gates_needs_no_scrolling(browser, size, tmp_path):
    path = tmp_path / "gates.html"
    path.write_text(render(gated(gate_changes=("clean.accuracy: >= 0.9, was >= 0.99",))), encoding="utf-8")
    browser.screen(*size, "light")
    browser.open(path)
    assert browser.script("return document.querySelector('.first .next').getBoundingClientRect().bottom") <= 900
    assert browser.script("return document.documentElement.scrollWidth") <= size[0]
    assert browser.log() == []
