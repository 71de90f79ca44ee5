import pytest
from tests import tiny
from tests.analysis import attribution_runs

from demur.analysis import analyse


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """The folder of a finished audit; not to be written into."""
    return tiny.run(tmp_path_factory.mktemp("analysis") / "run")


@pytest.fixture(scope="session")
def results(folder):
    return analyse(folder)


@pytest.fixture(scope="session")
def looked(tmp_path_factory):
    """A run folder with searches, maps and hidden parts, made up row by row; not to be written into."""
    return attribution_runs.looked(tmp_path_factory.mktemp("looked") / "run")
