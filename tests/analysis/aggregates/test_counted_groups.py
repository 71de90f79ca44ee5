"""Images in groups that were counted tell what those that were held do, interval by interval."""

import shutil

import numpy as np
import pytest
import torch
from tests.analysis.aggregates.test_counted_results import CLASSES, EXACT, Net, patterns, plain

import demur
from demur.analysis import write_results
from demur.analysis.aggregates import group_lines, image_sample
from demur.analysis.aggregates.binned_tables import WORDS
from demur.data import Row

ROWS = 2400
PLAN = {
    "conditions.use": [
        "clean",
        "pgd(eps=0.05, keep='worst', steps=2)",
        "fmn(steps=3)",
        "gaussian_noise(severity=[1, 3])",
        "gaussian_blur(severity=2)",
        "low_light(severity=2)",
        "contrast(severity=2)",
    ],
    "conditions.attacked": 90,
    "signals.use": ["msp", "energy", "entropy"],
}
KINDS = {
    "one for each group": {"policies.use": ["certified(risk=0.25)", "rule(confidence=0.4)"]},
    "positive": {"policies.use": ["certified(risk=0.25)"], "data.positive": "kind 1"},
    "by class": {"policies.use": ["certified_by_class(risk=0.5)", "certified(risk=0.2)"]},
    "by site": {"policies.use": ["certified_by_site(risk=0.3)", "rule(confidence=0.4)"]},
    "none": {},
}
SIZES = (1, 2, 3, 6)


class Lots:
    """Noisy patterns in lots of several sizes, whose images are about as clear, one in ten in none; and their site."""

    address, classes, input_shape = "lots", CLASSES, (1, 8, 8)

    def __init__(self):
        draw = np.random.default_rng(11)
        self.lots = np.repeat(np.arange(ROWS), np.resize(SIZES, ROWS))[:ROWS]
        draw.shuffle(self.lots)
        clear, rare = draw.uniform(0.0, 0.1, ROWS), draw.choice(len(CLASSES), ROWS, p=(0.3, 0.3, 0.2, 0.1, 0.1))
        alike = draw.uniform(size=ROWS) < 0.7
        self.labels = np.where(alike, rare[self.lots], draw.integers(0, len(CLASSES), ROWS))
        images = 0.5 + clear[self.lots][:, None] * patterns()[self.labels] + draw.normal(0, 0.2, (ROWS, 64))
        self.images = torch.from_numpy(images.clip(0, 1).reshape(-1, 1, 8, 8).astype(np.float32))
        self.images[7, 0, 0, 0] = 0.25
        self.alone = draw.uniform(size=ROWS) < 0.1
        self.sites = draw.choice(["Hamburg", "Leipzig", "Turin"], ROWS, p=[0.5, 0.48, 0.02])

    def __len__(self):
        return ROWS

    def read(self, positions):
        for at in positions:
            group = None if self.alone[at] else f"lot {self.lots[at]}"
            meta = {"site": str(self.sites[at])}
            yield Row(f"{at:06d}", self.images[at], int(self.labels[at]), group, meta=meta)


@pytest.fixture(scope="module", params=KINDS)
def folder(request, tmp_path_factory):
    subject = demur.Classifier(Net().eval(), classes=CLASSES)
    out = tmp_path_factory.mktemp("groups") / "run"
    demur.audit(subject, Lots(), out=out, plan=PLAN | KINDS[request.param])
    return out


@pytest.fixture(scope="module")
def held(folder, tmp_path_factory):
    return write_results(shutil.copytree(folder, tmp_path_factory.mktemp("held") / "run"), rows="all")


@pytest.fixture(scope="module", params=[ROWS, ROWS // 4], ids=["all", "sample"])
def counted(request, folder, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(image_sample, "CLEAN_ROWS", request.param)
        patch.setattr(image_sample, "CORRUPTED_ROWS", 5 * request.param)
        patch.setattr(group_lines, "_TOGETHER", 300)
        return write_results(shutil.copytree(folder, tmp_path_factory.mktemp("counted") / "run"), rows="counted")


def test_the_audit_has_what_is_to_be_told(request, held):
    assert held.accuracy.unit == "group"
    assert held.accuracy.n < ROWS
    assert any(check.name == "the model answers" and check.count for check in held.checks)
    assert held.guarantee is None or held.guarantee.test_n < held.conditions[0].n
    kind = {"by class": "class", "by site": "site", "none": None}.get(request.node.callspec.params["folder"], "risk")
    assert (held.guarantee and held.guarantee.kind) == kind


@pytest.mark.parametrize("name", EXACT)
def test_what_is_counted_is_what_the_rows_say_to_the_digit(held, counted, name):
    own, theirs = plain(getattr(counted, name)), plain(getattr(held, name))
    if name == "checks":  # those of single rows are of the sample
        same = {"unseen images confirm the guarantee", "readable images"}
        own, theirs = ([check for check in found if check["name"] in same] for found in (own, theirs))
        assert own
    if name == "breaks":  # which says how many slices there are, and these are of the sample
        own, theirs = (found["rows"] for found in (own, theirs))
    assert own == theirs


def test_the_guarantee_is_told_of_one_image_of_each_group(held, counted):
    own, theirs = counted.guarantee, held.guarantee
    if theirs is not None:
        assert plain(own.model_copy(update={"attainable": theirs.attainable})) == plain(theirs)


def test_calibration_is_that_of_all_groups(held, counted):
    own, theirs = counted.calibration, held.calibration
    for name in ("ece", "nll", "brier"):
        mine, other = getattr(own, name), getattr(theirs, name)
        assert (mine.value, mine.n, mine.unit) == (pytest.approx(other.value, rel=1e-6), other.n, "group")
        np.testing.assert_allclose((mine.low, mine.high), (other.low, other.high), rtol=0.03)
    assert [plain(part.accuracy) for part in own.bins] == [plain(part.accuracy) for part in theirs.bins]


RANKED = {"error": ("auroc", "fpr95", "aurc", "augrc", "aupr", "coverage_at_risk"), "shift": ("auroc", "fpr95")}


def test_a_ranking_is_as_unsure_as_the_groups_of_the_sample_and_no_surer(held, counted):
    seen = 0
    for own, theirs in zip(counted.signals, held.signals, strict=True):
        for mine, other in zip(own.targets, theirs.targets, strict=True):
            for metric in RANKED.get(mine.target, ()):
                told, whole = getattr(mine, metric), getattr(other, metric)
                slack = counted.aggregates.signal_slack.get(WORDS[metric], {}).get(own.name, 0.0)
                assert (told.n, told.unit) == (whole.n, "group")
                assert abs(told.value - whole.value) <= slack + 1e-12
                assert told.high - told.low >= 0.97 * (whole.high - whole.low)
                seen += 1
    assert seen >= 3 * 8
