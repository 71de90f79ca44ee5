"""An audit as JUnit XML, which every CI shows: the promise, each gate and each check is a test case.

Failed is `failure`, what could not be decided is `error`, so that neither is green; a promise nobody asked for is
`skipped`, and a warning is a pass with its sentence in `system-out`.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree as ET

from demur.analysis.results import Results
from demur.report.gates import in_words
from demur.report.verdicts import verdict

_CONTROL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One test case; `kind` is None when it passed."""

    name: str
    kind: Literal["failure", "error", "skipped"] | None
    message: str


def junit(results: Results) -> str:
    """The whole document; characters XML cannot hold are replaced."""
    suites = (("promise", [_promise(results)]), ("gates", _gates(results)), ("checks", _checks(results)))
    root = ET.Element("testsuites", name="demur")
    for name, cases in suites:
        if cases:
            root.append(_suite(name, cases, results))
    ET.indent(root)
    return f'<?xml version="1.0" encoding="utf-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _promise(results: Results) -> Case:
    said = verdict(results)
    kinds: dict[str, Literal["failure", "error", "skipped"] | None] = {
        "issued": None,
        "undeclared": "skipped",
        "measurement_failed": "error",
    }
    return Case(name="promise", kind=kinds.get(results.state, "failure"), message=f"{said.headline}. {said.note}")


def _gates(results: Results) -> list[Case]:
    return [
        Case(
            name=f"{row.key} {row.rule}",
            kind={"pass": None, "fail": "failure", "inconclusive": "error"}[row.outcome],
            message=": ".join(part for part in (row.of, in_words(row), row.sentence) if part),
        )
        for row in results.gates
    ]


def _checks(results: Results) -> list[Case]:
    return [
        Case(
            name=check.name,
            kind="failure" if check.state == "fail" else None,
            message=f"{check.sentence}{'' if check.count is None else f': {check.count} of {check.of}'}",
        )
        for check in results.checks
    ]


def _suite(name: str, cases: Iterable[Case], results: Results) -> ET.Element:
    kinds = [case.kind for case in cases]
    suite = ET.Element(
        "testsuite",
        name=f"demur.{name}",
        tests=str(len(kinds)),
        failures=str(kinds.count("failure")),
        errors=str(kinds.count("error")),
        skipped=str(kinds.count("skipped")),
        time="0",
        timestamp=results.provenance.started,
    )
    for case in cases:
        element = ET.SubElement(suite, "testcase", classname=f"demur.{name}", name=_legal(case.name), time="0")
        if case.kind:
            ET.SubElement(element, case.kind, message=_legal(case.message))
        else:
            ET.SubElement(element, "system-out").text = _legal(case.message)
    return suite


def _legal(text: str) -> str:
    return _CONTROL.sub("\ufffd", text)
