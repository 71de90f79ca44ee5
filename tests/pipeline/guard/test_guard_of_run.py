"""From a run to its guard: the same decisions row by row, the same certificate, and what stands in the way."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from tests import guarded, tiny

from demur import fit_guard, open_data, seal
from demur.classifier import BoundClassifier
from demur.data import build_index, from_tensors
from demur.errors import InputError, RunError
from demur.files import read_json, write_json
from demur.guard import Guard
from demur.guard.card_words import guard_words
from demur.guard.golden_vectors import selftest
from demur.guard.guard_folder import check_ledger, read_built_on
from demur.pipeline.guard.guard_of_run import GuardChoices, guard_of_run
from demur.pipeline.plan.plan_file import read_plan
from demur.pipeline.plan.plan_tables import Signals
from demur.pipeline.run.prepare import StandIns, prepared_job
from demur.policies import decide, load_policy
from demur.records import read


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return guarded.audited(tmp_path_factory.mktemp("audited"))


def decisions_of(run, guard):
    clean = read(run, "clean")
    return clean, decide(guard.policy, {name: clean[f"signal.{name}"].to_numpy() for name in guard.policy.signals})


def images_of(source, clean):
    """The images of a run's rows, in their order."""
    places = {row.sample_id: row.image for row in source.read(range(len(source)))}
    return torch.stack([places[name] for name in clean["sample_id"]])


class TestAlike:
    def test_the_guard_decides_every_row_as_the_audit_did(self, made):
        run, folder, _ = made
        guard = Guard.load(folder)
        clean, before = decisions_of(run, guard)
        after = guard(images_of(tiny.source(), clean))
        assert after.predicted.tolist() == clean["predicted"].to_list()
        assert (after.accepted == before.accepted)[~after.near].all()
        assert 0 < after.accepted.mean() < 1
        assert np.allclose(after.scores["msp"], clean["signal.msp"].to_numpy(), rtol=1e-5)

    def test_its_certificate_is_the_audit_s_to_the_digit(self, made):
        run, folder, _ = made
        entry = read_json(run / "facts" / "policies.json")[0]
        assert read_json(folder / "guard.json")["policy"] == entry["policy"]
        assert Guard.load(folder).policy == load_policy(entry["policy"])

    def test_the_audit_the_table_and_the_guard_decide_by_one_function(self, made, monkeypatch):
        def nobody(_policy, scores, *_rest):
            return before(_policy, {name: np.full(len(score), np.nan) for name, score in scores.items()}, *_rest)

        run, folder, _ = made
        guard, before = Guard.load(folder), decide
        from demur.analysis.run_folder import Run

        rows = Run(run).rows("clean")
        assert Run(run).accepts(guard.policy, rows).any()
        for place in ("demur.analysis.run_folder.decide", "demur.guard.guard.decide"):
            monkeypatch.setattr(place, nobody)
        assert not Run(run).accepts(guard.policy, rows).any()
        assert not guard(guarded.images(20)).accepted.any()

    def test_with_a_fitted_signal_and_a_second_threshold_too(self, tmp_path, monkeypatch):
        model = BoundClassifier(tiny.Net().eval(), classes=tiny.CLASSES, input_shape=tiny.SHAPE, features="compare")
        monkeypatch.setattr("demur.guard.model_files.load_model", lambda *_where, **_what: model)
        source = tiny.source(rows=3_000)
        plan = {"signals": Signals(use=("msp", "knn(k=5)")), "policies": ("certified(risk=0.1, second=knn(k=5))",)}
        run = tiny.run(tmp_path / "run", source, model, conditions=("clean",), **plan)
        job = replace(
            prepared_job(read_plan(run / "plan.toml"), StandIns(source=source, classifier=model), str),
            model="module:x:y",
        )
        monkeypatch.setattr("demur.pipeline.guard.guard_of_run.prepared_job", lambda *_given, **_named: job)
        guard_of_run(run, tmp_path / "guard", GuardChoices(golden=6))
        guard = Guard.load(tmp_path / "guard")
        assert guard.policy.signals == ("msp", "knn(k=5)")
        clean, before = decisions_of(run, guard)
        after = guard(images_of(source, clean))
        assert (after.accepted == before.accepted)[~after.near].all()
        assert {"suspected_attack", "low_confidence", ""} == set(after.reasons)
        assert "Otherwise it abstains (low_confidence, suspected_attack)." in "\n".join(guard_words(guard, ""))
        assert selftest(tmp_path / "guard", guard).passed


