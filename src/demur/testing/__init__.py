"""The contracts of everything that has a name, to be run on what another package adds.

    from demur.testing import check_signal

    def test_my_signal():
        check_signal("my_signal")

Each `check_…` takes a name, which then is also looked up as a plan would, or the thing itself. A rule that is broken is
an `AssertionError` that says which. What no contract can know is whether the formula is right: hold it against
something slow and obvious.
"""

from demur.testing.attack_contract import check_attack
from demur.testing.image_contracts import check_corruption, check_map
from demur.testing.signal_contract import check_signal
from demur.testing.source_contracts import check_data, check_model, check_policy

__all__ = [
    "check_attack",
    "check_corruption",
    "check_data",
    "check_map",
    "check_model",
    "check_policy",
    "check_signal",
]
