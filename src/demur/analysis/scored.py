"""What uncertainty signals came to, on paper: against the baseline, under each condition, part by part."""

from typing import Literal

TargetName = Literal["error", "attack", "attack_oblivious", "shift"]
