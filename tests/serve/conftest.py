"""A guard of the tiny net in a folder, and servers of it in this process."""

from contextlib import contextmanager

import pytest
from starlette.testclient import TestClient
from tests import guarded

from demur.alarms import AlarmPlan
from demur.serve import Service, ServiceSettings, app_of
from demur.serve.served_guard import LoadedGuard


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("served") / "guard"
    guarded.written(place)
    return place


@pytest.fixture(scope="session")
def loaded(folder):
    return LoadedGuard.read("tiny", folder)


@contextmanager
def serving(*guards, plan=None, state=None, webhook=None, log=None, **settings):
    """A service and a client of it."""
    service = Service(
        guards, ServiceSettings(**settings), alarms=plan or AlarmPlan(), state=state, webhook=webhook, log=log
    )
    try:
        with TestClient(app_of(service), "http://127.0.0.1", raise_server_exceptions=False) as client:
            yield service, client
    finally:
        service.close()


@pytest.fixture(scope="module")
def open_server(loaded):
    with serving(loaded) as pair:
        yield pair


@pytest.fixture
def client(open_server):
    return open_server[1]
