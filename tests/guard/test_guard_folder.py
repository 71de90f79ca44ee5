"""A guard in a folder: it is loaded as it was saved, and whatever was changed since is refused by name."""

import json
import os
import random
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from tests import guarded, tiny

from demur.errors import DemurError, InputError, ModelError, RunError
from demur.files import json_bytes
from demur.guard import Guard
from demur.guard.card_words import guard_markdown, guard_words
from demur.guard.file_list import FILE, LEDGER, LEDGER_IDS, files_in, verify_files, write_file_list
from demur.guard.guard_folder import _rules, check_ledger, guard_facts, read_built_on
from demur.guard.model_files import PROGRAM
from demur.guard.signature import verify_guard
from demur.ledger import LabelledRows
from demur.pictures.decode_rules import Rules
from demur.policies.look import Look


def guarded_files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    folder = tmp_path_factory.mktemp("guards") / "guard"
    return folder, guarded.written(folder)


@pytest.fixture
def folder(kept, tmp_path):
    return Path(shutil.copytree(kept[0], tmp_path / "guard"))


class TestSaved:
    def test_it_decides_as_the_one_that_was_saved(self, kept):
        made, loaded, images = guarded.guard(), Guard.load(kept[0]), guarded.images(100)
        before, after = made(images), loaded(images)
        assert (before.accepted == after.accepted).all()
        assert before.predicted.tolist() == after.predicted.tolist()
        assert (abs(before.scores["msp"] - after.scores["msp"]) <= 1e-6).all()
        assert loaded.policy == made.policy
        assert loaded.tolerances == made.tolerances
        assert (loaded.temperature, loaded.intake, loaded.card) == (made.temperature, made.intake, made.card)

    def test_the_images_it_was_built_on_are_in_it_as_hashes(self, kept):
        found = read_built_on(kept[0])
        assert found.every == {"ab" * 32, "cd" * 32, "ef" * 32}
        scores, wrong = guarded.scores_and_errors()
        assert found.scores["msp"].tolist() == scores[: guarded.TUNE].tolist()
        assert found.wrong.tolist() == wrong[: guarded.TUNE].tolist()

    def test_the_hash_is_that_of_the_list_and_may_be_asked_for(self, kept):
        folder, sha256 = kept
        assert verify_files(folder) == sha256
        assert Guard.load(folder, sha256=sha256.upper()).temperature == 1.5
        with pytest.raises(InputError, match="must have the SHA-256"):
            Guard.load(folder, sha256="0" * 64)

    def test_the_list_is_an_in_toto_statement_of_model_signing(self, kept):
        statement = json.loads((kept[0] / FILE).read_bytes())
        assert statement["predicateType"] == "https://model_signing/signature/v1.0"
        names = [each["name"] for each in statement["predicate"]["resources"]]
        assert names == sorted(names) == list(files_in(kept[0]))
        assert {"guard.json", PROGRAM, "signals/signals.json", "golden/decisions.json"} <= set(names)

    def test_a_guard_is_replaced_and_another_folder_is_not(self, folder, tmp_path):
        sha256 = guarded.written(folder, made=guarded.guard(temperature=2.0))
        assert verify_files(folder) == sha256
        assert Guard.load(folder).temperature == 2.0
        other = tmp_path / "thesis"
        other.mkdir()
        (other / "chapter.txt").write_text("mine")
        with pytest.raises(InputError, match="is no guard, so it is not replaced"):
            guarded.written(other)
        assert (other / "chapter.txt").read_text() == "mine"
        assert sorted(each.name for each in tmp_path.iterdir()) == ["guard", "thesis"]

    @pytest.mark.parametrize("stop", [OSError, KeyboardInterrupt])
    def test_what_stops_it_between_the_old_and_the_new_leaves_the_old(self, folder, monkeypatch, stop):
        rename, before = Path.rename, guarded_files(folder)

        def stopped(path, target):
            if path.name == "guard" and path.parent.name.startswith(".guard."):
                raise stop
            return rename(path, target)

        monkeypatch.setattr(Path, "rename", stopped)
        with pytest.raises((RunError, KeyboardInterrupt)):
            guarded.written(folder, made=guarded.guard(risk=0.3))
        assert guarded_files(folder) == before
        assert [each.name for each in folder.parent.iterdir()] == ["guard"]

    def test_a_link_to_a_guard_leads_to_the_new_one(self, folder, tmp_path):
        (tmp_path / "link").symlink_to(folder)
        sha256 = guarded.written(tmp_path / "link", made=guarded.guard(risk=0.3))
        assert (tmp_path / "link").is_symlink()
        assert verify_files(folder) == sha256

    def test_nothing_is_written_into_a_guard(self, folder, kept):
        for name in ("sub", "signals", ".looks/x", "a/b"):
            with pytest.raises(InputError, match="would lie in the guard"):
                guarded.written(folder / name)
        assert verify_files(folder) == kept[1]

    @pytest.mark.parametrize("name", ["a\0b", "a\udcff", "x" * 300])
    def test_a_name_that_no_folder_can_have_is_an_error(self, tmp_path, name):
        with pytest.raises((InputError, RunError), match=r"cannot be"):
            guarded.written(tmp_path / name)
        with pytest.raises(InputError, match="is no guard"):
            Guard.load(tmp_path / name)

    @pytest.mark.parametrize("device", ["cuda:99", "somewhere"])
    def test_a_device_that_is_not_there_is_an_error(self, folder, device, monkeypatch):
        monkeypatch.setattr("demur.guard.guard_folder.read_guard", lambda *_which: guarded.guard())
        with pytest.raises(InputError, match="cannot be put on device"):
            Guard.load(folder, device=device)

    def test_what_cannot_be_written_leaves_the_old_guard(self, folder, kept, monkeypatch):
        def full(*_given):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("demur.guard.guard_folder.save_signals", full)
        with pytest.raises(RunError, match="No space left"):
            guarded.written(folder)
        assert verify_files(folder) == kept[1]

    def test_a_policy_whose_signal_is_missing_is_no_guard(self, tmp_path):
        with pytest.raises(InputError, match="reads the signal 'msp'"):
            guarded.written(tmp_path / "guard", made=guarded.guard(signals={}))


