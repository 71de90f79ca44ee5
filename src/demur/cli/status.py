"""How a command that measured something ends."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from demur.analysis import Results


def status(results: "Results") -> int:
    """0 passed · 1 a gate or the measurement failed, or nothing could be certified · 3 inconclusive.

    Gates that are all passed are criteria enough: without a promise asked for they decide alone.
    """
    outcomes = {row.outcome for row in results.gates}
    if "fail" in outcomes or results.state not in {"issued", "undeclared"}:
        return 1
    if "inconclusive" in outcomes or (results.state == "undeclared" and not outcomes):
        return 3
    return 0
