"""Scores → accept or abstain: thresholds, rules, certificates.

An answer is accepted iff its uncertainty is at most a threshold. `Certified` fits one from labelled rows; a fitted
policy is plain data and travels as JSON.
"""

from demur.policies.certificate import Certificate, CertifiedThreshold, Refusal
from demur.policies.certified import PROCEDURE, Certified, choose_signal
from demur.policies.certify import certify
from demur.policies.coverage_bound import CoverageBound, unlabelled_rows
from demur.policies.fixed_sequence import ACCEPT_ALL, Calibration, ThresholdGrid, threshold_near
from demur.policies.look import Look, count_look
from demur.policies.policy import Policy, Rule, Threshold
from demur.policies.policy_json import dump_policy, load_policy
from demur.policies.tolerance import Tolerance

__all__ = [
    "ACCEPT_ALL",
    "PROCEDURE",
    "Calibration",
    "Certificate",
    "Certified",
    "CertifiedThreshold",
    "CoverageBound",
    "Look",
    "Policy",
    "Refusal",
    "Rule",
    "Threshold",
    "ThresholdGrid",
    "Tolerance",
    "certify",
    "choose_signal",
    "count_look",
    "dump_policy",
    "load_policy",
    "threshold_near",
    "unlabelled_rows",
]