class TestChanged:
    @pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 8))])
    def test_any_changed_byte_is_refused(self, kept, tmp_path, seed):
        rng = random.Random(seed)
        paths = sorted(path.relative_to(kept[0]) for path in kept[0].rglob("*") if path.is_file())
        assert Path("looks.jsonl") in paths
        for _ in range(40):
            copy = Path(shutil.copytree(kept[0], tmp_path / "copy"))
            guarded.flipped(copy / rng.choice(paths), rng.randrange(1 << 20))
            with pytest.raises(DemurError):
                Guard.load(copy)
            shutil.rmtree(copy)

    @pytest.mark.parametrize("name", ["guard.json", PROGRAM, "golden/00.png", "looks.jsonl", FILE])
    def test_each_file_is_named(self, folder, name):
        guarded.flipped(folder / name, 7)
        with pytest.raises(InputError, match=name):
            Guard.load(folder)

    def test_a_missing_a_foreign_and_a_linked_file_are_named(self, folder, tmp_path):
        (folder / "golden" / "00.png").rename(tmp_path / "00.png")
        with pytest.raises(InputError, match=r"00.png is gone"):
            Guard.load(folder)
        (folder / "golden" / "00.png").symlink_to(tmp_path / "00.png")
        with pytest.raises(InputError, match="is a link"):
            Guard.load(folder)
        (folder / "golden" / "00.png").unlink()
        (tmp_path / "00.png").rename(folder / "golden" / "00.png")
        for place in (".git/config", "signals/extra.pkl", ".looks/0.ids", "model/weights.safetensors"):
            (folder / place).parent.mkdir(exist_ok=True)
            (folder / place).write_bytes(b"x")
            with pytest.raises(InputError, match="is no file of this guard"):
                Guard.load(folder)
            (folder / place).unlink()
            if place == ".git/config":
                (folder / ".git").rmdir()
        (folder / "empty").mkdir()
        with pytest.raises(InputError, match="is an empty folder"):
            Guard.load(folder)

    def test_an_edited_threshold_is_refused_and_one_with_its_list_only_by_hash(self, folder, kept):
        content = guard_facts(folder)
        content["policy"]["certificate"]["threshold"] = 0.99
        (folder / "guard.json").write_bytes(json_bytes(content))
        with pytest.raises(InputError, match=r"guard.json is not the file"):
            Guard.load(folder)
        write_file_list(folder)
        assert Guard.load(folder).policy.certificate.threshold == 0.99, "hashes inside cannot tell, as the page says"
        with pytest.raises(InputError, match="one that was rewritten"):
            Guard.load(folder, sha256=kept[1])

    def test_other_weights_are_refused_even_with_a_list_that_fits(self, folder, tmp_path):
        guarded.written(tmp_path / "other", made=guarded.guard(classifier=tiny.classifier(sharpness=5.0)))
        shutil.copyfile(tmp_path / "other" / PROGRAM, folder / PROGRAM)
        with pytest.raises(InputError, match=PROGRAM):
            Guard.load(folder)
        write_file_list(folder)
        with pytest.raises(ModelError, match="not the one this guard was certified for"):
            Guard.load(folder)

    def test_a_pickle_in_the_place_of_tensors_is_refused(self, folder):
        import pickle

        (folder / "built_on.safetensors").write_bytes(pickle.dumps({"scores": 1}))
        write_file_list(folder)
        with pytest.raises(InputError, match="built_on"):
            read_built_on(folder)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"version": 2}, "this demur reads version 1"),
            ({"format": "another"}, "is not of a guard"),
            ({"extra": 1}, "must have exactly"),
            ({"policy": {"policy": "threshold", "signal": "msp", "uncertainty": 0.4}}, "without a certificate"),
            ({"policy": 3}, "policy of a guard cannot be read"),
            ({"model": {}}, "model of a guard cannot be read"),
            ({"decoding": {"size": 3}}, "decoding of a guard cannot be read"),
            ({"card": 3}, "card of a guard"),
        ],
    )
    def test_another_format_version_or_content_is_said(self, folder, change, words):
        (folder / "guard.json").write_bytes(json_bytes({**guard_facts(folder), **change}))
        write_file_list(folder)
        with pytest.raises(InputError, match=words):
            Guard.load(folder)

    def test_a_folder_that_is_none_is_said(self, tmp_path):
        for place in (tmp_path, tmp_path / "absent"):
            with pytest.raises(InputError, match="is no guard"):
                Guard.load(place)

    def test_a_look_that_was_edited_or_whose_rows_were_is_named(self, folder):
        ledger = guarded.ledger_of(folder)
        assert len(check_ledger(folder)) == 1
        text = ledger.path.read_text()
        ledger.path.write_text(text.replace(" ", "\t", 1))
        with pytest.raises(InputError, match=r"looks.jsonl"):
            Guard.load(folder)
        ledger.path.write_text(text)
        ids = next(ledger.folder.iterdir())
        guarded.flipped(ids, 3)
        with pytest.raises(InputError, match="was changed since"):
            Guard.load(folder)
        ids.unlink()
        assert len(check_ledger(folder)) == 1, "a look at rows that nobody knows any more counts as one at any"

    def test_a_look_that_is_just_being_written_is_in_nobody_s_way(self, folder):
        rows = LabelledRows.of(["another image"], [0])
        for name in (rows.name, f".{rows.name}.ab12cd_3"):
            (folder / LEDGER_IDS / name).write_bytes(rows.content)
        assert len(check_ledger(folder)) == 1
        Guard.load(folder)
        for name in ("notes.txt", "x.ids"):
            (folder / LEDGER_IDS / name).write_bytes(rows.content)
            with pytest.raises(InputError, match="no file of this guard"):
                Guard.load(folder)
            (folder / LEDGER_IDS / name).unlink()

    def test_the_looks_that_the_certificate_counted_must_be_there(self, tmp_path):
        made = guarded.guard()
        counted = replace(made.policy.certificate, look=Look(1, "runs"))
        guarded.written(tmp_path / "guard", made=replace(made, policy=counted.on("msp")))
        assert len(check_ledger(tmp_path / "guard")) == 1
        (tmp_path / "guard" / LEDGER).unlink()
        shutil.rmtree(tmp_path / "guard" / LEDGER_IDS)
        for ask in (Guard.load, check_ledger, verify_guard):
            with pytest.raises(InputError, match=r"0 looks at labels, and the certificate is of look 1"):
                ask(tmp_path / "guard")

    def test_a_file_nobody_may_read_is_an_error_with_the_way_out(self, folder):
        if os.geteuid() == 0:
            pytest.skip("root may read every file")
        (folder / "guard.json").chmod(0)
        with pytest.raises(InputError, match="Correct its rights"):
            Guard.load(folder)