class TestFacts:
    def test_the_card_says_from_what_it_was_made(self, made):
        run, folder, _ = made
        card, facts = Guard.load(folder).card, read_json(run / "run.json")
        assert (card.data, card.data_sha256, card.plan_sha256) == ("digits", facts["data_sha256"], facts["plan_sha256"])
        assert card.rows == {split: facts["splits"][split] for split in ("fit", "tune", "certify")}
        clean = read(run, "clean")
        certify = clean.filter(clean["split"] == "certify")
        assert card.class_mix == {name: int((certify["label"] == k).sum()) for k, name in enumerate(tiny.CLASSES)}
        assert card.statement == "certified(risk=0.1)"

    def test_the_untouched_rows_confirm_it(self, made):
        guard = Guard.load(made[1])
        clean, decided = decisions_of(made[0], guard)
        test = (clean["split"] == "test").to_numpy()
        wrong = (clean["predicted"] != clean["label"]).to_numpy()
        found = guard.card.confirmation
        assert found.images == test.sum()
        assert found.answered == (decided.accepted & test).sum()
        assert found.wrong == (decided.accepted & test & wrong).sum()
        assert found.risk[1] <= found.wrong / found.answered <= found.risk[2]
        assert found.verdict in {"holds", "undecided"}

    def test_the_rows_it_was_built_on_are_those_of_the_run_but_test(self, made):
        run, folder, _ = made
        found, index = read_built_on(folder), build_index(tiny.source())
        for split in ("tune", "certify"):
            assert set(found.contents[split]) == {index.contents[row] for row in index.rows_of(split)}
        assert not found.every & {index.contents[row] for row in index.rows_of("test")}
        clean = read(run, "clean")
        assert found.scores["msp"].tolist() == clean.filter(clean["split"] == "tune")["signal.msp"].to_list()

    def test_the_look_comes_along(self, made):
        (line,) = check_ledger(made[1])
        assert line["looks"]
        assert Guard.load(made[1]).policy.certificate.look.number == 1

    def test_its_temperature_calibrates_the_tune_rows(self, made):
        run, folder, _ = made
        clean = read(run, "clean")
        tune = clean.filter(clean["split"] == "tune")
        z = torch.from_numpy(tune.select("logit.0", "logit.1", "logit.2").to_numpy().astype(np.float64))
        y = torch.from_numpy(tune["label"].to_numpy().astype("int64"))
        grid = np.exp(np.linspace(-3, 3, 2001))
        nll = [float(torch.nn.functional.cross_entropy(z / t, y)) for t in grid]
        assert Guard.load(folder).temperature == pytest.approx(grid[int(np.argmin(nll))], rel=0.01)

    def test_golden_images_are_untouched_and_from_the_surest_to_the_least_sure(self, made):
        entries = read_json(made[1] / "golden" / "decisions.json")
        scores = [entry["scores"]["msp"] for entry in entries]
        assert len(entries) == 8
        assert scores == sorted(scores)
        clean = read(made[0], "clean")
        test = clean.filter(clean["split"] == "test")["signal.msp"]
        assert (scores[0], scores[-1]) == pytest.approx((test.min(), test.max()), rel=1e-6)
        assert selftest(made[1], Guard.load(made[1])).passed


def test_looks_of_other_runs_on_the_same_images_come_along(tmp_path):
    tiny.run(tmp_path / "first", tiny.source(), conditions=("clean",), policies=("certified(risk=0.2)",))
    lots = [f"lot {row // 2}" for row in range(tiny.ROWS)]
    _, folder, _ = guarded.audited(tmp_path, of=tiny.source(groups=lots), policies=("certified(risk=0.2)",))
    assert len(check_ledger(folder)) == 2
    assert len(list((folder / ".looks").iterdir())) == 2
    assert Guard.load(folder).policy.certificate.unit == "group"


def test_a_guard_by_site_keeps_images_of_no_site_among_its_golden_ones(tmp_path):
    source = WithSites(tiny.source(rows=3_000))
    _, folder, _ = guarded.audited(tmp_path, of=source, policies=("certified_by_site(risk=0.2)",))
    guard = Guard.load(folder)
    assert set(guard.policy.thresholds) <= {"a", "b"}
    assert selftest(folder, guard).passed
    golden = read_json(folder / "golden" / "decisions.json")
    assert {each["reason"] for each in golden if each["site"] is None} == {"unknown_site"}
    assert any(each["accepted"] for each in golden)


class WithSites:
    """A source every third image of which comes from nowhere that is known."""

    def __init__(self, whole):
        self._whole = whole
        self.address, self.classes, self.input_shape = whole.address, whole.classes, whole.input_shape

    def __len__(self):
        return len(self._whole)

    def read(self, positions):
        for row in self._whole.read(positions):
            yield replace(row, meta={"site": ("a", "b", None)[int(row.sample_id) % 3]})


