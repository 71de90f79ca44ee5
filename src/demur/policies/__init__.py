"""Scores → accept or abstain: thresholds, rules, certificates.

An answer is accepted iff its doubt is at most a threshold. `Certified` fits one from labelled rows; a fitted policy is
plain data and travels as JSON.
"""

from demur.policies.calibration import Calibration
from demur.policies.certificate import Certificate, CertifiedThreshold, Refusal
from demur.policies.certified import Certified
from demur.policies.choose import choose_signal
from demur.policies.gaps import ACCEPT_ALL, Gaps, threshold_near
from demur.policies.policy import Policy
from demur.policies.rule import Rule
from demur.policies.store import dump_policy, load_policy
from demur.policies.threshold import Threshold

__all__ = [
    "ACCEPT_ALL",
    "Calibration",
    "Certificate",
    "Certified",
    "CertifiedThreshold",
    "Gaps",
    "Policy",
    "Refusal",
    "Rule",
    "Threshold",
    "choose_signal",
    "dump_policy",
    "load_policy",
    "threshold_near",
]