def test_the_card_says_what_is_guaranteed_on_what_and_what_ends_it():
    made = replace(guarded.guard(), card=replace(guarded.CARD, expires="2020-01-01"))
    words = "\n".join(guard_words(made, "ff" * 32))
    assert made.policy.certificate.sentence in words
    assert words.count(f"{made.policy.certificate.threshold:.4g}") == 1, "the threshold is said once"
    rule = f"| Rule | answers where msp is at most {made.policy.certificate.threshold:.4g} |"
    assert rule in guard_markdown(made, "ff" * 32)
    assert "the model changes; after 2020-01-01, which is over: it abstains on every image" in words
    assert words.splitlines()[1] == "Its last day was 2020-01-01: it abstains on every image."
    assert "temperature 1.5" in words
    assert "ff" * 32 in words
    page = guard_markdown(made, "ff" * 32)
    assert page.startswith("# Guard of Net\n\n| | |\n| --- | --- |\n")
    assert "| Classes among certify images | disc 300, bar 300, cross 300 |" in page


class TestRules:
    def test_rules_of_decoding_of_an_older_guard_are_read(self):
        stored = {"size": [8, 9], "crop": True, "channels": 1, "full_scale": None}
        assert _rules(stored) == Rules(size=(8, 9), crop=True, channels=1)

    @pytest.mark.parametrize("resize", [None, 12, (12, 16)])
    def test_rules_are_read_as_they_were_written(self, resize):
        rules = Rules(size=(8, 9), crop=True, resize=resize, interpolation="bicubic", alpha="white")
        assert _rules(json.loads(json.dumps(asdict(rules)))) == rules