class TestRefusals:
    def test_a_last_day_that_is_over_is_refused(self, made, tmp_path):
        with pytest.raises(InputError, match="2020-01-01 is over"):
            guard_of_run(made[0], tmp_path / "g", GuardChoices(expires="2020-01-01"))
        with pytest.raises(InputError, match="2020-01-01 is over"):
            fit_guard("no model", "no data", out=tmp_path / "g", expires="2020-01-01")

    def test_a_run_without_a_certificate_makes_none(self, tmp_path):
        with pytest.raises(RunError, match=r"issued no certificate.*too few|issued no certificate.*wrong"):
            guarded.audited(tmp_path, policies=("certified(risk=0.0001)",))
        assert not (tmp_path / "guard").exists()

    def test_a_run_that_asked_for_none_says_how_to_ask(self, tmp_path):
        with pytest.raises(RunError, match="audit with --risk"):
            guarded.audited(tmp_path, policies=("rule",))

    def test_another_model_and_other_images_are_refused(self, made, tmp_path):
        run, _, _ = made
        others = StandIns(source=tiny.source(), classifier=tiny.classifier(sharpness=5.0))
        with pytest.raises(RunError, match="made with other model"):
            guard_of_run(run, tmp_path / "g", GuardChoices(embedding="program"), others)
        others = StandIns(source=tiny.source(rows=1100), classifier=tiny.classifier())
        with pytest.raises(RunError, match="made with other images"):
            guard_of_run(run, tmp_path / "g", GuardChoices(embedding="program"), others)

    def test_a_run_that_was_changed_is_refused(self, made, tmp_path):
        run = shutil.copytree(made[0], tmp_path / "run")
        entries = read_json(run / "facts" / "policies.json")
        entries[0]["policy"]["certificate"]["threshold"] = 0.9
        write_json(run / "facts" / "policies.json", entries)
        with pytest.raises(RunError, match=r"policies.json is not the file"):
            guard_of_run(
                run, tmp_path / "g", GuardChoices(), StandIns(source=tiny.source(), classifier=tiny.classifier())
            )

    @pytest.mark.parametrize("name", ["facts/tolerances.json", "facts/policies.json"])
    def test_numbers_that_nothing_vouches_for_are_refused(self, made, tmp_path, name):
        run = shutil.copytree(made[0], tmp_path / "run")
        seal.unseal(run, [name])
        others = StandIns(source=tiny.source(), classifier=tiny.classifier())
        with pytest.raises(RunError, match=rf"{name} is not the file that was written .* Run the same audit again"):
            guard_of_run(run, tmp_path / "g", GuardChoices(), others)

    def test_fitted_signals_that_were_changed_are_refused(self, tmp_path):
        plan = {"signals": Signals(use=("relative_u",), certify="relative_u"), "policies": ("certified(risk=0.1)",)}
        run = tiny.run(tmp_path / "run", tiny.source(3000), conditions=("clean",), **plan)
        others = StandIns(source=tiny.source(3000), classifier=tiny.classifier())
        (run / "fitted" / "signals.json").write_text("{}")
        with pytest.raises(RunError, match=r"fitted/signals\.json is not the file .* Run the same audit again"):
            guard_of_run(run, tmp_path / "g", GuardChoices(), others)

    def test_a_day_that_is_none_and_a_place_that_is_taken_are_refused_first(self, made, tmp_path):
        others = StandIns(source=tiny.source(), classifier=tiny.classifier())
        with pytest.raises(InputError, match="2027-06-30"):
            guard_of_run(made[0], tmp_path / "g", GuardChoices(expires="soon"), others)
        (tmp_path / "notes.txt").write_text("mine")
        with pytest.raises(InputError, match="is not replaced"):
            guard_of_run(made[0], tmp_path, GuardChoices(), others)


