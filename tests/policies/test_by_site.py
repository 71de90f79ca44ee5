"""Sites with thresholds of their own: each certified at its part of δ, unknown ones not answered."""

import numpy as np
import pytest

from demur.errors import InputError
from demur.metrics.binomial import labels_without_error
from demur.policies import Calibration, Certified, CertifiedBySite, Refusal, SiteCertificate, Sited
from demur.policies.by_site import SiteRows
from demur.policies.look import Look
from demur.policies.site_certificate import UNKNOWN

FACTORS = {"lab": 0.5, "line": 1.2}


def draw(rng, sizes, groups=None):
    """Rows of sites, some of them worse than others."""
    names = np.repeat(list(sizes), list(sizes.values())).astype(object)
    scores = rng.random(len(names))
    factor = np.array([FACTORS.get(name, 1.0) for name in names])
    return SiteRows(
        Calibration(scores, rng.random(len(names)) < 0.6 * np.exp(-6 * (1 - scores)) * factor, groups), names
    )


def test_each_site_is_certified_at_its_part_of_the_level():
    rng = np.random.default_rng(0)
    tune, certify = draw(rng, {"lab": 400, "line": 400}), draw(rng, {"lab": 900, "line": 1500})
    found = CertifiedBySite(risk=0.05).fit(tune, certify)
    assert isinstance(found, SiteCertificate)
    for each in found.sites:
        assert each.certificate == Certified(risk=0.05, delta=0.025).fit(tune.of(each.site), certify.of(each.site))
    assert [each.site for each in found.sites] == ["lab", "line"]
    assert found.m == 2400
    assert "at that site are wrong (95 % confidence for all at once" in found.sentence


def test_a_site_that_cannot_pass_takes_no_part_of_the_level():
    rng = np.random.default_rng(0)
    sizes = {"lab": 900, "line": 900, "truck": 20}
    found = CertifiedBySite(risk=0.05).fit(draw(rng, sizes), draw(rng, sizes))
    assert {each.certificate.delta for each in found.sites} == {0.025}
    assert list(found.refused) == ["truck"]
    assert "20 labels are fewer than even a faultless model needs" in found.refused["truck"]


def test_a_site_with_just_enough_labels_has_its_part():
    enough = labels_without_error(0.05, Look().risk_level(0.025))
    sure = {"lab": enough, "line": enough}
    names = np.repeat(list(sure), list(sure.values())).astype(object)
    rows = SiteRows(Calibration(np.zeros(2 * enough), np.zeros(2 * enough, bool)), names)
    assert len(CertifiedBySite(risk=0.05).fit(rows, rows).sites) == 2
    fewer = SiteRows(rows.rows.rows(np.arange(2 * enough - 1)), names[:-1])
    (alone,) = CertifiedBySite(risk=0.05).fit(rows, fewer).sites
    assert (alone.site, alone.certificate.delta) == ("lab", 0.05)


def test_it_is_kept_at_all_sites_at_once():
    rng, sizes = np.random.default_rng(0), {"lab": 700, "line": 700}
    broken = []
    for _ in range(150):
        found = CertifiedBySite(risk=0.05).fit(draw(rng, sizes), draw(rng, sizes))
        made = {} if isinstance(found, Refusal) else {each.site: each.certificate.threshold for each in found.sites}
        true = [
            FACTORS[site] * 0.1 * (np.exp(-6 * (1 - min(t, 1))) - np.exp(-6)) / min(t, 1) for site, t in made.items()
        ]
        broken.append(any(risk > 0.05 for risk in true))
    assert np.mean(broken) <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / 150)


def policy():
    rng, sizes = np.random.default_rng(0), {"lab": 900, "line": 900}
    return CertifiedBySite(risk=0.05, column="place").fit(draw(rng, sizes), draw(rng, sizes)).on("msp")


def test_an_image_is_judged_by_the_threshold_of_its_site():
    fitted = policy()
    lab, line = (fitted.thresholds[site] for site in ("lab", "line"))
    assert isinstance(fitted, Sited)
    assert line < lab
    between = {"msp": np.full(5, (lab + line) / 2)}
    here = fitted.at(np.array(["lab", "line", "nowhere", None, "lab"], object))
    assert here.accepts(between).tolist() == [True, False, False, False, True]
    assert here.reasons(between).tolist() == ["", "low_confidence", UNKNOWN, UNKNOWN, ""]
    assert here.reasons({"msp": np.full(5, np.nan)}).tolist()[:3] == ["undefined_score", "undefined_score", UNKNOWN]


def test_without_sites_nothing_is_answered():
    scores = {"msp": np.zeros(3)}
    assert not policy().accepts(scores).any()
    assert set(policy().reasons(scores)) == {UNKNOWN}


def test_a_missing_name_is_no_site_of_that_name():
    rng = np.random.default_rng(0)
    found = CertifiedBySite(risk=0.05).fit(draw(rng, {"None": 900}), draw(rng, {"None": 900})).on("msp")
    assert found.at(np.array([None, "None"], object)).accepts({"msp": np.zeros(2)}).tolist() == [False, True]


def test_rows_without_any_site_are_refused():
    rows = draw(np.random.default_rng(0), {"lab": 90})
    nameless = SiteRows(rows.rows, np.full(90, None, object))
    with pytest.raises(InputError, match=r"rows whose 'site' is given; none .* certified_by_site\(column='camera'\)"):
        CertifiedBySite().fit(rows, nameless)


def test_sites_that_are_all_too_small_are_refused_with_what_is_needed():
    rng, sizes = np.random.default_rng(0), {"lab": 30, "line": 20}
    found = CertifiedBySite(risk=0.05).fit(draw(rng, sizes), draw(rng, sizes))
    assert (found.reason, found.labels_given) == ("too_few_labels", 30)
    assert found.labels_needed == labels_without_error(0.05, Look(2).risk_level(0.025))
    assert "at any of 2 sites: the largest, 'lab', has 30 labels" in found.sentence
