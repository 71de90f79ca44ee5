"""When a count is too many."""

from typing import Literal

from demur.metrics import wilson

State = Literal["pass", "warn", "fail"]


def level(count: int, of: int, warn: float, fail: float) -> State:
    """Fail above one share, warn above another."""
    portion = count / of if of else 0.0
    return "fail" if portion > fail else "warn" if portion > warn else "pass"


def sure_level(count: int, of: int, warn: float, fail: float) -> State:
    """Fail where the 95 % interval lies above one share, so that an odd image of few fails nothing; warn above another.

    Wilson (1927), "Probable inference, the law of succession, and statistical inference".
    """
    if of and wilson(count, of).low > fail:
        return "fail"
    return "warn" if count > warn * of else "pass"
