"""What carries a guarantee: the policies that were certified, and what certifies them."""

from typing import TypeAlias

from demur.policies.by_class import CertifiedByClass
from demur.policies.by_site import CertifiedBySite
from demur.policies.capacity import Capacity
from demur.policies.certificate import Certificate, CertifiedPair, CertifiedThreshold
from demur.policies.certified import Certified
from demur.policies.class_certificate import ClassCertificate, ClassThreshold
from demur.policies.site_certificate import SiteCertificate, SiteThresholds

CertifiedPolicy: TypeAlias = CertifiedThreshold | CertifiedPair | ClassThreshold | SiteThresholds
CERTIFIED_POLICIES = (CertifiedThreshold, CertifiedPair, ClassThreshold, SiteThresholds)

AnyCertificate: TypeAlias = Certificate | ClassCertificate | SiteCertificate
CERTIFICATES = (Certificate, ClassCertificate, SiteCertificate)

Certifier: TypeAlias = Certified | CertifiedByClass | CertifiedBySite | Capacity
CERTIFIERS = (Certified, CertifiedByClass, CertifiedBySite, Capacity)


def void_when(policy: CertifiedPolicy | None) -> tuple[str, ...]:
    """What ends a guarantee, in words."""
    changed = "either signal or either threshold" if isinstance(policy, CertifiedPair) else "signal or threshold"
    return (f"the model, preprocessing, {changed} changes", "images come from another source")
