"""Scores → accept or abstain: thresholds, rules, certificates.

An answer is accepted iff its uncertainty is at most a threshold. `Certified` fits one from labelled rows; a fitted
policy is plain data and travels as JSON.
"""

from demur.policies.average_loss import AverageLoss, control_average_loss
from demur.policies.band import Band
from demur.policies.by_class import CertifiedByClass, Classes
from demur.policies.by_site import CertifiedBySite, SiteRows
from demur.policies.capacity import Capacity
from demur.policies.certificate import Certificate, CertifiedPair, CertifiedThreshold, Refusal
from demur.policies.certified import PROCEDURE, Certified, choose_signal
from demur.policies.certified_policies import (
    CERTIFICATES,
    CERTIFIED_POLICIES,
    CERTIFIERS,
    AnyCertificate,
    CertifiedPolicy,
    Certifier,
)
from demur.policies.certify import certify
from demur.policies.certify_pair import certify_pair
from demur.policies.class_certificate import ClassCertificate, ClassThreshold
from demur.policies.coverage_bound import CoverageBound, unlabelled_rows
from demur.policies.decision import Bounded, PolicyDecisions, decide
from demur.policies.fitted_rule import FittedRule
from demur.policies.fitted_threshold import FittedThreshold
from demur.policies.fixed_sequence import ACCEPT_ALL, Calibration, ThresholdGrid, threshold_near
from demur.policies.look import Look, count_look
from demur.policies.policy import Policy, Rule, Threshold
from demur.policies.policy_fit import PolicyFit, TuneFitted
from demur.policies.policy_json import dump_policy, load_policy
from demur.policies.second_threshold import PairRows, SecondThreshold
from demur.policies.site_certificate import SiteCertificate, Sited, SiteThresholds
from demur.policies.stream_monitor import FittedMonitor, MonitorSteps, MonitorStream, StreamMonitor
from demur.policies.tolerance import Tolerance

__all__ = [
    "ACCEPT_ALL",
    "CERTIFICATES",
    "CERTIFIED_POLICIES",
    "CERTIFIERS",
    "PROCEDURE",
    "AnyCertificate",
    "AverageLoss",
    "Band",
    "Bounded",
    "Calibration",
    "Capacity",
    "Certificate",
    "Certified",
    "CertifiedByClass",
    "CertifiedBySite",
    "CertifiedPair",
    "CertifiedPolicy",
    "CertifiedThreshold",
    "Certifier",
    "ClassCertificate",
    "ClassThreshold",
    "Classes",
    "CoverageBound",
    "FittedMonitor",
    "FittedRule",
    "FittedThreshold",
    "Look",
    "MonitorSteps",
    "MonitorStream",
    "PairRows",
    "Policy",
    "PolicyDecisions",
    "PolicyFit",
    "Refusal",
    "Rule",
    "SecondThreshold",
    "SiteCertificate",
    "SiteRows",
    "SiteThresholds",
    "Sited",
    "StreamMonitor",
    "Threshold",
    "ThresholdGrid",
    "Tolerance",
    "TuneFitted",
    "certify",
    "certify_pair",
    "choose_signal",
    "control_average_loss",
    "count_look",
    "decide",
    "dump_policy",
    "load_policy",
    "threshold_near",
    "unlabelled_rows",
]
