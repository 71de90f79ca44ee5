"""Exit status, seconds and peak memory of every malformed input of the tests.

    python tools/malformed.py [WORDS…]

Each input of `tests/cli/malformed_cases.py` is made in a process of its own and met by the command line in another,
which has everything imported already; then those of `tests/cli/test_malformed_inputs.py` and `test_wrong_inputs.py` are
met as the tests meet them. Seconds are those of the processor, so that a busy machine changes nothing. With words, only
inputs whose names hold one of them. It ends with status 1 where an input takes more than ten seconds or a gigabyte,
ends otherwise than it must, or leaves a traceback.
"""

import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
IMPORTED = ("-W", "ignore::pytest.PytestAssertRewriteWarning")
SECONDS, MEGABYTES = 10.0, 1000


@dataclass(frozen=True)
class Cost:
    """What an input comes to; `wrong` says why it should not."""

    name: str
    status: int
    seconds: float
    megabytes: int
    wrong: str = ""

    def __str__(self) -> str:
        wrong = f"  ✖ {self.wrong}" if self.wrong else ""
        return f"{self.status:>6} {self.seconds:>8.2f} {self.megabytes:>6}  {self.name}{wrong}"

    @property
    def fits(self) -> bool:
        """Whether it is as it must be."""
        return not self.wrong and self.seconds <= SECONDS and self.megabytes <= MEGABYTES


@contextmanager
def measured(costs: list[Cost], name: str, check: Callable[[int, str], str]) -> Iterator[Callable[[int], None]]:
    """Measure what happens inside, from the memory held now; what is given is the exit status."""
    Path("/proc/self/clear_refs").write_text("5")
    began, found = time.process_time(), []
    said = StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        yield found.append
    (peak,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    status = found[0] if found else 70
    wrong = check(status, said.getvalue())
    costs.append(Cost(name, status, time.process_time() - began, int(peak.split()[1]) // 1024, wrong))


def met(arguments: list[str]) -> int:
    """The exit status of a command line."""
    from demur.cli import main

    sys.argv = ["demur", *arguments]
    try:
        main()
    except SystemExit as left:
        return int(left.code or 0)
    except BaseException:  # noqa: BLE001 - whatever comes is told
        traceback.print_exc()
    return 70


def aside(work: Callable[[], Any], answer: Path) -> Any:
    """What work comes to in a process of its own; whatever it leaves in memory goes with it."""
    child = os.fork()
    if not child:
        status = 1
        try:
            answer.write_text(repr(work()))
            status = 0
        except BaseException:  # noqa: BLE001 - a child must not go on as its parent
            traceback.print_exc()
        finally:
            os._exit(status)
    _, status = os.waitpid(child, 0)
    if status:
        raise RuntimeError(f"{answer.name} could not be made or measured")
    return eval(answer.read_text(), {"Cost": Cost})  # of our own making


def of_case(case: Any) -> Cost:
    """One line of the table."""
    place = tempfile.mkdtemp()
    os.chdir(place)
    try:
        arguments = aside(case.arguments, Path(place) / ".arguments")
        return aside(lambda: _cost(case, arguments), Path(place) / ".cost")
    finally:
        os.chdir(ROOT)
        subprocess.run(["rm", "-rf", place], check=True)  # which goes deeper than Python does


def _cost(case: Any, arguments: list[str]) -> Cost:
    def check(status: int, said: str) -> str:
        if "Traceback" in said:
            return "a traceback"
        if (case.failed is None) != (status == 2):
            return "refused" if status == 2 else "not refused"
        missing = [word for word in case.words if case.failed is None and word not in said]
        return f"does not say {missing[0]!r}" if missing else ""

    costs: list[Cost] = []
    with measured(costs, case.name, check) as ended:
        ended(met(arguments))
    return costs[0]


def of_tests(words: list[str], place: Path) -> list[Cost]:
    """Every command line of the tests beside the table."""
    import pytest

    import demur.cli

    costs: list[Cost] = []
    main = demur.cli.main

    def watched() -> None:
        name = os.environ.get("PYTEST_CURRENT_TEST", "").partition("::")[2].partition(" ")[0]
        Path("/proc/self/clear_refs").write_text("5")
        began, status = time.process_time(), 70
        try:
            main()
        except SystemExit as left:
            status = int(left.code or 0)
            raise
        finally:
            peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
            costs.append(Cost(name, status, time.process_time() - began, int(peak.split()[1]) // 1024))

    demur.cli.main = watched
    with (place / "tests").open("w") as said, redirect_stdout(said):
        files = [str(ROOT / "tests" / "cli" / f"test_{name}_inputs.py") for name in ("malformed", "wrong")]
        chosen = f"not table{' and (' + ' or '.join(words) + ')' if words else ''}"
        failed = pytest.main(["-q", "-p", "no:cacheprovider", *IMPORTED, "-k", chosen, *files]) not in {0, 5}
    return [*costs, *([Cost("the tests", 1, 0.0, 0, "failed: run them")] if failed else [])]


def main() -> int:
    """Print the table."""
    sys.path.insert(0, str(ROOT))
    words = sys.argv[1:]
    from tests.cli.malformed_cases import CASES

    import demur.analysis
    import demur.attribution.explain_model
    import demur.data
    import demur.pipeline.run.loop
    import demur.report  # noqa: F401 - imported once, for every process

    print("status  seconds     MB  input")
    costs = []
    for case in CASES:
        if not words or any(word in case.name for word in words):
            costs.append(of_case(case))
            print(costs[-1], flush=True)
    with tempfile.TemporaryDirectory() as place:
        others = aside(lambda: of_tests(words, Path(place)), Path(place) / "costs")
    print(*others, sep="\n")
    costs += others
    slowest, largest = max(costs, key=lambda cost: cost.seconds), max(costs, key=lambda cost: cost.megabytes)
    beyond = [cost for cost in costs if not cost.fits]
    print(f"\n{len(costs)} inputs; slowest {slowest.seconds:.1f} s: {slowest.name}; largest {largest.megabytes} MB: "
          f"{largest.name}; {len(beyond)} beyond the bounds")  # fmt: skip
    print(*beyond, sep="\n")
    return int(bool(beyond))


if __name__ == "__main__":
    sys.exit(main())
