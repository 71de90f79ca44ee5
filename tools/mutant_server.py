"""Run pytest again and again without importing torch and its like each time: one forked process for each run.

    PYTHONPATH=src:. python tools/mutant_server.py

Reads one run a line from stdin, as JSON: `options` of pytest, `seconds` of processor time and bytes of `memory` that it
may use, and a file `lines` into which to write who runs which line of `room`, or null. Answers with a line of JSON: the
exit `status` (negative: the signal that ended it), the processor time `spent` and the last of the `output`.
"""

import contextlib
import importlib
import json
import os
import resource
import signal
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# What takes long to import and is none of this project. Not hypothesis: pytest wants to rewrite it first.
SLOW = ("numpy", "scipy.stats", "polars", "torch", "pydantic", "sklearn.linear_model", "PIL.Image")
HALF_HOUR = 1800  # a mutant that sleeps costs no processor time
TAIL = 4000


class Contexts:
    """A plug-in of pytest that asks coverage who runs which line: a test itself, or a fixture that it uses.

    A fixture of a session is set up once, for the first test that asks for it, but all that use it see its lines.
    """

    def __init__(self, room: str) -> None:
        from coverage import Coverage

        self.coverage = Coverage(data_file=None, config_file=False, source=[room], messages=False)
        self.users: dict[str, set[str]] = defaultdict(set)
        self.seconds: dict[str, float] = defaultdict(float)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.users[item.nodeid].add(item.nodeid)
        for fixture in getattr(item, "fixturenames", ()):
            self.users[f"fixture {fixture}"].add(item.nodeid)
        self.coverage.switch_context(item.nodeid)
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any, request: Any) -> Iterator[None]:
        self.coverage.switch_context(f"fixture {fixturedef.argname}")
        try:
            return (yield)
        finally:
            self.coverage.switch_context(request.node.nodeid if request.scope == "function" else "")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> None:
        self.coverage.switch_context(item.nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[report.nodeid] += report.duration

    def write(self, path: Path) -> None:
        """`tests`: file → line → the tests that run it, and `seconds` of each test."""
        data, root, tests = self.coverage.get_data(), Path.cwd(), {}
        for file in data.measured_files():
            lines = {
                line: sorted({test for name in names for test in self.users[name]})
                for line, names in data.contexts_by_lineno(file).items()
            }
            tests[str(Path(file).relative_to(root))] = {line: users for line, users in lines.items() if users}
        path.write_text(json.dumps({"tests": tests, "seconds": self.seconds}))


def run(task: dict[str, Any]) -> int:
    """The exit status of pytest, within the limits."""
    resource.setrlimit(resource.RLIMIT_CPU, (task["seconds"], task["seconds"]))
    resource.setrlimit(resource.RLIMIT_AS, (task["memory"], task["memory"]))
    signal.alarm(HALF_HOUR)
    if task["lines"] is None:
        return int(pytest.main(task["options"]))
    contexts = Contexts(task["room"])
    contexts.coverage.start()
    status = int(pytest.main(task["options"], plugins=[contexts]))
    contexts.coverage.stop()
    contexts.write(Path(task["lines"]))
    return status


def answer(task: dict[str, Any]) -> dict[str, Any]:
    """Run in a child, whose output goes into a file."""
    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if not child:
            status = 70
            with contextlib.suppress(BaseException):
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
                status = run(task)
            sys.stdout.flush()
            os._exit(status)  # what mutants leave at exit is not waited for
        _, ended, usage = os.wait4(child, 0)
        output.seek(max(0, output.seek(0, os.SEEK_END) - TAIL))
        text = output.read().decode(errors="replace")
    return {"status": os.waitstatus_to_exitcode(ended), "spent": usage.ru_utime + usage.ru_stime, "output": text}


if __name__ == "__main__":
    for module in SLOW:
        with contextlib.suppress(ImportError):
            importlib.import_module(module)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