class TestFromPython:
    def test_a_module_and_tensors_become_a_guard_that_stands_alone(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        images, labels = tiny.images_and_labels()
        guard = fit_guard(tiny.Net().eval(), (images, labels), out=tmp_path / "guard", risk=0.1, golden=4)
        assert guard.card.rows["certify"] > 500
        (report,) = (tmp_path / "runs").glob("*/report.html")
        again = fit_guard(
            tiny.Net().eval(), (images, labels), out=tmp_path / "other", run=report.parent, golden=4,
            expires="2099-12-31",
        )  # fmt: skip
        assert again.policy == guard.policy
        assert again.card.expires == "2099-12-31"

    def test_what_cannot_be_certified_says_what_to_do(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        images, labels = tiny.images_and_labels()
        with pytest.raises(RunError, match=r"no certificate that a guard could keep.*Label more|Improve"):
            fit_guard(tiny.Net().eval(), (images, labels), out=tmp_path / "guard", risk=0.0005)
        assert not (tmp_path / "guard").exists()


class TestPictures:
    def test_bytes_are_decided_as_the_audit_read_them(self, tmp_path):
        """A folder of JPEGs that are cut and scaled: from bytes the same decision as in the audit."""
        images, labels = tiny.images_and_labels(rows=660)
        for place, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
            folder = tmp_path / "data" / tiny.CLASSES[label]
            folder.mkdir(parents=True, exist_ok=True)
            large = np.repeat(np.repeat((image[0].numpy() * 255).astype(np.uint8), 4, 0), 5, 1)
            Image.fromarray(large).save(folder / f"{place:04d}.jpg", quality=95)
        source = open_data(f"folder:{tmp_path / 'data'}?size=8&crop=center&colour=grey")
        net = tiny.Net().eval()
        model = BoundClassifier(net, classes=source.classes, input_shape=tiny.SHAPE)
        order = [tiny.CLASSES.index(name) for name in source.classes]
        with torch.no_grad():
            net.compare.weight.copy_(net.compare.weight[order].clone())
            net.compare.bias.copy_(net.compare.bias[order].clone())
        run, folder, _ = guarded.audited(tmp_path, source, model, policies=("certified(risk=0.3)",))
        guard = Guard.load(folder)
        clean, before = decisions_of(run, guard)
        after = guard.read([(tmp_path / "data" / name).read_bytes() for name in clean["sample_id"]])
        assert after.predicted.tolist() == clean["predicted"].to_list()
        assert (after.accepted == before.accepted)[~after.near].all()
        golden = read_json(folder / "golden" / "decisions.json")
        assert {entry["file"].rpartition(".")[2] for entry in golden} == {"jpeg"}
        assert selftest(folder, guard).passed


class TestAudited:
    def test_an_audit_of_a_guard_takes_its_policy_and_leaves_out_its_rows(self, made, tmp_path):
        _, folder, _ = made
        images, labels = tiny.images_and_labels(rows=2400, seed=0)
        first, y = tiny.images_and_labels()
        source = from_tensors(torch.cat([first, images]), torch.cat([y, labels]), classes=tiny.CLASSES, name="more")
        model = Guard.load(folder).classifier
        plan = tiny.plan(conditions=("clean",)).with_guard(folder)
        run = tiny.run_plan(plan, tmp_path / "run", tiny.Quiet(), source, model)
        entry = read_json(run / "facts" / "policies.json")[0]
        assert (entry["name"], load_policy(entry["policy"])) == ("guard", Guard.load(folder).policy)
        assert not any("certified" in each["name"] for each in read_json(run / "facts" / "policies.json"))
        built_on = read_built_on(folder).every
        kept = set(build_index(source, exclude=built_on).sample_ids)
        assert set(read(run, "clean")["sample_id"]) == kept
        assert set(read(run, "clean")["split"]) == {"test"}, "nothing is placed or certified: every image judges"
        assert read_json(run / "run.json")["excluded"] >= len(built_on)
        from demur.analysis import write_results
        from demur.report import write

        results = write_results(run)
        assert results.guarantee.threshold == Guard.load(folder).policy.certificate.threshold
        assert results.state == "issued"
        assert write(run, results).path.is_file()

    def test_the_model_itself_is_that_of_a_guard_with_a_program_of_it_whose_run_makes_no_other_guard(
        self, made, tmp_path
    ):
        _, folder, _ = made
        plan = tiny.plan(conditions=("clean",)).with_guard(folder)
        new = from_tensors(*tiny.images_and_labels(900, 5), classes=tiny.CLASSES, name="new")
        run = tiny.run_plan(plan, tmp_path / "run", tiny.Quiet(), new, tiny.classifier())
        assert read_json(run / "facts" / "policies.json")[0]["policy"] == read_json(folder / "guard.json")["policy"]
        with pytest.raises(RunError, match="audited the guard in"):
            guard_of_run(run, tmp_path / "g", GuardChoices(), StandIns(source=new, classifier=tiny.classifier()))

    def test_a_guard_of_another_model_is_refused(self, made, tmp_path):
        plan = tiny.plan(conditions=("clean",)).with_guard(made[1])
        with pytest.raises(InputError, match="A certificate is about one model"):
            tiny.run_plan(plan, tmp_path / "run", tiny.Quiet(), tiny.source(), tiny.classifier(sharpness=5.0))

    def test_the_plan_keeps_which_guard_it_was(self, made):
        plan = tiny.plan().with_guard(made[1])
        assert plan.guard.sha256 == made[2]
        assert json.dumps(made[2])[1:-1] in plan.toml()
