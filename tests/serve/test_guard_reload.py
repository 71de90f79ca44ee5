"""Another guard takes the place of one while requests come; a broken one does not."""

import shutil
import threading

import pytest
from tests import guarded
from tests.serve.conftest import serving
from tests.serve.pictures import binary, form, mixed, pngs

from demur.alarms import AlarmPlan
from demur.errors import InputError
from demur.guard import Guard
from demur.guard.file_list import verify_files
from demur.serve.served_guard import LoadedGuard

TOKEN = "a token that nobody guesses"
ASK = {"Authorization": f"Bearer {TOKEN}"}
LOAD = "/v2/repository/models/tiny/load"
PICTURES = pngs(4)


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A guard with another certificate."""
    place = tmp_path_factory.mktemp("other") / "guard"
    guarded.written(place, made=guarded.guard(risk=0.2))
    return place


@pytest.fixture
def place(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "guard")


def replaced(place, other):
    shutil.rmtree(place)
    shutil.copytree(other, place)


def test_another_guard_takes_its_place_without_a_lost_request(place, other):
    with serving(LoadedGuard.read("tiny", place), token=TOKEN) as (service, client):
        before, statuses, over = service.guard().loaded.sha256, [], threading.Event()

        def ask():
            while not over.is_set():
                answer = client.post("/v2/models/tiny/infer", **binary_of())
                statuses.append((answer.status_code, answer.json()["parameters"]["guard_sha256"]))

        def binary_of():
            asked = binary(mixed(3))
            return {**asked, "headers": {**asked["headers"], **ASK}}

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        replaced(place, other)
        found = client.post(LOAD, headers=ASK)
        over.set()
        for thread in threads:
            thread.join()
        assert found.json() == {"name": "tiny", "sha256": verify_files(other), "changed": True}
        assert {status for status, _ in statuses} == {200}
        assert before in {sha256 for _, sha256 in statuses}
        answer = client.post("/predict", **form(PICTURES), headers=ASK).json()
        assert answer["guard"]["sha256"] == verify_files(other) != before
        assert f'sha256="{verify_files(other)}"' in client.get("/metrics", headers=ASK).text
        assert client.post(LOAD, headers=ASK).json()["changed"] is False


def test_a_broken_folder_keeps_the_old_guard_and_says_why(place):
    with serving(LoadedGuard.read("tiny", place), token=TOKEN) as (_, client):
        guarded.flipped(place / "guard.json", 100)
        answer = client.post(LOAD, headers=ASK)
        assert answer.status_code == 409
        assert "stays as it is" in answer.json()["error"]
        assert "guard.json" in answer.json()["error"]
        assert client.post("/predict", **form(PICTURES), headers=ASK).status_code == 200
        assert 'demur_reloads_total{guard="tiny",outcome="refused"} 1.0' in client.get("/metrics", headers=ASK).text
        assert client.post("/v2/repository/models/none/load", headers=ASK).status_code == 404


def test_without_a_token_nobody_loads(client):
    answer = client.post(LOAD)
    assert answer.status_code == 403
    assert "--token-file" in answer.json()["error"]


def test_the_alarms_of_another_guard_begin_anew(place, other, tmp_path):
    plan = AlarmPlan(feedback=1.0)
    with serving(LoadedGuard.read("tiny", place), token=TOKEN, state=tmp_path, plan=plan) as (_, client):
        client.post("/predict", **form(PICTURES), headers=ASK)
        replaced(place, other)
        client.post(LOAD, headers=ASK)
        assert client.get("/alarms", headers=ASK).json()["images"] == 0
    assert len(list(tmp_path.glob("tiny-*.sqlite"))) == 2


def test_who_was_asked_before_a_reload_can_answer_after_it(folder, place, other):
    def correct(image, **named):
        return client.post("/feedback", json={"id": image["id"], "correct": True, **named}, headers=ASK).status_code

    with serving(LoadedGuard.read("tiny", place), token=TOKEN, plan=AlarmPlan(feedback=1.0)) as (service, client):
        first, *rest = client.post("/predict", **form(PICTURES), headers=ASK).json()["decisions"]
        old = service.guard().alarms
        replaced(place, other)
        client.post(LOAD, headers=ASK)
        assert correct(first) == correct(rest[0], guard="tiny") == 200
        assert correct({"id": "nobody"}) == 404
        service.watch.look()
        assert list(service.retired.all) == [old]
        replaced(place, folder)
        client.post(LOAD, headers=ASK)  # the first one again, which goes on where it was
        assert service.guard().alarms is old
        assert client.get("/alarms", headers=ASK).json()["harm"]["counts"]["labels"] >= 1
        service.watch.look()
        assert list(service.retired.all) == []  # nothing was asked by the other one
        assert correct(rest[1]) == 200


def test_alarms_of_before_a_reload_are_let_go_once_nobody_is_asked(place, other):
    with serving(LoadedGuard.read("tiny", place), token=TOKEN, plan=AlarmPlan(feedback=1.0)) as (service, client):
        decisions = client.post("/predict", **form(PICTURES), headers=ASK).json()["decisions"]
        replaced(place, other)
        client.post(LOAD, headers=ASK)
        for each in decisions:
            client.post("/feedback", json={"id": each["id"], "correct": True}, headers=ASK)
        service.watch.look()
        service.watch.look()
        assert list(service.retired.all) == []


def test_an_alarm_that_was_raised_just_before_a_reload_is_told(place, other):
    told = []
    with serving(LoadedGuard.read("tiny", place), token=TOKEN, plan=AlarmPlan(feedback=1.0)) as (service, client):
        service.watch.close()
        service.watch._tell = told.append
        for _ in range(5):
            for each in client.post("/predict", **form(pngs(48)), headers=ASK).json()["decisions"]:
                client.post("/feedback", json={"id": each["id"], "correct": False}, headers=ASK)
        assert "harm" in service.guard().alarms.alarms.raised
        assert told == []
        replaced(place, other)
        client.post(LOAD, headers=ASK)
        assert "harm" in [each["alarm"] for each in told]


def test_a_folder_that_changes_while_it_is_read_is_refused(place, other, monkeypatch):
    load = Guard.load

    def slowly(folder, **options):
        found = load(folder, **options)
        replaced(place, other)
        return found

    monkeypatch.setattr(Guard, "load", slowly)
    with pytest.raises(InputError, match="was replaced while it was read"):
        LoadedGuard.read("tiny", place)
